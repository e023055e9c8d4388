"""Noise with E W(x)W(y)ᵀ = κ(u) I + η(u) y xᵀ: what is a covariance, exponents, and fields that have it.

Statistical tests: null as stated, seeds fixed, false-alarm rate 5.7e-7 (five standard errors) per comparison.
"""

import math

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common.streams import Draws, Noise, Stream
from chaosphere.geometry.harmonics import HarmonicBasis
from chaosphere.geometry.laws import Uniform
from chaosphere.noise import exponents, rates
from chaosphere.noise.increments import covariance_matrix, covariance_root
from chaosphere.noise.isotropic import MatrixRoot, Modes, Root

from_function = cs.CovarianceKernel.from_function


def linear(u):
    return 1.0 * u


def quadratic_form(dim, gamma=0.0):
    """W(x) = A x + γ g, A symmetric: κ = u + γ², η = 1."""
    return from_function(lambda u: u + gamma**2, dim=dim, derivative=np.ones_like, eta=np.ones_like)


# κ, η. The last is that of the gradient in R^d of a field of covariance ½e^{2⟨x, y⟩}.
COVARIANCES = {
    "symmetric": (linear, np.ones_like),
    "antisymmetric": (linear, lambda u: -np.ones_like(u)),
    "forced": (lambda u: u + 0.04, np.ones_like),
    "general": (lambda u: 0.2 + 0.4 * u + 0.3 * u**2, lambda u: 0.3 + 0.25 * u),
    "beyond": (lambda u: u**3 - 0.2 * u, np.square),
    "gradient": (lambda u: np.exp(2 * u), lambda u: 2 * np.exp(2 * u)),
}
NONE = {
    "row 2 of a table": (lambda u: 0.2 + 0.2 * u, lambda u: 0.3 + 0 * u, "divergence-free fields of degree 1"),
    "its negative": (lambda u: 0.2 + 0.2 * u, lambda u: -0.3 + 0 * u, "radial and gradient fields of degree 0"),
    "cubic": (lambda u: 7.5 * u**2 - 1.5, lambda u: 15 * u, "radial and gradient fields of degree 1"),
}


def points(dim):
    """Spread points, a duplicate, an antipode."""
    x = cs.sample_uniform(6, dim, rng=3)
    x[4], x[5] = x[3], -x[3]
    return x


# --- the kernel ---------------------------------------------------------------------------------


def test_without_eta_nothing_changes():
    plain, zero = from_function(np.exp, dim=3), from_function(np.exp, dim=3, eta=np.zeros_like)
    assert not plain.has_eta
    assert plain.eta(0.3) == 0
    assert "eta" not in plain.identity_facts()
    assert "eta" not in repr(plain)
    assert zero.has_eta
    assert plain != zero
    for name in ("lyapunov_exponent", "lambda_bar", "synchronizes"):
        assert getattr(plain, name)() == getattr(zero, name)()
    np.testing.assert_allclose(zero.spectrum(8), plain.spectrum(8), rtol=1e-14)


def test_eta_of_a_kernel():
    k = from_function(*COVARIANCES["general"][:1], dim=3, eta=COVARIANCES["general"][1])
    assert k.eta(0.5) == pytest.approx(0.425, rel=1e-15)
    assert k.scaled(2.0).eta(np.array([0.5, 1.0])) == pytest.approx([1.7, 2.2], rel=1e-15)
    assert k.identity_facts()["eta"][0] == pytest.approx(0.05, rel=1e-14)
    assert "eta" in repr(k)
    assert k == from_function(COVARIANCES["general"][0], dim=3, eta=COVARIANCES["general"][1])
    assert k != from_function(COVARIANCES["general"][0], dim=3)
    with pytest.raises(ValueError, match=r"u = 1.5 must be in \[-1, 1\]"):
        k.eta(1.5)


@pytest.mark.parametrize("dim", [2, 3, 7])
@pytest.mark.parametrize("name", COVARIANCES)
def test_covariances_are_taken(name, dim):
    kappa, eta = COVARIANCES[name]
    x = cs.sample_uniform(90 // dim, dim, rng=1)
    matrix = covariance_matrix(from_function(kappa, dim=dim, eta=eta), x)
    assert np.linalg.eigvalsh(matrix)[0] > -1e-12 * len(matrix)


@pytest.mark.parametrize("dim", [3, 4])
@pytest.mark.parametrize("name", NONE)
def test_what_is_no_covariance_is_refused(name, dim):
    kappa, eta, family = NONE[name]
    with pytest.raises(ValueError, match=rf"is no covariance in dim = {dim}: eigenvalue -.* on {family}, rule: >= 0"):
        from_function(kappa, dim=dim, eta=eta)
    x = cs.sample_uniform(40, dim, rng=1)
    u = np.clip(x @ x.T, -1, 1)
    matrix = np.einsum("ij,ab->iajb", kappa(u), np.eye(dim)) + np.einsum("ij,ja,ib->iajb", eta(u), x, x)
    assert np.linalg.eigvalsh(matrix.reshape(x.size, x.size))[0] / 40 < -0.02


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_traces_of_the_modes(dim):
    """E|W|² = dκ(1) + η(1), each eigenvalue as often as its fields are many."""
    kappa, eta = COVARIANCES["general"]
    k, n = from_function(kappa, dim=dim, eta=eta), 2
    modes = Modes.of(k, n)
    counts = [len(HarmonicBasis(dim=dim, n_max=m).degrees) for m in range(n + 2)]
    counts = np.diff([0, *counts])
    fields = dim * counts[:-1] - np.insert(counts[:-2], 0, 0) - counts[1:]
    total = counts @ np.trace(modes.pairs, axis1=1, axis2=2) + fields @ modes.solenoidal
    assert total == pytest.approx(dim * k(1.0) + k.eta(1.0), rel=1e-13)


@pytest.mark.parametrize(
    ("eta", "error", "message"),
    [
        (lambda u: u[:2], ValueError, "eta must return finite values of its input's shape"),
        (lambda u: np.nan * u, ValueError, "eta must return finite values of its input's shape"),
        (lambda u: 1.0, ValueError, "eta must return finite values of its input's shape"),
        (1.0, TypeError, "eta must be a function of an array of cosines, got 1.0"),
        ("tanh", TypeError, "eta must be a function of an array of cosines, got 'tanh'"),
    ],
)
def test_bad_eta(eta, error, message):
    with pytest.raises(error, match=message):
        from_function(linear, dim=3, eta=eta)


# --- exponents ----------------------------------------------------------------------------------


class Numbers:
    """κ(1), κ′(1), η(1) and d alone."""

    def __init__(self, dim, kappa, slope, eta):
        self.dim, self.derivative, self.eta, self.kappa = dim, lambda _: slope, lambda _: eta, kappa

    def __call__(self, _):
        return self.kappa

    def lyapunov_exponent(self):
        return rates.lyapunov_exponent(self)


@pytest.mark.parametrize(
    ("numbers", "exponent", "bar"), [((5, 1.0, 1.0, 1.0), -2.0, 4.0), ((3, 0.4, 0.2, 0.3), -0.7, 1.0)]
)
def test_exponents(numbers, exponent, bar):
    # Values from the formulas λ1 = ½[(d−3)κ′ − (d−1)κ] − η and λ̄ = 2λ1 + 2(κ + κ′ + 2η), by another program.
    assert rates.lyapunov_exponent(Numbers(*numbers)) == pytest.approx(exponent, rel=1e-14)
    assert rates.lambda_bar(Numbers(*numbers)) == pytest.approx(bar, rel=1e-14)


@pytest.mark.parametrize(
    ("numbers", "spectrum", "variance"),
    [((5, 1.0, 1.0, 1.0), [-2.0, -4.0, -6.0, -8.0], 4.0), ((3, 0.4, 0.2, 0.3), [-0.7, -1.2], 1.2)],
)
def test_spectrum_and_moments(numbers, spectrum, variance):
    kernel = Numbers(*numbers)
    np.testing.assert_allclose(exponents.lyapunov_spectrum(kernel), spectrum, rtol=1e-14)
    assert exponents.log_distance_variance(kernel) == pytest.approx(variance, rel=1e-14)
    assert exponents.moment_exponent(kernel, 2.0) == pytest.approx(rates.lambda_bar(kernel), rel=1e-14)
    assert exponents.critical_moment(kernel) == pytest.approx(-2 * spectrum[0] / variance, rel=1e-14)


def test_exponents_of_the_linear_flow():
    """Null: the volumes that tokens close to one span have the exponents of the spectrum; 2000 systems, t = 0.25."""
    k, n, n_steps, d = from_function(*COVARIANCES["general"][:1], dim=4, eta=COVARIANCES["general"][1]), 2000, 25, 4
    field, eps, h = cs.GaussianField(kernel=k), 1e-6, 0.01
    x = np.repeat(np.eye(d)[None, :1] + eps * np.concatenate([np.zeros((1, d)), np.eye(d)[1:]]), n, axis=0)
    x = cs.normalize(x)
    model = cs.LimitSDE(attention=None, field=field, horizon=n_steps * h, n_steps=n_steps)
    end = cs.simulate(model, x, rng=8).final
    sides = np.moveaxis(end[:, 1:] - end[:, :1], 1, 2) / eps
    gram = np.einsum("rai,raj->rij", sides, sides)
    volumes = np.stack([0.5 * np.linalg.slogdet(gram[:, :m, :m])[1] for m in (1, 2, 3)], axis=1)
    sums = np.cumsum(k.lyapunov_spectrum()) * n_steps * h
    error = volumes.std(axis=0) / math.sqrt(n)
    assert (np.abs(volumes.mean(axis=0) - sums) < 5 * error + 0.02 * np.abs(sums)).all()


def test_rotations_do_not_change_distances():
    k = from_function(linear, dim=4, derivative=np.ones_like, eta=lambda u: -np.ones_like(u))
    np.testing.assert_array_equal(k.lyapunov_spectrum(), 0.0)
    for name in ("critical_moment", "kaplan_yorke_dimension", "energy_decay_rate"):
        with pytest.raises(ValueError, match="rotations do not change distances"):
            getattr(k, name)()


@pytest.mark.parametrize("dim", [2, 3, 5])
@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_dissipation_function(dim, beta):
    kappa, eta = COVARIANCES["general"]
    k = from_function(kappa, dim=dim, derivative=lambda u: 0.4 + 0.6 * u, eta=eta)
    u = np.linspace(-1.0, 0.9, 21)
    a = (1 - u**2) * (kappa(1.0) - u * kappa(u) + eta(u) * (1 - u**2))
    b = (dim - 2 + u**2) * kappa(u) - (dim - 1) * kappa(1.0) * u - eta(u) * u * (1 - u**2)
    factor = beta * np.exp(beta * u) / (np.exp(beta) - np.exp(beta * u)) if beta else 1 / (1 - u)
    np.testing.assert_allclose(k.dissipation_function(beta, u), factor * (b + beta * a), rtol=1e-12, atol=1e-13)
    assert k.dissipation_function(beta, 1.0) == pytest.approx(-k.lambda_bar(), rel=1e-13)


def test_synchronizes():
    verdict = quadratic_form(3).synchronizes()
    assert (verdict.synchronizes, verdict.is_odd) == (False, True)
    verdict = quadratic_form(3, gamma=0.1).synchronizes()
    assert (verdict.synchronizes, verdict.is_odd) == (True, False)
    assert "the mean energy decays exponentially" in verdict.reason
    turning = from_function(linear, dim=4, derivative=np.ones_like, eta=lambda u: -np.ones_like(u))
    assert turning.synchronizes().reason == "λ1 = 0: marginal"


def test_pushes_that_repeat_on_the_circle():
    # κ = cos 2θ, η = 2 cos θ: the tangential part has the covariance κu − η(1 − u²) = cos 3θ.
    k = from_function(lambda u: 2 * u**2 - 1, dim=2, derivative=lambda u: 4 * u, eta=lambda u: 2 * u)
    assert k.lyapunov_exponent() == pytest.approx(-4.5)
    assert k.synchronizes().synchronizes is False
    assert "2π/3" in k.synchronizes().reason
    with pytest.raises(ValueError, match="2π/3 apart stay so, and the mean energy does not tend to 0"):
        k.energy_decay_rate()
    with pytest.raises(ValueError, match="two tokens that are 2π/3 apart stay so"):
        cs.two_point.long_time(k)
    angles = np.arange(3) * 2 * math.pi / 3
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    model = cs.LimitSDE(attention=None, field=cs.GaussianField(kernel=k), horizon=1.0, n_steps=10)
    end = cs.simulate(model, x, rng=0).final
    np.testing.assert_allclose(end @ end.T, 1.5 * np.eye(3) - 0.5, atol=1e-12)
    assert np.abs(end - x).max() > 0.1


# --- fields -------------------------------------------------------------------------------------


def of_method(kernel, method):
    return cs.GaussianField(kernel=kernel, method=method)


@pytest.mark.parametrize("dim", [2, 3, 4])
@pytest.mark.parametrize("name", COVARIANCES)
def test_the_spectral_field_in_closed_form(name, dim):
    """The field is linear in its normals: unit normals give its covariance without sampling."""
    kernel = from_function(COVARIANCES[name][0], dim=dim, eta=COVARIANCES[name][1])
    tolerance = 1e-3 if name == "gradient" else 1e-9  # the others are polynomials
    plan = cs.GaussianField(kernel=kernel, tolerance=tolerance).plan(6)
    n = plan.root.basis.size
    coefficients = plan.root(np.eye(n * dim).reshape(-1, n, dim))
    g = plan.root.basis.combine(np.repeat(points(dim)[None], n * dim, axis=0), coefficients).reshape(n * dim, -1)
    expected = covariance_matrix(kernel, points(dim))
    np.testing.assert_allclose(g.T @ g, expected, rtol=0, atol=tolerance * np.trace(expected[:dim, :dim]))
    root = covariance_root(kernel, points(dim))
    np.testing.assert_allclose(root @ root.T, expected, rtol=0, atol=1e-12 * kernel(1.0))


@pytest.mark.parametrize("method", ["spectral", "dense"])
def test_covariance(method):
    """Null: E[ΔW(x) ΔW(y)ᵀ] = (κ I + η y xᵀ) Δt; 10 000 draws, d = 3."""
    kernel, n = from_function(COVARIANCES["general"][0], dim=3, eta=COVARIANCES["general"][1]), 10_000
    x, field = points(3)[:4], of_method(kernel, method)
    keys = Noise(5, n_replicas=n).draws(Stream.BROWNIAN, 0).keys
    if method == "dense":  # a root for each replica: draw from one
        g = np.concatenate(
            [field.increment([Draws(keys=k[None])], duration=0.25, n_tokens=4)(x[None]) for k in keys[:50]]
        )
        root = covariance_root(kernel, x)
        normals = Draws(keys=keys).normals((4, 3))[0]
        many = 0.5 * np.einsum("ab,rb->ra", root, normals.reshape(n, 12)).reshape(n, 4, 3)
        np.testing.assert_allclose(g, many[:50], atol=1e-14)
        g = many
    else:
        g = field.increment([Draws(keys=keys)], duration=0.25, n_tokens=4)(np.repeat(x[None], n, axis=0))
    flat = g.reshape(n, -1)
    products = flat[:, :, None] * flat[:, None, :]
    error = products.std(axis=0, ddof=1) / math.sqrt(n)
    assert (np.abs(products.mean(axis=0) - 0.25 * covariance_matrix(kernel, x)) <= 5 * error + 1e-12).all()


@pytest.mark.parametrize("dim", [2, 3, 6])
def test_the_matrix_root_is_the_root(dim):
    kernel = from_function(lambda u: 0.3 + u, dim=dim, derivative=np.ones_like, eta=lambda u: 0.4 + 0 * u)
    normals = Noise(1, n_replicas=3).draws(Stream.BROWNIAN, 0).normals((dim + 1, dim))[0]
    np.testing.assert_allclose(MatrixRoot(kernel)(normals), Root(kernel, 1)(normals), atol=1e-14)


def test_fields_of_degree_one_by_their_matrix():
    kernel, dim = from_function(lambda u: 0.3 + u, dim=20, derivative=np.ones_like, eta=lambda u: 0.4 + 0 * u), 20
    draws = Noise(1, n_replicas=3).draws(Stream.BROWNIAN, 0)
    plan, x = cs.GaussianField(kernel=kernel).plan(5), cs.sample_uniform(5, dim, rng=0, n_replicas=3)
    coefficients = plan.root(draws.normals((dim + 1, dim))[0])
    g = plan.increment([draws], duration=0.25)(x)
    np.testing.assert_allclose(g, plan.root.basis.combine(x, coefficients, scale=0.5), atol=1e-14)
    assert np.array_equal(plan.increment([draws], duration=0.25)(x[:, 2:4]), g[:, 2:4])
    single = plan.increment([draws], duration=0.25)(x.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, g, atol=1e-5)


@pytest.mark.parametrize("dim", [2, 3, 64, pytest.param(768, marks=pytest.mark.slow)])
def test_the_random_quadratic_form_is_a_symmetric_matrix(dim):
    """W(x) = A x + γ g, with A and g read off from the field itself; a NumPy twin of a step."""
    field = cs.GaussianField(kernel=quadratic_form(dim, gamma=0.3))
    increment = field.increment([Noise(2).draws(Stream.BROWNIAN, 0)], duration=0.1, n_tokens=dim)
    eye = np.eye(dim)
    plus, minus = increment(eye[None])[0], increment(-eye[None])[0]
    a, forces = 0.5 * (plus - minus), 0.5 * (plus + minus)
    np.testing.assert_allclose(a, a.T, atol=1e-13)
    np.testing.assert_allclose(forces, forces[:1] * np.ones((dim, 1)), atol=1e-13)
    x = cs.sample_uniform(20, dim, rng=1)
    w = x @ a + forces[0]
    np.testing.assert_allclose(increment(x[None])[0], w, atol=1e-13)
    twin = x + w - (x * w).sum(axis=1, keepdims=True) * x
    twin /= np.linalg.norm(twin, axis=1, keepdims=True)
    model = cs.LimitSDE(attention=None, field=field, horizon=0.1, n_steps=1)
    np.testing.assert_allclose(cs.simulate(model, x, rng=2).final, twin, atol=1e-13)


@pytest.mark.parametrize("method", ["spectral", "dense"])
def test_coarse_increment_is_the_sum_of_its_parts(method):
    field, x, noise = of_method(quadratic_form(3, gamma=0.2), method), cs.sample_uniform(9, 3, rng=0)[None], Noise(1)
    coarse = field.increment((noise.draws(Stream.BROWNIAN, k) for k in range(4)), duration=0.4, n_tokens=9)(x)
    parts = [field.increment([noise.draws(Stream.BROWNIAN, k)], duration=0.1, n_tokens=9)(x) for k in range(4)]
    np.testing.assert_allclose(coarse, sum(parts), rtol=0, atol=1e-14)


def test_runs_with_other_numbers_of_tokens_share_the_noise():
    kernel = from_function(COVARIANCES["general"][0], dim=3, eta=COVARIANCES["general"][1])
    model = cs.LimitSDE(attention=None, field=cs.GaussianField(kernel=kernel), horizon=1.0, n_steps=8)
    x = cs.sample_uniform(200, 3, rng=0)
    few, many = (cs.simulate(model, x[:n], rng=1).final for n in (7, 200))
    assert np.array_equal(few, many[:7])
    limit = cs.MeanField(model=model, law=Uniform(dim=3), n_nodes=50)
    assert cs.simulate(limit, limit.start(), rng=1).final.shape[1] == 3


@pytest.mark.parametrize("dim", [2, 4])
def test_a_replica_has_its_noise_in_any_number_of_them(dim):
    field = cs.GaussianField(kernel=from_function(COVARIANCES["general"][0], dim=dim, eta=COVARIANCES["general"][1]))
    x = cs.sample_uniform(5, dim, rng=0)[None]
    one, many = (
        field.increment([Noise(1, n_replicas=n).draws(Stream.BROWNIAN, 0)], duration=1.0, n_tokens=5)(
            np.repeat(x, n, axis=0)
        )
        for n in (1, 7)
    )
    assert np.array_equal(one[0], many[0])
    assert np.abs(many[0] - many[1]).max() > 0.1


def test_zero_eta_draws_the_field_without():
    x, noise = cs.sample_uniform(9, 3, rng=0)[None], Noise(1)
    fields = (cs.GaussianField(kernel=from_function(np.exp, dim=3, eta=eta)) for eta in (None, np.zeros_like))
    a, b = (f.increment([noise.draws(Stream.BROWNIAN, 0)], duration=1.0, n_tokens=9)(x) for f in fields)
    np.testing.assert_allclose(a, b, atol=1e-12)


def test_methods():
    low, high = quadratic_form(3), from_function(lambda u: np.exp(3 * u), dim=16, eta=lambda u: np.exp(3 * u))
    assert cs.GaussianField(kernel=low).resolve(10**6).method == "spectral"
    assert cs.GaussianField(kernel=high).resolve(250).method == "dense"
    with pytest.raises(ValueError, match=r"no method serves 251 tokens in dim 16"):
        cs.GaussianField(kernel=high).resolve(251)
    with pytest.raises(ValueError, match=r"method='dense' takes up to 250 tokens, got 251"):
        cs.GaussianField(kernel=high, method="dense").resolve(251)
    with pytest.raises(ValueError, match=r"method='features' needs a kernel that comes from an activation"):
        cs.GaussianField(kernel=low, method="features")
    with pytest.raises(ValueError, match=r"with eta the coefficients of the harmonics are not independent"):
        cs.GaussianField(kernel=low).basis()
