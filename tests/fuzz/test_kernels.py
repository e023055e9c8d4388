"""Kernels on every instruction set against long double, to the bounds of docstrings and docs/developers/kernels.md."""

import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import mpmath as mp
import numpy as np
from clouds import DTYPES, ISAS, forms, tokens, weighted
from hypothesis import strategies as st
from kernels.test_activations import BOUND, EXACT, SINE_RANGE
from kernels.test_layer import CLAIM, PHI
from long_double import LONG, NEEDS_LONG_DOUBLE, instruction_set, on_the_sphere
from support import twins

import chaosphere as cs
from chaosphere import measures
from chaosphere.interactions import nufft
from chaosphere.interactions.polynomials import KernelPolynomial
from chaosphere.kernels import layer, pairs, sphere
from chaosphere.noise.activations import ACTIVATIONS

pytestmark = NEEDS_LONG_DOUBLE
EPS = 2.3e-16


def spread(x, mean, form, p):
    """Σ_j w_ij |x_j − m_i| / Σ_j w_ij for tokens (N, d): how far weights that are off move their mean."""
    n = len(x)
    x = x.astype(LONG)
    with np.errstate(divide="ignore"):
        log_p = np.log(np.full(n, 1 / LONG(n)) if p is None else p.astype(LONG))
    scores = (x @ form.astype(LONG) if form.ndim else LONG(form) * x) @ x.T + log_p
    w = np.exp(scores - scores.max(axis=1, keepdims=True))
    w /= w.sum(axis=1, keepdims=True)
    distance = np.sqrt(np.maximum((x**2).sum(axis=1) + (mean**2).sum(axis=1)[:, None] - 2 * mean @ x.T, 0))
    return (w * distance).sum(axis=1).astype(float)


def check_direct(case, attention, form, norm, value):
    """Direct sums: a weight is off by η = 2 ε (dim + 4) |QᵀK|, its mean by η times the spread of what it averages.

    To that come the roundings of sums, 64 ε (`twins.attention_tolerance` derives both), and those of V.
    """
    x, p, dim = case.x, case.p, case.x.shape[2]
    with instruction_set(case.isa):
        result = attention.evaluate(x, p, n_threads=case.n_threads)
    # In single precision, weights down to 1e-323 enter as logarithms of size 745.
    size = norm + (745 if p is not None and x.dtype == np.float32 else 0)
    factor = 1.0 if value is None else float(np.linalg.norm(np.atleast_2d(value), 2))
    for r in range(len(x)):
        mean, log_z = twins.attention(x[r], form, weights=p, dtype=LONG)
        mapped = mean if value is None else (mean @ np.asarray(value, LONG).T if np.ndim(value) else value * mean)
        base = twins.attention_tolerance(size, dim, x.dtype)
        off = base - 128 * case.eps
        if off > 0.25:  # the weights are not known to a quarter: nothing is claimed but a mean of tokens
            assert np.isfinite(result.value).all()
            continue
        reach = spread(x[r], mean, np.asarray(form), p)[:, None]
        atol = factor * (2 * off * reach + (128 + 4 * dim) * case.eps)
        twins.assert_close(result.value[r], mapped, atol=atol, dtype=x.dtype)
        twins.assert_close(result.log_partition[r], log_z, atol=base + 1e-15, rtol=1e-15)


def check_energy_of_the_pass(case, attention, beta):
    """The bound that AttentionResult states, for tokens as they are."""
    with instruction_set(case.isa):
        got = attention.evaluate(case.x, case.p, n_threads=case.n_threads).energy
    if beta > 700:
        assert got is None
        return
    _, n, dim = case.x.shape
    rtol = attention.resolve(n, dim, case.x.dtype).rtol or 0.0
    p = np.full(n, 1 / LONG(n)) if case.p is None else case.p.astype(LONG)
    for x, energy in zip(case.x.astype(LONG), got, strict=True):
        want = LONG(0.5) * (p @ -np.expm1(beta * (x @ x.T - 1)) @ p)
        off = np.abs(np.sqrt((x**2).sum(axis=1)) - 1).max()
        bound = (4 + (2 + math.sqrt(dim) / 4) * beta) * case.eps + rtol / 4 + beta * off + abs(p.sum() - 1) / 2
        error = abs(energy * np.exp(-LONG(beta)) - want)
        assert error <= bound, f"the energy is off by {float(error):.3g} e^beta, allowed {float(bound):.3g}"


@st.composite
def scalar_attention(draw):
    case = draw(weighted())
    limit = math.log10(0.0099 / case.eps)
    beta = draw(st.just(0.0) | st.floats(-6, limit).map(lambda e: 10.0**e) | st.floats(0, 800))
    return case, beta, draw(st.sampled_from([1.0, -1.0, 0.0, 3e5, 1e-12]))


def check_scalar(value):
    case, beta, scale = value
    beta = min(beta, 0.0099 / case.eps)
    attention = cs.SoftmaxAttention(beta=beta, value_scale=scale, method="direct")
    check_direct(case, attention, beta, beta, scale)
    check_energy_of_the_pass(case, attention, beta)


def test_attention_of_a_multiple_of_the_identity(effort):
    effort.explore(check_scalar, scalar_attention(), n_fixed=60)


@st.composite
def potentials(draw):
    """Chebyshev series of any degree and decay, of powers of ten in size."""
    case, degree = draw(weighted()), draw(st.integers(0, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    decay, size = draw(st.floats(0, 3)), 10.0 ** draw(st.integers(-12, 12))
    return case, size * rng.standard_normal(degree + 1) * np.exp(-decay * np.arange(degree + 1))


def check_potential(value):
    """A cosine, of rounding (dim + 4) ε, moves W′ by at most its slope; sums of up to 192 terms add 64 ε."""
    case, series = value
    slope = np.polynomial.Chebyshev(series)
    interaction = cs.PotentialInteraction(slope.integ(), slope, method="direct")
    with instruction_set(case.isa):
        drift = interaction(case.x, case.p, n_threads=case.n_threads)
    dim, sizes, k = case.x.shape[2], np.abs(series), np.arange(len(series))
    kernel = KernelPolynomial.of(series, dtype=case.x.dtype)
    unfused = 2 if case.isa == "baseline" else 1
    # Tokens off the sphere by rounding leave [−1, 1], where T_k grows like its slope.
    off = (dim + 4) * (k**2 * sizes).sum() + (64 + dim) * sizes.sum()
    for x, got in zip(case.x, drift, strict=True):
        want, _ = twins.potential(x, np.polynomial.Chebyshev(series.astype(LONG)), weights=case.p, dtype=LONG)
        atol = unfused * kernel.error + 2 * case.eps * off
        twins.assert_close(got, want, atol=1.01 * atol, dtype=case.x.dtype)
    energy = np.atleast_1d(interaction.energy(case.x, case.p))
    p = np.full(case.x.shape[1], 1 / LONG(case.x.shape[1])) if case.p is None else case.p.astype(LONG)
    for x, got in zip(case.x.astype(LONG), energy, strict=True):
        want = -LONG(0.5) * p @ np.polynomial.chebyshev.chebval(x @ x.T, interaction.potential.coef.astype(LONG)) @ p
        assert abs(got - want) <= EPS * (64 + dim) * (8 + k.max() ** 2) * (1 + k.max()) * sizes.sum()


def test_the_drift_along_a_potential(effort):
    effort.explore(check_potential, potentials(), n_fixed=30)


@st.composite
def matrix_attention(draw):
    case = draw(weighted())
    return case, *draw(forms(case.x.shape[2]))


def check_matrix(value):
    case, query, key, v = value
    form = (key.T @ query).T  # the twin's rows: ⟨x_i, A y_j⟩ with ⟨Qx, Ky⟩ = x Qᵀ K y
    norm = float(np.linalg.norm(form, 2))
    attention = cs.SoftmaxAttention(query=query, key=key, value=v, method="direct")
    check_direct(case, attention, form, norm, v)


def test_attention_of_any_form(effort):
    effort.explore(check_matrix, matrix_attention(), n_fixed=60)


@st.composite
def fast_attention(draw):
    methods = ["fourier", "harmonic"] + ["nufft"] * nufft.is_installed()
    method = draw(st.sampled_from(methods))
    dims = {"fourier": st.just(2), "harmonic": st.integers(3, 6), "nufft": st.sampled_from([2, 3])}[method]
    case = draw(weighted(dims=dims))
    top = {"fourier": 4.0, "harmonic": [2.0, 1.0, 0.6, 0.3][min(case.x.shape[2], 6) - 3], "nufft": 2.0}[method]
    beta = 10.0 ** draw(st.floats(-1 if method == "nufft" else -4, top))
    rtol = draw(st.none() | st.floats(-13, -1).map(lambda e: 10.0**e))
    if method == "nufft":  # at its loose tolerances; finufft has no more than 14 digits
        rtol = 10.0 ** draw(st.floats(-6, -1))
    return case, method, beta, rtol, draw(st.sampled_from([1.0, -2.5]))


def check_fast(value):
    case, method, beta, rtol, scale = value
    attention = cs.SoftmaxAttention(beta=beta, value_scale=scale, method=method, rtol=rtol)
    with instruction_set(case.isa):
        result = attention.evaluate(case.x, case.p, n_threads=case.n_threads)
    rtol = attention.resolve(case.x.shape[1], case.x.shape[2], case.x.dtype).rtol
    size = beta + (745 if case.p is not None and case.x.dtype == np.float32 else 0)
    for r in range(len(case.x)):
        x = on_the_sphere(case.x[r])
        mean, log_z = twins.attention(x, beta, weights=case.p, dtype=LONG)
        # Tokens that are summed directly have that sum's error, and are not projected: 2βη of their weights.
        direct = 0.0
        if result.n_direct[r]:
            off = float(np.abs(np.sqrt((case.x[r].astype(LONG) ** 2).sum(axis=1)) - 1).max())
            direct = twins.attention_tolerance(size, x.shape[1], case.x.dtype) + 4 * beta * off
        atol = abs(scale) * (rtol + direct + 2 * case.eps)
        twins.assert_close(result.value[r], scale * mean, atol=atol, dtype=case.x.dtype)
        # log(1 ± rtol/2), and the rounding of log Z̃ + β, both of which may be of size β
        atol = -math.log1p(-rtol / 2) + direct + 4 * EPS * (1 + beta)
        twins.assert_close(result.log_partition[r], log_z, atol=atol, rtol=EPS)
    check_energy_of_the_pass(case, attention, beta)


def test_fast_sums(effort):
    effort.explore(check_fast, fast_attention(), n_fixed=80)


def check_energy(value):
    case, log_beta = value
    beta = min(10.0**log_beta, 700.0)
    with instruction_set(case.isa):
        got = measures.energy(case.x, beta, weights=case.p, n_threads=case.n_threads)
    half = LONG(0.5) * np.exp(LONG(beta))
    want = np.array([twins.pair_energy(x, beta, case.p) * half for x in case.x])
    assert (want < np.finfo(float).max).all()
    # 1e-12 down to consensus; pairs of weights whose product is no normal number are lost.
    twins.assert_close(np.asarray(got), want, rtol=1e-12, atol=float(half) * case.x.shape[1] ** 2 * 1e-307)


def test_energy(effort):
    effort.explore(check_energy, st.tuples(weighted(), st.floats(-8, math.log10(700))), n_fixed=80)


def check_histogram(value):
    case, n_bins = value
    x, n = case.x.astype(np.float64), case.x.shape[1]
    with instruction_set(case.isa):
        _, histogram = pairs.pair_statistics(x, case.p, 1.0, n_bins, case.n_threads)
    p = np.full(n, 1 / n) if case.p is None else case.p
    mass = np.outer(p, p)[~np.eye(n, dtype=bool)]
    for r in range(len(x)):
        cosine = (x[r].astype(LONG) @ x[r].astype(LONG).T)[~np.eye(n, dtype=bool)]
        # A cosine comes from |x − y|² / 2: tokens off the sphere by ε move it by 2 ε. It may fall on either side of an
        # edge that is so close.
        edges, room = np.linspace(-1, 1, n_bins + 1)[1:-1], 4 * case.eps + 1e-14 * x.shape[2]
        below = np.cumsum(histogram[r])[:-1]
        slack = n**2 * 1.2e-16 * mass.sum() + 1e-300
        for edge, got in zip(edges, below, strict=True):
            assert mass[cosine < edge - room].sum() - slack <= got <= mass[cosine < edge + room].sum() + slack
        twins.assert_close(histogram[r].sum(), mass.sum(), rtol=n**2 * 1.2e-16, atol=1e-300)


def test_histogram_of_cosines(effort):
    effort.explore(check_histogram, st.tuples(weighted(), st.integers(1, 60)), n_fixed=80)


@st.composite
def layers(draw):
    x = draw(tokens())
    width, scale = draw(st.integers(1, 200)), 10.0 ** draw(st.floats(-3, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_layers, dim = draw(st.sampled_from([1, len(x)])), x.shape[2]
    u, w = rng.standard_normal((n_layers, width, dim)), rng.standard_normal((n_layers, dim, width))
    b, c = rng.standard_normal((n_layers, width)) * scale, rng.standard_normal((n_layers, dim))
    numbers = [a.astype(x.dtype) for a in (u, b, w, c)]
    for at in (1, 3):
        if draw(st.booleans()):
            numbers[at] = None
    isa, threads = draw(st.sampled_from(ISAS)), draw(st.integers(1, 3))
    return x, draw(st.sampled_from(sorted(PHI))), numbers, scale, isa, threads


def check_layer(value):
    x, activation, (u, b, w, c), scale, isa, n_threads = value
    phi, output_scale = ACTIVATIONS[activation], u.shape[1] ** -0.5
    with instruction_set(isa):
        got = layer.layer(x, u, b, w, c, phi.kernel_id, scale, output_scale, n_threads)
    for r in range(len(x)):
        k = r % len(u)
        want, magnitude = twins.layer(
            x[r],
            u[k],
            w[k],
            PHI[activation],
            b=None if b is None else b[k],
            c=None if c is None else c[k],
            weight_std=scale,
            output_scale=output_scale,
            lipschitz=phi.lipschitz,
            dtype=LONG,
        )
        atol = CLAIM[x.dtype.type] * magnitude.astype(float) + float(np.finfo(x.dtype).smallest_subnormal)
        twins.assert_close(got[r], want, atol=atol, dtype=x.dtype)


def test_layers(effort):
    effort.explore(check_layer, layers(), n_fixed=100)


@st.composite
def arguments(draw):
    name, dtype = draw(st.sampled_from(sorted(ACTIVATIONS))), draw(st.sampled_from(DTYPES))
    top = math.log10(SINE_RANGE[dtype]) if name in ("sin", "cos") else 6
    low = -300 if dtype == np.float64 else -36
    sizes = draw(st.lists(st.floats(low, top) | st.floats(-3, 2), min_size=1, max_size=40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return name, (10.0 ** np.array(sizes) * rng.choice([-1, 1], len(sizes))).astype(dtype), draw(st.sampled_from(ISAS))


def check_activation(value):
    name, x, isa = value
    with instruction_set(isa):
        got = layer.activate(x, ACTIVATIONS[name].kernel_id)
    finfo = np.finfo(x.dtype)
    with mp.workdps(60):
        for argument, number in zip(x, got, strict=True):
            want = EXACT[name](mp.mpf(float(argument)))
            size = max(abs(want), min(abs(float(argument)), 1))
            allowed = BOUND[name] * (float(finfo.eps) * size + float(finfo.smallest_subnormal))
            assert abs(mp.mpf(float(number)) - want) <= allowed, f"{name}({argument!r}) = {number!r}, {isa}"


def test_activations(effort):
    effort.explore(check_activation, arguments(), n_fixed=60)


@st.composite
def steps(draw):
    x = draw(tokens())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    v = rng.standard_normal(x.shape) * 10.0 ** draw(st.integers(-30, 30))
    return x, v.astype(x.dtype), 10.0 ** draw(st.floats(-3, 3)), draw(st.sampled_from(ISAS)), draw(st.integers(1, 3))


def check_step(value):
    x, v, alpha, isa, n_threads = value
    with instruction_set(isa):
        out, bad = sphere.step(x, v, alpha, n_threads)
    assert bad == -1
    # As in tests/kernels/test_sphere.py: x + αv is rounded once, so is the quotient; α is rounded to the dtype.
    eps, dim = float(np.finfo(x.dtype).eps), x.shape[2]
    push = LONG(alpha) * v.astype(LONG)
    norm = np.sqrt(((x + push) ** 2).sum(axis=-1, keepdims=True))
    largest = (np.abs(x) + 2 * np.abs(push)).max(axis=-1, keepdims=True)
    atol = (2 * eps * (1 + largest * np.sqrt(dim) / norm) + dim * EPS).astype(float)
    twins.assert_close(out, twins.step(x, v, alpha).astype(float), atol=atol, dtype=x.dtype)


def test_steps(effort):
    effort.explore(check_step, steps(), n_fixed=100)


@st.composite
def runs(draw):
    dim, n = draw(st.integers(2, 6)), draw(st.sampled_from([1, 5, 40, 200, 700]))
    attention = cs.SoftmaxAttention(
        beta=draw(st.floats(0, 30)),
        value_scale=draw(st.sampled_from([1.0, -1.0])),
        method=draw(st.sampled_from(["auto", "direct"])),
    )
    mlp = cs.MLP(width=draw(st.integers(1, 40)), activation=draw(st.sampled_from(sorted(PHI))), bias_std=0.3)
    if draw(st.booleans()):
        model = cs.Transformer(attention=attention, mlp=mlp, depth=draw(st.integers(1, 4)), horizon=0.5)
    else:
        field = cs.GaussianField(kernel=mlp.kernel(dim), method="features", width=16)
        scheme = draw(st.sampled_from(["projected-euler", "geodesic-euler", "heun", "split"]))
        model = cs.LimitSDE(
            attention=attention, field=field, horizon=0.5, n_steps=draw(st.integers(1, 4)), scheme=scheme
        )
    dtype = draw(st.sampled_from(DTYPES))
    x = cs.sample_uniform(n, dim, rng=draw(st.integers(0, 2**32)), n_replicas=4).astype(dtype)
    return model, cs.normalize(x), draw(st.sampled_from(ISAS))


def check_determinism(value):
    model, x, isa = value
    seeds = list(range(len(x)))
    with instruction_set(isa):
        results = [cs.simulate(model, x, rng=seeds, n_threads=n).final for n in (1, 2, 3)]
        cut = [cs.simulate(model, x[part], rng=seeds[part], n_threads=2).final for part in (slice(0, 1), slice(1, 4))]
        alone = cs.simulate(model, x[2], rng=2, n_threads=3).final
        with ThreadPoolExecutor(3) as pool:
            results += pool.map(lambda n: cs.simulate(model, x, rng=seeds, n_threads=n).final, (1, 2, 3))
        values = [measures.energy(x, 2.0, n_threads=n) for n in (1, 2, 3)]
        counts = [measures.cosine_histogram(x, 9, n_threads=n)[0] for n in (1, 2, 3)] if x.shape[1] > 1 else []
    results += [np.concatenate(cut)]
    for same in (results, values, counts):
        for one, other in itertools.pairwise(same):
            assert np.array_equal(one, other)
    assert np.array_equal(alone, results[0][2])


def test_threads_callers_and_chunks_of_replicas_change_nothing(effort):
    effort.explore(check_determinism, runs(), n_fixed=25)
