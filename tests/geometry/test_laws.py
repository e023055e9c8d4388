"""Initial laws: densities integrate to one, samples follow them, quadrature is exact to its degree."""

import mpmath
import numpy as np
import pytest
from scipy import special

import chaosphere as cs
from chaosphere.geometry import laws
from chaosphere.geometry.laws import quadrature

LAWS = {
    "uniform d=2": laws.Uniform(dim=2),
    "uniform d=3": laws.Uniform(dim=3),
    "uniform d=5": laws.Uniform(dim=5),
    "von Mises": laws.VonMisesFisher(mean_direction=(0.6, 0.8), concentration=4.0),
    "Fisher": laws.VonMisesFisher(mean_direction=(0.0, 0.6, -0.8), concentration=4.0),
    "von Mises–Fisher d=5": laws.VonMisesFisher(mean_direction=(1.0, 0.0, 0.0, 0.0, 0.0), concentration=2.0),
    "mixture": laws.Mixture(
        components=(laws.Uniform(dim=3), laws.VonMisesFisher(mean_direction=(0.0, 0.0, 1.0), concentration=10.0)),
        proportions=(0.25, 0.75),
    ),
    "density": laws.Density(function=lambda x: 1 + x[:, 0] ** 3, dim=3, bound=2.0),
}


@pytest.mark.parametrize("name", LAWS)
def test_samples_follow_the_density(name):
    """Null: means of x_k and x_k² over 20 000 tokens are the quadrature's; five standard errors (5.7e-7) each."""
    law = LAWS[name]
    rule = quadrature(law, 2**14)
    x = law.sample(20_000, rng=1)
    slack = 1e-12 if rule.degree is not None else 2e-3
    for values, at_nodes in ((x, rule.nodes), (x**2, rule.nodes**2)):
        error = values.std(axis=0) / np.sqrt(len(x))
        assert (np.abs(values.mean(axis=0) - rule.weights @ at_nodes) < 5 * error + slack).all()


@pytest.mark.parametrize("name", LAWS)
def test_density_is_normalised(name):
    law = LAWS[name]
    uniform = quadrature(laws.Uniform(dim=law.dim), 2**14)
    exact = uniform.degree is not None
    assert abs(uniform.weights @ law.density(uniform.nodes) - 1) < (1e-13 if exact else 2e-3)


@pytest.mark.parametrize("n_nodes", [2, 9, 50])
def test_trapezoid_is_exact_to_its_degree(n_nodes):
    rule = quadrature(laws.Uniform(dim=2), n_nodes)
    z = rule.nodes[:, 0] + 1j * rule.nodes[:, 1]
    moments = np.array([rule.weights @ z**k for k in range(rule.degree + 2)])
    np.testing.assert_allclose(moments[: rule.degree + 1], np.eye(1, rule.degree + 1)[0], rtol=0, atol=1e-13)
    assert abs(moments[rule.degree + 1]) > 0.99


@pytest.mark.parametrize("n_nodes", [8, 32, 200])
def test_product_rule_is_exact_to_its_degree(n_nodes):
    rule = quadrature(laws.Uniform(dim=3), n_nodes)
    assert len(rule.nodes) <= n_nodes
    assert rule.weights.sum() == pytest.approx(1, abs=1e-15)
    direction = np.array([0.36, 0.48, 0.8])
    u = rule.nodes @ direction
    for n in range(1, rule.degree + 1):
        assert abs(rule.weights @ special.eval_legendre(n, u)) < 1e-13
    assert abs(rule.weights @ special.eval_legendre(rule.degree + 1, u)) > 1e-6


def test_fisher_moments_converge_spectrally():
    law = LAWS["Fisher"]
    m = np.array(law.mean_direction)
    expected = 1 / np.tanh(4.0) - 1 / 4.0
    errors = [abs(quadrature(law, n).weights @ quadrature(law, n).nodes @ m - expected) for n in (50, 200, 800)]
    assert errors[1] < 1e-3 * errors[0]
    assert errors[2] < 1e-14


def test_samples_do_not_depend_on_the_number_of_replicas():
    for law in LAWS.values():
        several = law.sample(30, rng=4, n_replicas=3)
        assert several.shape == (3, 30, law.dim)
        assert np.array_equal(several[0], law.sample(30, rng=4))
        assert not np.array_equal(several[0], several[1])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: laws.Uniform(dim=1), ValueError, r"dim must be an integer >= 2"),
        (
            lambda: laws.VonMisesFisher(mean_direction=(1.0, 1.0), concentration=1.0),
            ValueError,
            r"mean_direction must lie on the unit sphere",
        ),
        (
            lambda: laws.Mixture(components=(laws.Uniform(dim=2), laws.Uniform(dim=3)), proportions=(0.5, 0.5)),
            ValueError,
            r"components must have one dim, got \[2, 3\]",
        ),
        (
            lambda: laws.Mixture(components=(laws.Uniform(dim=2),) * 2, proportions=(0.5, 0.6)),
            ValueError,
            r"proportions must sum to 1",
        ),
        (
            lambda: laws.Density(function=lambda x: 3 + x[:, 0], dim=3, bound=2.0).sample(5, rng=0),
            ValueError,
            r"function must lie in \[0, bound = 2\]",
        ),
        (
            lambda: quadrature(laws.Density(function=lambda x: x, dim=3, bound=2.0), 50),
            ValueError,
            r"function must return shape",
        ),
        (lambda: quadrature(laws.Uniform(dim=2), 1), ValueError, r"n_nodes must be an integer >= 2"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


# --- von Mises–Fisher for any d and c -----------------------------------------------------------

# Density at the mean direction, e^c over the mean of e^{c⟨m,x⟩}, by mpmath with 60 digits: dim, c, value.
PEAKS = [
    (300, 1.0, 2.7137551570003997),
    (384, 2.0, 7.350671995029717),
    (768, 10.0, 20638.24809158711),
    (768, 30.0, 5950566100067.078),
]


@pytest.mark.parametrize(("dim", "concentration", "value"), PEAKS)
def test_von_mises_fisher_density_where_the_bessel_function_underflows(dim, concentration, value):
    m = np.eye(dim)[:1]
    law = laws.VonMisesFisher(mean_direction=tuple(m[0]), concentration=concentration)
    assert law.density(m)[0] == pytest.approx(value, rel=2e-14, abs=0)
    rule = quadrature(law, 64)
    assert np.isfinite(rule.weights).all()
    assert rule.weights.sum() == pytest.approx(1, abs=1e-15)


DIMS = [2, 3, 4, 5, 20, 99, 100, 103, 300, 1000, 3000, 20_000, 300_000]
CONCENTRATIONS = [1e-300, 1e-12, 1e-3, 1.0, 30.0, 49.0, 700.0, 5000.0, 1e5, 1e7, 1.1e9, 1e13, 1e200]


def log_mean(dim, c):
    """log of the mean of e^{−cg}, g = 1 − ⟨m, x⟩, by mpmath: about the peak of e^{−cg}(g(2 − g))^{(d−3)/2}."""
    c, power = mpmath.mpf(c), mpmath.mpf(dim - 3) / 2
    if dim == 2:
        return mpmath.log(mpmath.besseli(0, c)) - c if c < 1e4 else -mpmath.log(2 * mpmath.pi * c) / 2 + mpmath.log(
            mpmath.fsum(mpmath.rf(0.5, k) ** 2 / (mpmath.factorial(k) * (2 * c) ** k) for k in range(12))
        )  # fmt: skip
    if dim == 3:
        return mpmath.log(-mpmath.expm1(-2 * c) / (2 * c))
    peak = 2 * power / (c + power + mpmath.sqrt(c**2 + power**2))
    width = 1 / mpmath.sqrt(power * (1 / peak**2 + 1 / (2 - peak) ** 2))
    ends = [max(mpmath.mpf(0), peak - 16 * width), peak, min(mpmath.mpf(2), peak + 16 * width + 60 / c)]
    log_peak = -c * peak + power * mpmath.log(peak * (2 - peak))

    def integrand(t):  # in units of the width, as quad stops at an absolute error
        g = t * width
        return mpmath.exp(-c * g + power * mpmath.log(abs(g * (2 - g)) + mpmath.mpf(10) ** -600) - log_peak)

    integral = width * mpmath.quad(integrand, [end / width for end in ends])
    everything = (2 * power + 1) * mpmath.log(2) + 2 * mpmath.loggamma(power + 1) - mpmath.loggamma(2 * power + 2)
    return log_peak + mpmath.log(integral) - everything


@pytest.mark.parametrize("dim", DIMS)
def test_log_mean_against_mpmath(dim):
    """To rounding of the parts, c and ν log ν; SciPy's part of the range is a difference of such."""
    nu = 0.5 * dim - 1
    with mpmath.workdps(30):
        for c in CONCENTRATIONS:
            exact = float(log_mean(dim, c))
            slack = 1e-15 * (1 + abs(exact) + (nu * np.log(nu + 2) if special.ive(nu, c) > 1e-290 else 0))
            assert abs(laws._log_mean(nu, c) - exact) < 4 * slack, (dim, c)


@pytest.mark.parametrize("dim", [2, 3, 5])
@pytest.mark.parametrize("concentration", [1.1e9, 1e13, 1e100])
def test_density_of_a_narrow_law_against_its_limit(dim, concentration):
    """At c(1 − ⟨m, x⟩) = s it is √(2π) c^{(d−1)/2} 2^{1−d/2} e^{−s} / Γ(d/2) up to a relative d²/c."""
    m = np.zeros((1, dim))
    m[0, 0] = 1.0
    law = laws.VonMisesFisher(mean_direction=tuple(m[0]), concentration=concentration)
    gap = 1.7 / concentration
    x = m.copy()
    x[0, :2] = 1 - gap, np.sqrt(gap * (2 - gap))
    log_peak = 0.5 * (dim - 1) * np.log(concentration) + 0.5 * np.log(2 * np.pi)
    log_peak -= (0.5 * dim - 1) * np.log(2) + special.gammaln(0.5 * dim)
    assert np.log(law.density(m)[0]) == pytest.approx(log_peak, rel=1e-14, abs=1e-8)
    assert np.log(law.density(x)[0]) == pytest.approx(log_peak - 1.7, rel=1e-13, abs=1e-8)


def test_density_above_the_largest_float_is_refused():
    law = laws.VonMisesFisher(mean_direction=tuple(np.eye(9)[0]), concentration=1e200)
    with pytest.raises(ValueError, match=r"concentration = 1e\+200 is too large in dim 9: the density"):
        law.density(np.eye(9)[:1])
    assert law.density(np.eye(9)[1:2])[0] == 0.0


def test_the_direction_of_a_narrow_law_may_be_off_the_sphere_by_what_is_allowed():
    """|m| = 1 + 1e-9 is within tolerance; ⟨m, x⟩ − 1 would be 1e-9 off, a factor e^{1.1} here."""
    laws_ = [laws.VonMisesFisher(mean_direction=(1.0 + e, 0.0, 0.0), concentration=1.1e9) for e in (0.0, 9e-10)]
    densities = [law.density(np.eye(3)[:1])[0] for law in laws_]
    assert densities[1] == pytest.approx(densities[0], rel=1e-8)


def gap_moments(dim, c):
    """Mean and variance of g = 1 − ⟨m, x⟩, density ∝ e^{−cg}(g(2 − g))^{(d−3)/2}, and of g², by mpmath."""
    with mpmath.workdps(40):
        power = mpmath.mpf(dim - 3) / 2

        def integral(k):
            scale = min(mpmath.mpf(2), mpmath.mpf(dim + 80) / c)
            return mpmath.quad(lambda g: g**k * mpmath.exp(-c * g) * (g * (2 - g)) ** power, [0, scale / 4, scale])

        norm = integral(0)
        return [float(integral(k) / norm) for k in range(1, 5)]


@pytest.mark.parametrize(
    ("dim", "concentration"),
    [(3, 1e-17), (3, 1e-10), (3, 5e-4), (3, 3e5), (3, 1e12), (4, 3.1e5), (4, 1.1e9), (30, 3e6), (30, 1e15)],
)
def test_samples_of_wide_and_narrow_laws(dim, concentration):
    """Null: the means of g and g², g = 1 − ⟨m, x⟩ = |x − m|²/2, are exact; 20 000 tokens, five errors (5.7e-7) each.

    The sides are isotropic: their means are 0 within five standard errors, too.
    """
    m = np.zeros(dim)
    m[:2] = 0.6, -0.8
    x = laws.VonMisesFisher(mean_direction=tuple(m), concentration=concentration).sample(20_000, rng=7)
    assert np.abs((x**2).sum(axis=1) - 1).max() < 1e-14
    g = 0.5 * ((x - m) ** 2).sum(axis=1)
    first, second, _, fourth = gap_moments(dim, concentration)
    assert abs(g.mean() - first) < 5 * np.sqrt((second - first**2) / len(x))
    assert abs((g**2).mean() - second) < 5 * np.sqrt((fourth - second**2) / len(x))
    side = x - np.outer(x @ m, m)
    assert (np.abs(side.mean(axis=0)) < 5 * side.std(axis=0) / np.sqrt(len(x)) + 1e-17).all()


@pytest.mark.parametrize("dim", [2, 3, 4, 50])
def test_a_law_of_any_concentration_can_be_sampled(dim):
    m = np.eye(dim)[0]
    x = laws.VonMisesFisher(mean_direction=tuple(m), concentration=1e200).sample(5, rng=0)
    np.testing.assert_allclose(x, np.tile(m, (5, 1)), rtol=0, atol=1e-90)
    assert np.isfinite(laws.VonMisesFisher(mean_direction=tuple(m), concentration=1e-310).sample(50, rng=0)).all()


# --- rejection ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "bound", "message"),
    [
        (lambda x: np.zeros(len(x)), 1.0, r"0 of 1000000 uniform proposals .* largest value there was 0; lower bound"),
        (lambda x: 1 + x[:, 0], 1e12, r"bound = 1e\+12: 0 of 1000000 .* largest value there was 2; lower bound"),
    ],
)
def test_hopeless_rejection_ends(function, bound, message):
    law = laws.Density(function=function, dim=3, bound=bound)
    with pytest.raises(ValueError, match=message):
        law.sample(10_000, rng=0)


def test_rejection_with_a_small_acceptance_still_ends():
    """Acceptance 1e-4: 200 tokens take two million proposals, past the first check, and are exact samples."""
    law = laws.Density(function=lambda x: 1 + x[:, 0], dim=3, bound=1e4)
    assert law.sample(200, rng=0).shape == (200, 3)


# --- laws of a user's own -----------------------------------------------------------------------


class Half:
    """A law that is not one of ours: density 1 + x_0."""

    dim = 3

    def sample(self, n_tokens, *, rng, n_replicas=None):
        return laws.Density(function=self.density, dim=3, bound=2.0).sample(n_tokens, rng=rng, n_replicas=n_replicas)

    def density(self, x):
        return 1 + x[:, 0]


def test_a_law_of_the_user_s_own_serves():
    rule = quadrature(Half(), 200)
    np.testing.assert_allclose(rule.weights @ rule.nodes, [1 / 3, 0, 0], rtol=0, atol=1e-14)
    model = cs.Transformer(attention=None, mlp=cs.MLP(width=4), depth=2, horizon=0.1)
    assert cs.MeanField(model=model, law=Half(), n_nodes=50).nodes.shape == (50, 3)
    mixture = laws.Mixture(components=[Half(), laws.Uniform(dim=3)], proportions=np.array([0.5, 0.5], np.float32))
    assert mixture.sample(5, rng=0).shape == (5, 3)
    assert mixture.density(np.eye(3)) == pytest.approx([1.5, 1.0, 1.0], rel=1e-15)


class NoDensity:
    dim = 3

    def sample(self, n_tokens, *, rng, n_replicas=None):
        return np.ones((n_tokens, 3))


class WrongDensity(Half):
    def __init__(self, value):
        self.value = value

    def density(self, x):
        return self.value(x)


@pytest.mark.parametrize(
    ("law", "error", "message"),
    [
        (NoDensity(), TypeError, r"law must have dim, sample.* and density\(x\).*; NoDensity lacks density"),
        (3, TypeError, r"int lacks dim, sample, density"),
        (laws.Uniform, TypeError, r"got the class Uniform; make an instance"),
        (WrongDensity(lambda x: np.full(len(x), np.nan)), ValueError, r"law.density must be finite and >= 0, got nan"),
        (WrongDensity(lambda x: -(x[:, 0] ** 2)), ValueError, r"law.density must be finite and >= 0, got -"),
        (WrongDensity(lambda x: 1.0), ValueError, r"law.density must return shape \(50,\)"),
        (WrongDensity(lambda x: [None] * len(x)), TypeError, r"law.density\(x\) must be an array of real numbers"),
    ],
)
def test_a_law_that_lacks_something_is_refused(law, error, message):
    with pytest.raises(error, match=message):
        quadrature(law, 50)
    model = cs.Transformer(attention=None, mlp=cs.MLP(width=4), depth=2, horizon=0.1)
    with pytest.raises(error, match=message):
        cs.MeanField(model=model, law=law, n_nodes=50)


# --- parameters of any number type, equality ----------------------------------------------------


def test_parameters_become_plain_numbers():
    m = np.array([0.0, 1.0], np.float32)
    law = laws.VonMisesFisher(mean_direction=m, concentration=np.float32(2.0))
    assert law == laws.VonMisesFisher(mean_direction=(0.0, 1.0), concentration=2)
    assert type(law.concentration) is float
    assert type(laws.Uniform(dim=np.uint8(3)).dim) is int
    density = laws.Density(function=np.ones_like, dim=np.int16(3), bound=np.float16(2))
    assert (type(density.dim), type(density.bound)) == (int, float)
    rule = quadrature(laws.Uniform(dim=np.int8(2)), np.int16(200))
    assert rule.degree == 199
    assert type(rule.degree) is int


def test_laws_compare_and_hash_by_value():
    def every():
        return [
            laws.Uniform(dim=3),
            laws.VonMisesFisher(mean_direction=[1.0, 0.0, 0.0], concentration=2.0),
            laws.Mixture(components=[laws.Uniform(dim=3)] * 2, proportions=[0.25, 0.75]),
            laws.Density(function=np.ones_like, dim=3, bound=2.0),
        ]

    one, two = every(), every()
    assert one == two
    assert [hash(law) for law in one] == [hash(law) for law in two]
    assert len(set(one + two)) == 4


@pytest.mark.parametrize("kind", [np.matrix, np.ma.array])
@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_arrays_with_an_arithmetic_of_their_own_are_refused(kind):
    for law in LAWS.values():
        with pytest.raises(TypeError, match="must not be a"):
            law.density(kind(np.eye(law.dim)))
    with pytest.raises(TypeError, match="mean_direction must not be a"):
        laws.VonMisesFisher(mean_direction=kind([0.0, 1.0]), concentration=1.0)
    with pytest.raises(TypeError, match="proportions must not be a"):
        laws.Mixture(components=(laws.Uniform(dim=2),) * 2, proportions=kind([0.5, 0.5]))
