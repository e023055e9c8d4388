"""Growth of harmonics about the uniform law: tables, limits, and the density solver."""

import math

import numpy as np
import pytest
from scipy import integrate, special

import chaosphere as cs

# (d, β, l): rates of softmax, of unnormalised, of rescaled unnormalised and of doubly stochastic attention, computed
# without this library.
TABLE = {
    (2, 1, 2): (0.42888027282772395, 0.5429906790681531, 0.19975510757689416, 0.3873487169739137),
    (2, 1, 4): (0.03459055670508168, 0.04379392353674986, 0.016110884117404415, 0.0345159363642045),
    (2, 1, 6): (0.0006394547293343073, 0.0008095918131773126, 0.0002978321838086445, 0.0006394433711374235),
    (2, 4, 2): (0.5682386944877247, 6.4221893752841055, 0.11762650147276904, 0.36234196776616556),
    (2, 4, 4): (0.5012512787299436, 5.665102830614356, 0.10375997771307838, 0.44543283428635855),
    (2, 4, 6): (0.12300414077565627, 1.3901831988360571, 0.02546209345906657, 0.1213456937976117),
    (2, 16, 2): (0.21974288264287, 196328.44960956252, 0.02209385637917338, 0.116948489675113),
    (2, 16, 4): (0.5982897032769963, 534539.6785962712, 0.060154516125207995, 0.37433120043901574),
    (2, 16, 6): (0.7142674276355657, 638159.5389471927, 0.07181539521418417, 0.5421581390387304),
    (3, 1, 1): (0.6260705709986626, 0.7357588823428847, 0.2706705664732254, 0.47681168808847024),
    (3, 1, 3): (0.1027748158716103, 0.12078108628883834, 0.044432878528017604, 0.10190206867618272),
    (3, 1, 5): (0.002551793916003648, 0.0029988712560204776, 0.0011032230818099147, 0.0025515768793917468),
    (3, 4, 1): (0.37533557520084126, 2.5607191920918186, 0.04690120801780488, 0.21439524785378591),
    (3, 4, 3): (0.6132760617097794, 4.184063235760123, 0.07663379131381108, 0.5091856126428224),
    (3, 4, 5): (0.1958081340013844, 1.3358969408554688, 0.02446780596127345, 0.19082609382139237),
    (3, 16, 1): (0.11718750000000316, 32541.908644438477, 0.0036621093750000525, 0.06048387096774278),
    (3, 16, 3): (0.5099487304687701, 141608.14933556606, 0.015935897827148864, 0.3035532626071863),
    (3, 16, 5): (0.7193166017533025, 199747.71320049727, 0.022478643804790418, 0.5198743389206796),
    (5, 1, 1): (0.7781121978613005, 0.858754441553694, 0.31591810406226695, 0.6513971758215189),
    (5, 1, 3): (0.054176053530673625, 0.05979076889321507, 0.021995794647646817, 0.054013484783838765),
    (5, 1, 5): (0.0008318305316105442, 0.0009180400533546924, 0.00033772806180112534, 0.0008318132334194404),
    (5, 4, 1): (0.5821412438254783, 2.2360503833581578, 0.04095469135860365, 0.36794517941894495),
    (5, 4, 3): (0.47508846612170424, 1.8248522297089678, 0.03342333446465085, 0.4297206194635274),
    (5, 4, 5): (0.09932381261137012, 0.38151058977850033, 0.006987610194611013, 0.09834699278316147),
    (5, 16, 1): (0.21979166666665947, 10728.660506212958, 0.0012073516845702902, 0.11696230598669419),
    (5, 16, 3): (0.6320983886718381, 30854.532027683585, 0.003472220152616348, 0.40470738112356636),
    (5, 16, 5): (0.7013312975564302, 34233.988521850275, 0.0038525278796435317, 0.5476872216347578),
}


def attentions(beta, value_scale=1.0):
    options = {"beta": beta, "value_scale": value_scale}
    return (
        cs.SoftmaxAttention(**options),
        cs.UnnormalizedAttention(**options),
        cs.UnnormalizedAttention(**options, rescaled=True),
        cs.SinkhornAttention(**options),
    )


@pytest.mark.parametrize("case", TABLE)
def test_table(case):
    dim, beta, degree = case
    for attention, rate in zip(attentions(float(beta)), TABLE[case], strict=True):
        assert cs.theory.growth_rate(attention, degree, dim) == pytest.approx(rate, rel=1e-11)
    for attention, rate in zip(attentions(float(beta), -0.5), TABLE[case], strict=True):
        assert cs.theory.growth_rate(attention, degree, dim) == pytest.approx(-0.5 * rate, rel=1e-11)


@pytest.mark.parametrize("dim", [2, 3, 7, 40])
@pytest.mark.parametrize("beta", [0.3, 10.0, 400.0, 1e5, 1e8])
def test_bessel_functions(beta, dim):
    order = dim / 2 - 1
    for degree in (1, 2, 9, 30):
        bessel = special.ive(degree + order, beta)
        if not bessel > 1e-300:
            continue
        factor = degree * (degree + dim - 2) / beta
        softmax = cs.SoftmaxAttention(beta=beta)
        rescaled = cs.UnnormalizedAttention(beta=beta, rescaled=True)
        ratio = bessel / special.ive(order, beta)
        assert cs.theory.growth_rate(softmax, degree, dim) == pytest.approx(factor * ratio, rel=1e-12)
        sinkhorn = cs.theory.growth_rate(cs.SinkhornAttention(beta=beta), degree, dim)
        assert sinkhorn == pytest.approx(factor * ratio / (1 + ratio), rel=1e-12)
        multiplier = math.exp(math.lgamma(dim / 2) + order * math.log(2 / beta) + math.log(bessel))
        assert cs.theory.growth_rate(rescaled, degree, dim) == pytest.approx(factor * multiplier, rel=1e-11)


@pytest.mark.parametrize("dim", [2, 3, 10, 3000, 100_000])
def test_small_beta(dim):
    """The rates of degrees 1, 2 and 3 begin with (d − 1)/d, 2β/(d + 2) and the like; β = 0 is the limit itself."""
    leading = {1: (dim - 1) / dim, 2: 2 / (dim + 2), 3: 3 * (dim + 1) / (dim * (dim + 2) * (dim + 4))}
    for degree, coefficient in leading.items():
        for attention in attentions(1e-6):
            rate = cs.theory.growth_rate(attention, degree, dim)
            assert rate == pytest.approx(coefficient * 1e-6 ** (degree - 1), rel=3e-6)
        for attention in attentions(0.0):
            exact = coefficient if degree == 1 else 0.0
            assert cs.theory.growth_rate(attention, degree, dim) == pytest.approx(exact, rel=1e-15)
        for attention in attentions(5e-324):
            assert cs.theory.growth_rate(attention, degree, dim) == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize(("dim", "beta"), [(2000, 1.0), (5000, 1000.0), (100_000, 1e5)])
def test_many_dimensions(dim, beta):
    """Where the Bessel functions underflow: of unnormalised attention by quadrature of the law of a cosine."""
    u = np.linspace(-1, 1, 2_000_003)[1:-1]
    log_law = (dim - 3) / 2 * np.log1p(-(u**2))
    log_weight = log_law + beta * (u - 1)
    weight = np.exp(log_weight - log_weight.max())
    multiplier = weight.sum() / np.exp(log_law).sum() * math.exp(log_weight.max())
    mean = (weight * u).sum() / weight.sum()
    softmax, rescaled = cs.SoftmaxAttention(beta=beta), cs.UnnormalizedAttention(beta=beta, rescaled=True)
    factor = (dim - 1) / beta
    assert cs.theory.growth_rate(softmax, 1, dim) == pytest.approx(factor * mean, rel=1e-10)
    assert cs.theory.growth_rate(rescaled, 1, dim) == pytest.approx(factor * mean * multiplier, rel=1e-9, abs=1e-300)


def test_degree_0_does_not_grow():
    for attention in (*attentions(0.0), *attentions(2.0)):
        assert cs.theory.growth_rate(attention, 0, 3) == 0.0


@pytest.mark.parametrize(
    "degree", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow), 6]
)
@pytest.mark.parametrize("beta", [0.0, 4.0])
@pytest.mark.parametrize("value_scale", [1.0, -1.0])
def test_small_modes_of_a_density(degree, beta, value_scale):
    """A mode of size 1e-5; the others that it makes are of the order of its square."""
    law = cs.laws.Density(function=lambda x: 1 + 1e-5 * np.cos(degree * np.arctan2(x[:, 1], x[:, 0])), dim=2, bound=1.1)
    for attention in attentions(beta, value_scale):
        model = cs.LimitSDE(attention=attention, field=None, horizon=0.5, n_steps=40)
        modes = cs.CircleDensity(model=model, law=law, n_modes=32).solve(rng=0, save_at=[0.0, 0.5]).modes
        grown = math.log(abs(modes[1, degree] / modes[0, degree])) / 0.5
        rate = cs.theory.growth_rate(attention, degree, 2)
        assert grown == pytest.approx(rate, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    "attention",
    [
        cs.SoftmaxAttention(beta=4.0),
        cs.UnnormalizedAttention(beta=4.0, rescaled=True),
        cs.SinkhornAttention(beta=4.0),
    ],
)
@pytest.mark.parametrize("dim", [2, 3])
def test_small_modes_of_tokens(attention, dim):
    """Nodes of the density 1 + εY about the uniform law; their drift is the linear response."""
    n, degree, size = 4000, 3, 1e-4
    harmonic = np.polynomial.Polynomial({2: [0, -3, 0, 4], 3: [0, -1.5, 0, 2.5]}[dim])  # of the first coordinate
    law = cs.laws.Density(function=lambda x: 1 + size * harmonic(x[:, 0]), dim=dim, bound=1.1)
    rule = cs.laws.quadrature(law, n)
    nodes, weights = rule.nodes, rule.weights
    drift = attention(nodes, weights)
    tangent = drift - (drift * nodes).sum(axis=1, keepdims=True) * nodes
    gradient = np.zeros_like(nodes)
    gradient[:, 0] = harmonic.deriv()(nodes[:, 0])
    gradient -= (gradient * nodes).sum(axis=1, keepdims=True) * nodes
    response = attention.linear_response(degree, dim)
    assert abs(tangent - response * size * gradient).max() < 3 * size * abs(response * size * gradient).max()


@pytest.mark.parametrize(
    ("attention", "dim"),
    [
        (cs.SoftmaxAttention(beta=4.0), 2),
        pytest.param(cs.SoftmaxAttention(beta=4.0), 3, marks=pytest.mark.slow),
        (cs.UnnormalizedAttention(beta=4.0, rescaled=True), 2),
        pytest.param(cs.SinkhornAttention(beta=4.0, tolerance=1e-4, rtol=1e-4), 2, marks=pytest.mark.slow),
        (cs.PotentialInteraction([0.0, 0.0, 0.5, 0.5]), 3),
    ],
)
def test_power_of_random_tokens(attention, dim):
    """The power of four systems of i.i.d. uniform tokens grows at the rate, to 1 %.

    Null: the rate. Three estimates from four systems each, of half as many tokens for d = 2, were off by 0.23 % of it
    at most as a root mean square: with these numbers a standard deviation is 0.2 % at most, and 1 % is five of them, a
    false alarm in 6e-7 of all seeds.
    """
    x = cs.sample_uniform(200_000 if dim == 2 else 100_000, dim, rng=0, n_replicas=4)
    model = cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=4, scheme="rk4")
    start, end = (cs.measures.power_spectrum(y, 2)[:, 2].sum() for y in (x, cs.simulate(model, x, rng=0).final))
    assert math.log(end / start) / 2 == pytest.approx(cs.theory.growth_rate(attention, 2, dim), rel=0.01)


class NoResponse:
    def resolve(self, n_tokens, dim, dtype="float64"):
        return self

    def plan(self, shape, weights=None):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"degree": -1}, ValueError, r"degree must be an integer >= 0, got -1"),
        ({"degree": 1.5}, TypeError, r"degree must be an integer >= 0, got 1.5"),
        ({"degree": 10**6}, ValueError, r"degree must be an integer <= 100000"),
        ({"dim": 1}, ValueError, r"dim must be an integer >= 2, got 1"),
        ({"dim": 10**6}, ValueError, r"dim must be an integer <= 100000"),
        (
            {"interaction": NoResponse()},
            ValueError,
            r"interaction must be an interaction with the method linear_response",
        ),
        ({"interaction": None}, ValueError, r"with the method linear_response, got None"),
        ({"interaction": cs.SoftmaxAttention(beta=1e9)}, ValueError, r"beta must be <= 1e\+08 for the linear response"),
        (
            {"interaction": cs.SoftmaxAttention(query=np.eye(3), key=np.eye(3))},
            ValueError,
            r"linear_response needs attention with QᵀK = βI and V = δI, got general matrices",
        ),
    ],
)
def test_bad_arguments(changes, error, message):
    arguments = {"interaction": cs.SoftmaxAttention(), "degree": 2, "dim": 3} | changes
    with pytest.raises(error, match=message):
        cs.theory.growth_rate(**arguments)


def test_a_density_needs_a_drift_on_the_circle():
    model = cs.LimitSDE(attention=NoResponse(), field=None, horizon=1.0, n_steps=4)
    with pytest.raises(ValueError, match=r"model.attention must be an interaction with the method circle_drift, got"):
        cs.CircleDensity(model=model, law=cs.laws.Uniform(dim=2), n_modes=8)


# (d, β): τ_c of softmax attention and of unnormalised attention, computed without this library.
CRITICAL = {
    (2, 2): (0.34888732898200403, 0.7953184273186644),
    (2, 4): (0.2158806527561377, 2.439866288426112),
    (3, 4): (0.18766778760042063, 1.2803595960459233),
    (5, 2): (0.18055332510335412, 0.2638920664150635),
    (5, 8): (0.09598210611096868, 5.867667980149654),
}


@pytest.mark.parametrize("case", CRITICAL)
def test_critical_temperatures(case):
    dim, beta = case
    softmax, unnormalized, rescaled, sinkhorn = attentions(float(beta))
    for attention, exact in zip((softmax, unnormalized), CRITICAL[case], strict=True):
        critical = cs.theory.critical_temperature(attention, dim)
        assert critical == pytest.approx(exact, rel=1e-14)
        for degree in (1, 2, 5):
            rate = cs.theory.growth_rate(attention, degree, dim, temperature=critical)
            assert rate <= 1e-14 * critical
            own = critical * degree * (degree + dim - 2)
            assert rate == pytest.approx(cs.theory.growth_rate(attention, degree, dim) - own, abs=1e-13 * own)
    assert cs.theory.critical_temperature(rescaled, dim) == pytest.approx(math.exp(-beta) * exact, rel=1e-13)
    ratio = beta * CRITICAL[case][0]
    assert cs.theory.critical_temperature(sinkhorn, dim) == pytest.approx(ratio / (1 + ratio) / beta, rel=1e-13)


def test_repulsion_has_no_critical_temperature():
    for attention in attentions(2.0, -1.0):
        assert cs.theory.critical_temperature(attention, 3) == 0.0


def test_the_degree_that_becomes_unstable_first_need_not_be_the_lowest():
    """W = T_400 on the circle, beside a small T_1: W_l is half of the coefficient."""
    potential = np.polynomial.Chebyshev([0.0, 0.1, *[0.0] * 398, 1.0])
    assert cs.theory.critical_temperature(cs.PotentialInteraction(potential), 2) == pytest.approx(0.5, rel=1e-12)
    heads = [cs.SoftmaxAttention(beta=400.0), cs.SoftmaxAttention(beta=100.0, value_scale=-1.0)]
    both = cs.MultiHeadAttention(heads=heads, combine="sum")
    rates = [heads[0].linear_response(k, 3) + heads[1].linear_response(k, 3) for k in range(1, 200)]
    assert np.argmax(rates) > 10
    assert cs.theory.critical_temperature(both, 3) == pytest.approx(max(rates), rel=1e-13)


class Unending(NoResponse):
    def linear_response(self, degree, dim):
        return math.nan if degree == 7 else 1.0


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("critical_temperature", {"dim": 1}, r"dim must be an integer >= 2, got 1"),
        ("critical_temperature", {"interaction": NoResponse()}, r"with the method linear_response"),
        ("critical_temperature", {"interaction": Unending()}, r"interaction.linear_response must be a finite number"),
        ("growth_rate", {"degree": 1, "temperature": -1.0}, r"temperature must be a finite number >= 0, got -1.0"),
    ],
)
def test_bad_arguments_with_temperature(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(cs.theory, function)(**({"interaction": cs.SoftmaxAttention(), "dim": 3} | arguments))


def test_fluctuations_above_the_critical_temperature():
    """The table of limits, computed without this library: softmax, (d, β, τ/τ_c, l)."""
    table = {(2, 2.0, 2.0, 1): 2.0, (3, 4.0, 1.5, 2): 1.6342383726356144}
    for (dim, beta, ratio, degree), value in table.items():
        attention = cs.SoftmaxAttention(beta=beta)
        temperature = ratio * cs.theory.critical_temperature(attention, dim)
        limit = cs.theory.fluctuation(attention, degree, dim, temperature=temperature)
        assert limit == pytest.approx(value, rel=1e-12)
        late = cs.theory.fluctuation(attention, degree, dim, temperature=temperature, time=1e3)
        assert late == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0, 1.5])
def test_fluctuations_over_time_solve_their_equation(ratio):
    attention, degree, dim = cs.UnnormalizedAttention(beta=2.0), 1, 4
    temperature = ratio * cs.theory.critical_temperature(attention, dim)
    rate = cs.theory.growth_rate(attention, degree, dim, temperature=temperature)
    times = np.linspace(0, 3, 7)
    solution = integrate.solve_ivp(
        lambda t, a: 2 * rate * a + 2 * temperature * degree * (degree + dim - 2),
        (0, 3),
        [1.0],
        t_eval=times,
        rtol=1e-12,
        atol=1e-12,
        method="DOP853",
    )
    values = cs.theory.fluctuation(attention, degree, dim, temperature=temperature, time=times)
    assert values == pytest.approx(solution.y[0], rel=1e-9)
    assert values[0] == 1
    if ratio <= 1:
        assert cs.theory.fluctuation(attention, degree, dim, temperature=temperature) == math.inf
    with pytest.raises(ValueError, match="time must be >= 0, got -1"):
        cs.theory.fluctuation(attention, degree, dim, time=[0.0, -1.0])
    with pytest.raises(ValueError, match="degree must be an integer >= 1"):
        cs.theory.fluctuation(attention, 0, dim)


FLUCTUATIONS = [(2, 2.0, 2.0, 1, 1.5), (3, 4.0, 1.5, 2, 1.5), (3, 4.0, 0.5, 1, 0.6), (2, 4.0, 0.0, 2, 0.7)]
"""d, β, τ/τ_c, degree, and |σ_l| times the time."""


def departure(case, *, n_systems, n_tokens, n_steps):
    """Return the mean of N times the power of independent systems over the expected one, less 1, in standard errors."""
    dim, beta, ratio, degree, age = case
    attention = cs.SoftmaxAttention(beta=beta)
    temperature = ratio * cs.theory.critical_temperature(attention, dim)
    horizon = age / abs(cs.theory.growth_rate(attention, degree, dim, temperature=temperature))
    model = cs.LimitSDE(
        attention=attention, field=None, horizon=horizon, n_steps=n_steps, temperature=temperature, scheme="heun"
    )
    x = cs.sample_uniform(n_tokens, dim, rng=1, n_replicas=n_systems)
    final = cs.simulate(model, x, rng=2, save_states=False, n_threads=1).final
    power = n_tokens * cs.measures.power_spectrum(final, degree)[:, degree]
    expected = cs.theory.fluctuation(attention, degree, dim, temperature=temperature, time=horizon)
    # Of independent normals, 2 for d = 2 and 2 l + 1 for d = 3, the mean square has this relative variance.
    error = math.sqrt(2 / (2 if dim == 2 else 2 * degree + 1) / n_systems)
    return (power.mean() / expected - 1) / error, expected


@pytest.mark.parametrize("case", FLUCTUATIONS, ids=str)
def test_fluctuations_of_tokens(case):
    """Null: the theory, with normal harmonics. 120 systems of 200 tokens; |z| < 6: at most 2e-7 each by the law of χ².

    The rest of the 6 above 5 is for the terms of order 1/N and for the steps. Without the growth or the source of the
    equation the expected mean is another one by more than that.
    """
    z, expected = departure(case, n_systems=120, n_tokens=200, n_steps=20)
    assert abs(z) < 6
    assert abs(expected - 1) > 6 * math.sqrt(2 / 2 / 120)


@pytest.mark.slow
@pytest.mark.parametrize("case", FLUCTUATIONS, ids=str)
def test_fluctuations_of_more_tokens(case):
    """Null as above, with 1000 systems of 400 tokens; |z| < 6."""
    assert abs(departure(case, n_systems=1000, n_tokens=400, n_steps=40)[0]) < 6
