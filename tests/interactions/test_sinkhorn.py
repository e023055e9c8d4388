"""Doubly stochastic attention: against its dense twin, its marginals, its identities, its energy, and its refusals."""

import math

import numpy as np
import pytest
from support import cases, twins
from support.shares import Share

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.ensembles.study_parts import ModelFactory

EDGES = [1, 2, 31, 32, 33, 257]
DIMS = [2, 3, 5, 17]
DTYPES = [np.float64, np.float32]
TOLERANCE = {np.float64: 1e-12, np.float32: 1e-6}  # tolerances of the residual
EXPANSIONS = [("fourier", 2), ("harmonic", 3), ("harmonic", 4), ("nufft", 2), ("nufft", 3)]


def check(x, *, beta, weights=None, value_scale=1.0, method="direct", rtol=None):
    """A result for tokens (R, N, d): errors are a few of the tolerance and of the rounding of sums and exponents."""
    attention = cs.SinkhornAttention(beta=beta, value_scale=value_scale, method=method, rtol=rtol)
    result = attention.evaluate(x, weights)
    tolerance = attention.resolve(*x.shape[-2:], x.dtype).tolerance
    assert (result.residual <= tolerance).all()
    error = 20 * tolerance + 4 * twins.attention_tolerance(beta, x.shape[-1], x.dtype)
    for r in range(len(x)):
        value, log_a = twins.sinkhorn(x[r], beta, weights=weights, value_scale=value_scale)
        twins.assert_close(result.value[r], value, atol=abs(value_scale) * error, dtype=x.dtype)
        twins.assert_close(result.log_scaling[r], log_a, atol=error)
    return result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("n", EDGES)
def test_every_block_shape(n, dim, dtype):
    x = cases.tokens(n, dim, dtype, n_replicas=2)
    check(x, beta=2.0)
    check(x, beta=5.0, weights=cases.weights(n), value_scale=-0.7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beta", [0.0, 1e-30, 1e-3, 50.0, 1e3])
def test_sizes_of_beta(beta, dtype):
    check(cases.tokens(65, 5, dtype), beta=beta)


def test_any_beta():
    """Tokens so far apart that each attends to itself alone, and half of them in pairs."""
    x = cases.tokens(40, 3)[0]
    x[::2] = x[1::2]
    for beta in (1e6, 1e10):
        result = cs.SinkhornAttention(beta=beta).evaluate(x)
        twins.assert_close(result.value, x, atol=1e-15)
        # a² e^β 2/40 = 1, up to the length of x, which is 1 to a few roundings.
        np.testing.assert_allclose(result.log_scaling, 0.5 * (math.log(20) - beta), rtol=1e-14, atol=2e-15 * beta)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1e-3, 1.0, 10.0])
@pytest.mark.parametrize("beta", [1.0, 16.0, 256.0])
def test_marginals(beta, width, dtype):
    """Rows and columns sum to 1: of clusters, of spread tokens, with equal weights and with such of many sizes."""
    rng = np.random.default_rng(0)
    centres = cs.sample_uniform(4, 3, rng=1)
    x = cs.normalize(centres[rng.integers(4, size=300)] + width * rng.standard_normal((300, 3))).astype(dtype)
    p = rng.uniform(size=300) ** 20
    for weights in (np.full(300, 1 / 300), p / p.sum()):
        result = cs.SinkhornAttention(beta=beta).evaluate(x, weights)
        a = np.exp(result.log_scaling + beta / 2)
        y = x.astype(np.float64)
        matrix = a[:, None] * np.exp(beta * (y @ y.T - 1)) * a
        # Of the exponents: β times a few roundings.
        error = 2 * TOLERANCE[dtype] + 2 * twins.attention_tolerance(beta, 3, dtype)
        assert abs(matrix @ weights - 1).max() < error
        assert abs(weights @ matrix - 1).max() < error
        twins.assert_close(result.value, (matrix * weights) @ y, atol=error, dtype=dtype)
        assert result.residual <= TOLERANCE[dtype]
        assert 2 <= result.n_iterations <= 40


@pytest.mark.parametrize(("method", "dim"), EXPANSIONS)
@pytest.mark.parametrize("rtol", [None, 1e-5])
def test_expansions_keep_their_tolerance(method, dim, rtol):
    for weights in (None, cases.weights(300)):
        check(cases.tokens(300, dim, n_replicas=2), beta=6.0, weights=weights, method=method, rtol=rtol, value_scale=-2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_few", [True, False])
def test_an_expansion_sums_far_tokens_directly(dtype, is_few):
    """Tokens of little weight opposite to all others, whose sums are lost in the error of the series."""
    n_far = 3 if is_few else 900
    cluster = cs.sample_von_mises_fisher(1000, [1.0, 0.0], concentration=1e4, rng=0)
    x = np.concatenate([cluster, -cluster[:n_far]]).astype(dtype)
    p = np.concatenate([np.full(1000, 1.0), np.full(n_far, 1e-30)])
    fast, direct = (
        cs.SinkhornAttention(beta=30.0, method=method).evaluate(x, p / p.sum()) for method in ("fourier", "direct")
    )
    atol = 1e-10 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(fast.value, direct.value, rtol=0, atol=atol)
    np.testing.assert_allclose(fast.log_scaling, direct.log_scaling, rtol=0, atol=10 * atol)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_of_any_size(dtype):
    x = cases.tokens(50, 3, dtype)
    p = 10.0 ** -(np.arange(50.0) ** 1.4)
    for weights in (p / p.sum(), np.append(1.0, np.full(49, 5e-324))):
        check(x, beta=3.0, weights=weights)


@pytest.mark.parametrize("beta", [0.5, 4.0])
@pytest.mark.parametrize("n", [2, 5, 40])
def test_equal_sums_make_it_softmax(n, beta):
    """Tokens with equal cosines, and the corners of a regular polygon."""
    corners = 2 * np.pi * np.arange(n) / n
    regular = np.stack([np.cos(corners), np.sin(corners)], axis=1)
    for x in (np.linalg.cholesky(0.7 * np.eye(n) + 0.3), regular):
        twins.assert_close(cs.SinkhornAttention(beta=beta)(x), cs.SoftmaxAttention(beta=beta)(x), atol=2e-12)


@pytest.mark.parametrize("method", ["direct", "harmonic"])
def test_rotations(method):
    x, turn = cs.sample_uniform(300, 3, rng=0), cases.rotation(3)
    attention = cs.SinkhornAttention(beta=4.0, method=method)
    twins.assert_close(attention(cs.normalize(x @ turn.T)), attention(x) @ turn.T, atol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "dim", "method"), [(1, 3, "direct"), (40, 2, "direct"), (300, 3, "harmonic")])
def test_systems_and_threads_change_nothing(n, dim, method, dtype):
    """Systems that take different numbers of iterations, all at once and one by one."""
    x = cases.tokens(n, dim, dtype, n_replicas=5)
    x[1], x[3] = x[1, :1], cs.normalize(x[3] + 3)
    attention, p = cs.SinkhornAttention(beta=4.0, method=method), cases.weights(n)
    together = attention.evaluate(x, p, n_threads=1)
    for r in range(5):
        alone = attention.evaluate(x[r], p, n_threads=3)
        assert np.array_equal(alone.value, together.value[r])
        assert np.array_equal(alone.log_scaling, together.log_scaling[r])
        assert (alone.residual, alone.n_iterations) == (together.residual[r], together.n_iterations[r])
        assert type(alone.residual) is float
    assert np.array_equal(attention(x, p), together.value)


@pytest.mark.parametrize("method", ["direct", "harmonic"])
def test_layouts_of_memory_change_nothing(method):
    x = cases.tokens(200, 3, n_replicas=2)
    attention = cs.SinkhornAttention(beta=2.0, method=method)
    drift = attention(x, cases.weights(200))
    for name, y in cases.layouts(x).items():
        assert np.array_equal(attention(y, cases.weights(200)), drift), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["direct", "harmonic"])
def test_passive_tracers_are_not_felt(method, dtype):
    x, p = cases.tokens(60, 3, dtype, n_replicas=2), cases.weights(40)
    plan = cs.SinkhornAttention(beta=2.0, method=method).plan(Shape.of(x), p)
    assert plan.pairs == 60 * np.count_nonzero(p)
    drift = plan.drift(x, n_threads=1)
    for r in range(2):
        want, _ = twins.sinkhorn(x[r], 2.0, weights=np.append(p, np.zeros(20)))
        twins.assert_close(drift[r], want, atol=1e-10 if dtype == np.float64 else 2e-5, dtype=dtype)
    elsewhere = x.copy()
    elsewhere[:, 40:] = x[:, 39::-1][:, :20]
    others = plan.drift(elsewhere, n_threads=1)
    np.testing.assert_allclose(others[:, :40], drift[:, :40], rtol=0, atol=1e-11 if dtype == np.float64 else 2e-5)


def test_rows_of_a_process_are_those_of_the_whole():
    x = cases.tokens(100, 3, n_replicas=2)
    plan = cs.SinkhornAttention(beta=4.0).plan(Shape.of(x))
    drift = plan.drift(x, n_threads=1)
    for first, stop in [(0, 32), (32, 100)]:
        mine = plan.distribute(Share(x, first, stop)).drift(x[:, first:stop], n_threads=2)
        assert np.array_equal(mine, drift[:, first:stop])


class Stop(Exception):
    pass


def first_until(moment):
    """The first coordinate, until a moment at which the run ends."""

    def observable(time, x):
        if time >= moment:
            raise Stop
        return float(x[0, 0, 0])

    observable.version = 1  # the moment, which is in the closure, makes no other run
    return observable


@pytest.mark.parametrize("scheme", ["heun", "split"])
def test_a_run_that_is_resumed_is_the_whole_run(tmp_path, scheme):
    """No evaluation knows of the one before it."""
    x, path = cs.sample_uniform(50, 3, rng=0, n_replicas=2), tmp_path / "run.npz"
    field = cs.GaussianField(kernel=cs.MLP(width=1).kernel(3))
    attention = cs.SinkhornAttention(beta=4.0)
    model = cs.LimitSDE(attention=attention, field=field, horizon=1.0, n_steps=10, scheme=scheme)
    uninterrupted = cs.simulate(model, x, rng=3, observe={"first": first_until(9)})
    with pytest.raises(Stop):
        cs.simulate(model, x, rng=3, observe={"first": first_until(0.45)}, checkpoint=path)
    assert path.exists()
    resumed = cs.simulate(model, x, rng=3, observe={"first": first_until(9)}, checkpoint=path)
    assert np.array_equal(resumed.final, uninterrupted.final)
    assert np.array_equal(resumed.observables["first"], uninterrupted.observables["first"])


def test_a_study_file_names_it():
    table = {"type": "sinkhorn", "beta": 3.0, "value_scale": -1.0, "tolerance": 1e-8}
    model = ModelFactory(values={"depth": 4, "horizon": 1.0, "attention": table}, dim=3, paths={})()
    want = cs.SinkhornAttention(beta=3.0, value_scale=-1.0, tolerance=1e-8)
    assert model == cs.Transformer(attention=want, mlp=None, depth=4, horizon=1.0)


def test_an_ensemble_is_its_runs():
    """Replicas of one batch are what they are alone, whatever the size of the batch."""

    def model(beta):
        return cs.Transformer(attention=cs.SinkhornAttention(beta=beta), mlp=cs.MLP(width=8), depth=5, horizon=1.0)

    options = {"n_tokens": 6, "sweep": {"beta": [1.0, 8.0]}, "seeds": range(5), "observe": {"r": order}}
    data = cs.ensemble(model, cs.laws.Uniform(dim=3), **options)["r"]
    for beta in (1.0, 8.0):
        for seed in range(5):
            x = cs.laws.Uniform(dim=3).sample(6, rng=seed)
            alone = cs.simulate(model(beta), x, rng=seed, observe={"r": order}).observables["r"]
            assert np.array_equal(data.sel(beta=beta).isel(replica=seed).values, alone)


def order(time, x):
    return cs.measures.order_parameter(x)


def test_resolved_once_is_resolved():
    resolved = cs.SinkhornAttention(beta=4.0).resolve(100_000, 3)
    assert (resolved.method, resolved.beta, resolved.tolerance) == ("harmonic", 4.0, 1.5e-12)
    assert resolved.resolve(100_000, 3) == resolved
    assert resolved.rtol == cs.SoftmaxAttention(beta=4.0).resolve(100_000, 3).rtol
    loose = cs.SinkhornAttention(beta=4.0, tolerance=1e-3)
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-6)):
        assert cs.SinkhornAttention().resolve(10, 3, dtype).tolerance == tolerance
        assert loose.resolve(10, 3, dtype).tolerance == 1e-3


def test_the_tolerance_is_what_iterations_stop_at():
    x = cs.sample_uniform(200, 3, rng=0)
    counts = []
    for tolerance in (0.1, 1e-4, 1e-8, 1e-12, 1e-13):
        result = cs.SinkhornAttention(beta=4.0, tolerance=tolerance).evaluate(x)
        assert result.residual <= tolerance
        counts.append(result.n_iterations)
        # b is off by 2 (tolerance) as a root mean square, to first order.
        error = result.value - twins.sinkhorn(x, 4.0)[0]
        assert np.sqrt((error**2).sum(axis=1).mean()) < 2.2 * tolerance + 1e-14
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "dim"), [(1, 2), (2, 3), (33, 2), (257, 17)])
@pytest.mark.parametrize("beta", [1e-3, 2.0, 30.0])
def test_energy(n, dim, beta, dtype):
    x, p = cases.tokens(n, dim, dtype, n_replicas=2), cases.weights(n)
    attention = cs.SinkhornAttention(beta=beta)
    for weights in (None, p):
        q = np.full(n, 1 / n) if weights is None else weights
        want = [q @ twins.sinkhorn(y.astype(np.float64), beta, weights=weights)[1] / beta for y in x]
        energy = attention.energy(x, weights)
        np.testing.assert_allclose(energy, want, rtol=0, atol=1e-14 * (1 + 1 / beta))
        assert attention.energy(x[0], weights) == energy[0]


def test_energy_of_a_loose_tolerance_is_of_second_order():
    x = cs.sample_uniform(200, 3, rng=0)
    want = cs.SinkhornAttention(beta=4.0).energy(x)
    for tolerance in (1e-2, 1e-4):
        assert abs(cs.SinkhornAttention(beta=4.0, tolerance=tolerance).energy(x) - want) < tolerance**2


def test_energy_of_small_beta_and_of_consensus():
    x, p = cs.sample_uniform(100, 3, rng=0), cases.weights(100)
    assert cs.SinkhornAttention(beta=0.0).energy(x, p) == pytest.approx(-0.5 * ((p @ x) ** 2).sum(), rel=1e-14)
    near = [cs.SinkhornAttention(beta=beta).energy(x, p) for beta in (0.99999e-5, 1.00001e-5)]
    assert near[0] == pytest.approx(near[1], abs=2e-10)
    for beta in (0.0, 5e-324, 1e-7, 1e-3, 4.0, 1e3):
        assert cs.SinkhornAttention(beta=beta).energy(np.tile(x[:1], (20, 1))) == pytest.approx(-0.5, abs=1e-12)


@pytest.mark.parametrize("dim", [2, 3, 5])
@pytest.mark.parametrize("value_scale", [1.0, -0.5])
@pytest.mark.parametrize("weighted", [False, True])
def test_energy_falls_along_the_flow(dim, value_scale, weighted):
    """Central differences of the energy along the flow miss its derivative by a multiple of the squared step."""
    beta, x = 1.5, cs.sample_uniform(40, dim, rng=1)
    p = np.full(40, 1 / 40) if not weighted else cases.weights(40)
    unit = cs.SinkhornAttention(beta=beta)
    drift = unit(x, p)
    tangent = drift - (drift * x).sum(axis=1, keepdims=True) * x
    change = -value_scale * (p * (tangent**2).sum(axis=1)).sum()

    def ahead(step):
        plan = cs.SinkhornAttention(beta=beta, value_scale=value_scale).plan(Shape.of(x[None]), p)
        k1 = plan.drift(x[None], n_threads=1)[0]
        middle = cs.normalize(x + 0.5 * step * (k1 - (k1 * x).sum(axis=1, keepdims=True) * x))
        k2 = plan.drift(middle[None], n_threads=1)[0]
        return cs.normalize(x + step * (k2 - (k2 * middle).sum(axis=1, keepdims=True) * middle))

    errors = []
    for step in (0.04, 0.02, 0.01):
        slope = (unit.energy(ahead(step), p) - unit.energy(ahead(-step), p)) / (2 * step)
        errors.append(slope - change)
    assert abs(errors[-1]) < 2e-3 * abs(change)
    order = np.log2(np.abs(np.divide(errors[:-1], errors[1:])))
    assert (abs(order - 2) < 0.1).all()


def test_consensus_rate():
    """Two tokens near each other approach at the rate δ."""
    x = cs.normalize(np.array([[1.0, 1e-3], [1.0, -1e-3]]))
    attention = cs.SinkhornAttention(beta=3.0, value_scale=0.5)
    model = cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=20, scheme="rk4")
    gap = [abs(np.diff(y[:, 1])[0]) for y in (x, cs.simulate(model, x, rng=0).final)]
    assert math.log(gap[0] / gap[1]) == pytest.approx(attention.consensus_rate, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"beta": -1.0}, ValueError, r"beta must be a finite number >= 0, got -1.0"),
        ({"beta": None}, TypeError, r"beta must be a real number, got None"),
        ({"beta": 1e11}, ValueError, r"beta must be a finite number >= 0 and <= 1e\+10, got 100000000000.0"),
        ({"value_scale": math.nan}, ValueError, r"value_scale must be a finite number"),
        ({"value_scale": "1"}, TypeError, r"value_scale must be a real number"),
        ({"tolerance": 1e-14}, ValueError, r"tolerance must be a finite number >= 1e-13 and <= 0.1, got 1e-14"),
        ({"tolerance": 0.2}, ValueError, r"tolerance must be a finite number >= 1e-13 and <= 0.1, got 0.2"),
        ({"tolerance": None}, TypeError, r"tolerance must be a real number, got None"),
        ({"method": "fast"}, ValueError, r"method: unknown 'fast'"),
        ({"rtol": 2.0}, ValueError, r"rtol must be a finite number >= 1e-13 and <= 0.1"),
        ({"rtol": 1e-6, "method": "direct"}, ValueError, r"rtol must be None with method='direct'"),
    ],
)
def test_bad_arguments(changes, error, message):
    with pytest.raises(error, match=message):
        cs.SinkhornAttention(**changes)


def test_what_is_too_large_for_the_tokens():
    x = cs.sample_uniform(10, 3, rng=0).astype(np.float32)
    with pytest.raises(ValueError, match=r"beta must be <= 8.39e\+04 for float32 tokens, got 1e\+06"):
        cs.SinkhornAttention(beta=1e6)(x)
    with pytest.raises(ValueError, match=r"value_scale must be <= 3.4e\+30 in size for float32 tokens"):
        cs.SinkhornAttention(value_scale=1e31)(x)
    with pytest.raises(ValueError, match=r"method='fourier' serves dim 2, got 3"):
        cs.SinkhornAttention(method="fourier")(x)


@pytest.mark.parametrize("method", ["__call__", "evaluate", "energy"])
def test_bad_calls(method):
    call, x = getattr(cs.SinkhornAttention(), method), cs.sample_uniform(10, 3, rng=0)
    with pytest.raises(ValueError, match="x must lie on the unit sphere"):
        call(2 * x)
    with pytest.raises(ValueError, match="weights must sum to 1"):
        call(x, np.ones(10))
    with pytest.raises(ValueError, match="n_threads must be an integer >= 1"):
        call(x, n_threads=0)


def test_degrees_dimensions_and_modes_out_of_range():
    attention = cs.SinkhornAttention()
    with pytest.raises(ValueError, match="degree must be an integer >= 1, got 0"):
        attention.linear_response(0, 3)
    with pytest.raises(ValueError, match="dim must be an integer >= 2, got 1"):
        attention.linear_response(1, 1)
    with pytest.raises(ValueError, match=r"beta must be <= 1e\+08 for the linear response"):
        cs.SinkhornAttention(beta=1e9).linear_response(1, 3)
    with pytest.raises(ValueError, match="n_modes must be an integer >= 1, got 0"):
        attention.circle_drift(0)
