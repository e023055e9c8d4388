"""Attention through expansions agrees with dense sums in long double, within its own bound, for all kinds of tokens."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special
from support import cases, twins

from chaosphere.common.shape import Shape
from chaosphere.geometry import expansions
from chaosphere.geometry.harmonics import multiplicities
from chaosphere.interactions import series
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.kernels import abi
from chaosphere.kernels import expansions as kernel

EPS = float(np.finfo(float).eps)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def clouds(dim, n, rng):
    """Kinds of tokens (n, dim), by name."""
    centre, first, last = unit(rng.standard_normal(dim)), np.eye(dim)[0], np.eye(dim)[-1]
    spread = rng.standard_normal((n, dim))
    return {
        "uniform": unit(spread),
        "one point": np.repeat(centre[None], n, axis=0),
        "cluster": unit(centre + 1e-3 * spread),
        "at the pole": unit(last + 1e-2 * spread),
        "the pole": np.repeat(last[None], n, axis=0),
        "at the equator": unit(first + 1e-2 * spread),
        "antipodes": unit(np.where(rng.random((n, 1)) < 0.3, centre, -centre) + 1e-2 * spread),
        "three clusters": unit(unit(rng.standard_normal((3, dim)))[rng.integers(0, 3, n)] + 1e-2 * spread),
        "great circle": unit(spread * (np.arange(dim) < 2)),
        "cap": unit(centre + 0.3 * spread),
    }


def scaled_sums(points, sources, p, beta):
    """e^{−β} Σ p_j e^{β⟨x, x_j⟩} (1, x_j) in long double, of points projected onto the sphere."""
    points, sources = (a.astype(np.longdouble) for a in (points, sources))
    points, sources = (a / np.sqrt((a**2).sum(axis=1, keepdims=True)) for a in (points, sources))
    w = p * np.exp(np.longdouble(beta) * (points @ sources.T - 1))
    return w.sum(axis=1), w @ sources


@pytest.mark.parametrize(
    ("dim", "beta"), [(d, b) for d in (2, 3) for b in (0.0, 1e-3, 0.5, 4.0, 64.0, 200.0)] + [(4, 4.0), (5, 2.0)]
)
def test_errors_stay_within_their_bound_everywhere(dim, beta):
    """Passive tokens (weight 0) probe the field over the whole sphere, far from all sources too."""
    rng = np.random.default_rng(5)
    n = 300
    for name, sources in clouds(dim, n, rng).items():
        probes = unit(
            np.concatenate([rng.standard_normal((60, dim)), sources[:60] + 0.1 * rng.standard_normal((60, dim))])
        )
        x = np.concatenate([sources, probes, np.eye(dim), -np.eye(dim)])
        p = np.zeros(len(x))
        p[:n] = cases.weights(n)
        n_max = expansions.degree(beta, dim, 1e-12)
        mean, z, least, error = series.Series(beta=beta, n_max=n_max, value=np.eye(dim))(x[None], p, n_threads=1)
        assert least[0] == z.min()
        want_z, want_sum = scaled_sums(x, sources, p[:n], beta)
        assert np.abs(z[0] - want_z).max() <= error[0], name
        assert np.sqrt(((mean[0] * z[0][:, None] - want_sum) ** 2).sum(axis=1)).max() <= error[0], name
        assert error[0] < 700 * EPS, name  # the bound itself says something


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("beta", [1.0, 16.0, 200.0])
@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-10])
def test_truncation_keeps_the_tolerance(dim, beta, rtol):
    """Coarse expansions: now the error is that of the degrees left out, and every token keeps its own rtol."""
    rng = np.random.default_rng(6)
    method = "fourier" if dim == 2 else "harmonic"
    for name, x in clouds(dim, 400, rng).items():
        x[-1] = -x[0]  # at times far from all others
        result = SoftmaxAttention(beta=beta, method=method, rtol=rtol).evaluate(x)
        z, total = scaled_sums(x, x, np.full(400, 1 / 400), beta)
        error = np.sqrt(((result.value - total / z[:, None]) ** 2).sum(axis=1))
        assert error.max() <= rtol, name
        assert np.abs(np.expm1(np.longdouble(result.log_partition) - beta - np.log(z))).max() <= rtol / 2, name
    assert expansions.degree(beta, dim, rtol) < expansions.degree(beta, dim, 1e-13)


@pytest.mark.parametrize("dim", [2, 3, 4])
@pytest.mark.parametrize("n", [1, 2, 127, 128, 129, 255, 256, 257, 4095, 4096, 4097])
def test_every_block_shape(isa, dtype, dim, n):
    x, beta = cases.tokens(n, dim, dtype)[0], 2.0
    result = SoftmaxAttention(beta=beta, method="fourier" if dim == 2 else "harmonic").evaluate(x)
    some = np.unique(np.linspace(0, n - 1, 50).astype(int))
    z, total = scaled_sums(x[some], x, np.full(n, 1 / n), beta)
    atol = 1e-14 if dtype == np.float64 else 2e-7  # float32: rtol is 1.25e-7, and the result is rounded once
    twins.assert_close(result.value[some], total / z[:, None], atol=atol, dtype=dtype)
    twins.assert_close(result.log_partition[some], np.log(z) + beta, atol=1e-14 if dtype == np.float64 else 1e-7)
    assert result.n_direct == 0


@pytest.mark.parametrize("dim", [2, 3, 4])
def test_layouts_weights_values_and_replicas(isa, dtype, dim):
    x, p, beta = cases.tokens(300, dim, dtype, n_replicas=3), cases.weights(300), 3.0
    value = cases.form("general", dim, 1.0)
    attention = SoftmaxAttention(beta=beta, value=value, method="fourier" if dim == 2 else "harmonic")
    want, log_partition = twins.attention(unit(x.astype(float)), beta, weights=p, value=value)
    for layout in cases.layouts(x).values():
        result = attention.evaluate(layout, p)
        twins.assert_close(result.value, want, atol=2e-14 if dtype == np.float64 else 3e-7, dtype=dtype)
        twins.assert_close(result.log_partition, log_partition, atol=2e-14 if dtype == np.float64 else 1e-7)
    minus = SoftmaxAttention(beta=beta, value_scale=-0.5, method=attention.method)(x, p)
    plain, _ = twins.attention(unit(x.astype(float)), beta, weights=p)
    twins.assert_close(minus, -0.5 * plain, atol=2e-14 if dtype == np.float64 else 3e-7, dtype=dtype)


def test_tokens_are_projected():
    x = cases.tokens(500, 3)[0]
    off = x * (1 + 5e-10 * np.sin(np.arange(500)))[:, None]
    attention = SoftmaxAttention(beta=5.0, method="harmonic")
    twins.assert_close(attention(off), attention(x), atol=1e-14)


@pytest.mark.parametrize("dim", [2, 3])
def test_isolated_tokens_are_summed_directly(dim):
    """At β = 30 a token opposite to all others has Z̃ = 1/N: an expansion knows that to ten digits only."""
    n, beta = 5000, 30.0
    rng = np.random.default_rng(0)
    x = unit(np.eye(dim)[0] + 0.1 * rng.standard_normal((n, dim)))
    x[[7, 4000]] = -np.eye(dim)[0]
    p = np.full(n, 1 / n)
    p[7] = 0
    attention = SoftmaxAttention(beta=beta, method="fourier" if dim == 2 else "harmonic")
    for weights in (None, p / p.sum()):
        result = attention.evaluate(x, weights)
        assert result.n_direct == 2
        exact = SoftmaxAttention(beta=beta, method="direct").evaluate(x, weights)
        assert exact.n_direct == n
        twins.assert_close(result.value, exact.value, atol=1e-13)
        twins.assert_close(result.log_partition, exact.log_partition, atol=1e-13)
        assert np.isclose(result.energy, exact.energy, rtol=1e-12)
    # With a wide tolerance nobody needs it, and nobody is off by more.
    loose = SoftmaxAttention(beta=beta, method=attention.method, rtol=1e-6).evaluate(x)
    assert loose.n_direct == 0
    assert np.abs(loose.value - attention(x)).max() <= 1e-6


@pytest.mark.parametrize("dim", [2, 3])
def test_all_tokens_isolated_means_all_direct(dim):
    n, beta = 40, 1e4 if dim == 2 else 400.0
    angles = 2 * np.pi * np.arange(n) / n
    x = np.zeros((n, dim))
    x[:, 0], x[:, 1] = np.cos(angles), np.sin(angles)
    attention = SoftmaxAttention(beta=beta, method="fourier" if dim == 2 else "harmonic", rtol=1e-13)
    result = attention.evaluate(np.stack([x, x[::-1]]))
    assert result.n_direct.tolist() == [n, n]
    assert np.array_equal(result.value, SoftmaxAttention(beta=beta, method="direct")(np.stack([x, x[::-1]])))


points = st.integers(2, 3).flatmap(
    lambda dim: hnp.arrays(
        np.float64, st.tuples(st.integers(1, 40), st.just(dim)), elements=st.floats(-1, 1, allow_subnormal=False)
    ).filter(lambda a: (np.abs(a).max(axis=1) > 1e-3).all())
)


@settings(max_examples=150, deadline=None)
@given(points=points, log_beta=st.floats(-4, 2.3), weighted=st.booleans())
def test_any_points(points, log_beta, weighted):
    """Expansion and direct sum agree to rtol whatever the tokens."""
    x, beta = unit(points), 10**log_beta
    p = cases.weights(len(x)) if weighted else None
    method = "fourier" if x.shape[1] == 2 else "harmonic"
    got = SoftmaxAttention(beta=beta, method=method).evaluate(x, p)
    want = SoftmaxAttention(beta=beta, method="direct").evaluate(x, p)
    rtol = 1e-12 * (1 + beta / 8)
    atol = rtol + twins.attention_tolerance(beta, x.shape[1], np.float64)
    twins.assert_close(got.value, want.value, atol=atol)
    twins.assert_close(got.log_partition, want.log_partition, atol=atol)


@st.composite
def groups(draw):
    """Tokens (n, d) in groups around few centres, and weights, some of them zero or next to it."""
    dim, rng = draw(st.integers(2, 4)), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    centres = [np.eye(dim)[-1], np.eye(dim)[0], unit(rng.standard_normal(dim))]
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        n, centre = draw(st.integers(1, 25)), draw(st.sampled_from([s * c for c in centres for s in (1, -1)]))
        spread = rng.standard_normal((n, dim))
        kind = draw(st.sampled_from(["one place", "cluster", "ring", "sphere"]))
        if kind == "one place":
            parts.append(np.repeat(centre[None], n, axis=0))
        elif kind == "cluster":
            parts.append(unit(centre + 10.0 ** draw(st.floats(-12, -0.5)) * spread))
        elif kind == "ring":
            parts.append(unit(spread - (spread @ centre)[:, None] * centre))
        else:
            parts.append(unit(spread))
    x = np.concatenate(parts)
    if draw(st.booleans()):
        return x, np.full(len(x), 1 / len(x))
    p = 10.0 ** rng.uniform(draw(st.sampled_from([-300.0, -20.0, -2.0])), 0, len(x))
    p[rng.random(len(x)) < 0.3] = 0
    p[rng.integers(len(x))] = 1
    return x, p / p.sum()


@settings(max_examples=300, deadline=None)
@given(tokens=groups(), log_beta=st.floats(-6, 2.302), rtol=st.sampled_from([None, 1e-13, 1e-10, 1e-6, 1e-2]))
def test_any_groups_keep_the_tolerance(tokens, log_beta, rtol):
    """Antipodal and isolated tokens, rings, duplicates, weights down to 1e-300 and 0, β <= 200, in long double."""
    (x, p), beta = tokens, 10**log_beta
    dim = x.shape[1]
    chosen = SoftmaxAttention(beta=beta, rtol=rtol, method="fourier" if dim == 2 else "harmonic")
    try:
        rtol = chosen.resolve(len(x), dim).rtol
    except ValueError:
        assert dim == 4  # too many harmonics
        assert beta > 10
        return
    result = chosen.evaluate(x, p)
    z, total = scaled_sums(x, x, p, beta)
    rounding = twins.attention_tolerance(beta, dim, np.float64)
    error = np.sqrt(((result.value - total / z[:, None]) ** 2).sum(axis=1))
    assert error.max() <= rtol + rounding
    assert np.abs(result.log_partition - beta - np.log(z)).max() <= rtol / 2 + rounding


@pytest.mark.parametrize("beta", [0.0, 1e-8, 0.3, 4.0, 64.0, 1e4])
@pytest.mark.parametrize("dim", [2, 3, 5])
def test_multipliers_are_bessel_functions(beta, dim):
    """e^{−β} λ_l = Γ(d/2) (2/β)^ν I_{l+ν}(β) e^{−β}: SciPy's scaled functions, where they do not underflow."""
    values = expansions.multipliers(beta, dim)
    counts = multiplicities(len(values) - 1, dim)
    assert abs((values * counts).sum() - 1) < 4 * EPS
    nu = dim / 2 - 1
    ratio = special.ive(np.arange(20) + nu, beta) / special.ive(nu, beta) if beta > 1e-6 else np.eye(20)[0]
    np.testing.assert_allclose(values[:20] / values[0], ratio, rtol=1e-12, atol=1e-8 if beta == 1e-8 else 0)


def test_tails_are_what_is_left_out():
    tails = expansions.tails(7.0, 3)
    values = expansions.multipliers(7.0, 3)
    shares = values * (2 * np.arange(len(values)) + 1)
    assert tails[0] == pytest.approx(1 - shares[0], rel=1e-14)
    assert tails[12] == pytest.approx(shares[13:].sum(), rel=1e-12)
    assert (np.diff(tails) <= 0).all()


@pytest.mark.parametrize("n_max", [0, 1, 3, 4, 10, 11, 60])
def test_moments_on_the_circle(n_max):
    x = cases.tokens(1000, 2, n_replicas=2)
    z = x[:, :, 0] + 1j * x[:, :, 1]
    want = np.stack([(z**k).mean(axis=1) for k in range(n_max + 1)], axis=1)
    np.testing.assert_allclose(
        expansions.circle_moments(x, None, n_max=n_max, n_threads=1), want, rtol=0, atol=2e-15 * (n_max + 1)
    )


def fourier(dtype, n_threads):
    x = cases.tokens(20_000, 2, dtype, n_replicas=2)
    return kernel.fourier_moments(x, None, 4, n_threads), *series.Series(beta=8.0, n_max=20, value=np.eye(2))(
        x, None, n_threads=n_threads
    )


def harmonic(dtype, n_threads):
    x = cases.tokens(10_000, 3, dtype)
    return series.Series(beta=2.0, n_max=17, value=np.eye(3))(x, cases.weights(10_000), n_threads=n_threads)


def harmonic_beyond(dtype, n_threads):
    return series.Series(beta=1.0, n_max=6, value=np.eye(5))(cases.tokens(3000, 5, dtype), None, n_threads=n_threads)


RUNS = pytest.mark.parametrize("run", [fourier, harmonic, harmonic_beyond], ids=lambda run: run.__name__)


@RUNS
def test_the_number_of_threads_does_not_change_a_bit(isa, dtype, run):
    want = run(dtype, 1)
    for n_threads in (2, 3, 5, 8):
        for got, one in zip(run(dtype, n_threads), want, strict=True):
            assert np.array_equal(got, one), f"{n_threads} threads"


@RUNS
def test_instruction_sets_agree_to_rounding(isa, dtype, run):
    got = run(dtype, 2)
    abi.use_isa("baseline")  # the fixture restores
    for one, other in zip(got, run(dtype, 2), strict=True):
        eps = np.finfo(one.dtype).eps
        np.testing.assert_allclose(one, other, rtol=0, atol=100 * eps * max(1.0, np.abs(other).max()))


def test_auto_depends_on_sizes_alone():
    attention = SoftmaxAttention(beta=4.0)
    chosen = {(n, d): attention.resolve(n, d).method for n in (64, 10**6) for d in (2, 3, 4, 5, 8)}
    assert {chosen[64, d] for d in (2, 3, 4, 5, 8)} == {"direct"}
    assert chosen[10**6, 2] == "fourier"
    assert [chosen[10**6, d] for d in (3, 4, 5, 8)] == ["harmonic", "harmonic", "harmonic", "direct"]
    assert SoftmaxAttention(beta=5e3).resolve(10**6, 3).method == "direct"
    assert SoftmaxAttention(beta=5e4).resolve(10**6, 2).method == "direct"
    x = cases.tokens(3000, 2)[0]
    by_hand = SoftmaxAttention(beta=4.0, method="fourier")
    assert np.array_equal(attention(x), by_hand(x))


def test_a_matrix_that_is_a_multiple_of_the_identity_reduces():
    turn = cases.rotation(3)
    attention = SoftmaxAttention(query=2 * turn, key=2 * turn)
    assert attention.resolve(10**5, 3).method == "harmonic"
    x = cases.tokens(400, 3)[0]
    fast = SoftmaxAttention(query=2 * turn, key=2 * turn, method="harmonic")(x)
    twins.assert_close(fast, SoftmaxAttention(beta=4.0, method="direct")(x), atol=1e-13)
    skew = cases.form("psd", 3)
    assert SoftmaxAttention(query=skew, key=np.eye(3)).resolve(10**6, 3).method == "direct"
    with pytest.raises(ValueError, match=r"method='harmonic' needs QᵀK = βI"):
        SoftmaxAttention(query=skew, key=np.eye(3), method="harmonic")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "fourrier"}, "did you mean 'fourier'"),
        ({"method": "direct", "rtol": 1e-6}, "rtol must be None with method='direct'"),
        ({"rtol": 1e-15}, "rtol must be a finite number >= 1e-13"),
        ({"rtol": 0.5}, "rtol must be a finite number"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        SoftmaxAttention(beta=1.0, **arguments)


@pytest.mark.parametrize(
    ("method", "dim", "beta", "message"),
    [
        ("fourier", 3, 1.0, "serves dim 2, got 3"),
        ("harmonic", 2, 1.0, "serves dim >= 3, got 2"),
        ("harmonic", 3, 5000.0, "does not serve β = 5000 in dim 3"),
        ("harmonic", 30, 1.0, "does not serve β = 1 in dim 30"),
        ("fourier", 2, 2e4, "does not serve β = 20000 in dim 2"),
    ],
)
def test_what_is_not_served_is_refused(method, dim, beta, message):
    with pytest.raises(ValueError, match=message):
        SoftmaxAttention(beta=beta, method=method)(cases.tokens(10, dim)[0])


@pytest.mark.parametrize("n", [100_000, 1_000_000])
@pytest.mark.parametrize(("dim", "beta"), [(2, 1.0), (2, 200.0), (3, 4.0)])
def test_a_million_tokens_on_random_rows(n, dim, beta):
    """Clusters over a uniform background, antipodal clusters among them; 100 random rows against the direct kernel."""
    rng = np.random.default_rng(n)
    centres = unit(rng.standard_normal((3, dim)))
    centres = np.concatenate([centres, -centres])
    x = np.where(
        rng.random((n, 1)) < 0.5,
        unit(rng.standard_normal((n, dim))),
        unit(centres[rng.integers(0, 6, n)] + 0.05 * rng.standard_normal((n, dim))),
    )
    method = "fourier" if dim == 2 else "harmonic"
    result = SoftmaxAttention(beta=beta, method=method).evaluate(x)
    assert result.n_direct == 0
    rows = rng.integers(0, n, 100)
    direct = SoftmaxAttention(beta=beta, method="direct").plan(Shape.of(x[None]))
    value, sums, log_scale = direct.attend_rows(x[None, rows], x[None], n_threads=2)
    log_z = np.log(sums) + log_scale
    tolerance = 1e-12 * (1 + beta / 8)
    twins.assert_close(result.value[rows], value[0], atol=tolerance)
    twins.assert_close(result.log_partition[rows], log_z[0], atol=tolerance)
