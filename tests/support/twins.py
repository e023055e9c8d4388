"""Plain NumPy twins of the compiled kernels: dense, slow, readable, in any floating type.

Long double (np.longdouble) makes a twin a reference for the rounding errors of the kernels.
"""

import numpy as np


def assert_close(actual, expected, *, atol=0.0, rtol=0.0, dtype=np.float64):
    """Fail unless actual has this dtype and the shape of expected and |actual - expected| <= atol + rtol |expected|.

    All values must be finite. Tolerances may be arrays. Unlike numpy's helper it lets no NaN match a NaN.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == dtype, f"dtype is {actual.dtype}, expected {np.dtype(dtype)}"
    assert actual.shape == expected.shape, f"shape is {actual.shape}, expected {expected.shape}"
    assert np.isfinite(expected).all(), "the expected values are not finite"
    assert np.isfinite(actual).all(), f"{(~np.isfinite(actual)).sum()} of {actual.size} values are not finite"
    error = np.abs(actual.astype(np.longdouble) - expected)
    excess = error - (atol + rtol * np.abs(expected))
    if (excess > 0).any():
        at = np.unravel_index(np.argmax(excess), excess.shape)
        where = tuple(int(i) for i in at)
        raise AssertionError(
            f"{int((excess > 0).sum())} of {actual.size} values are off; the worst, at {where}: got {actual[at]!r}, "
            f"expected {expected[at]!r}, error {float(error[at]):.3g}, allowed {float(error[at] - excess[at]):.3g}"
        )


def attention(x, form, *, keys=None, values=None, weights=None, bias=0.0, value=None, dtype=np.float64):
    """Σ_j p_j e^{⟨x_i, A y_j⟩ + c_j} V z_j / Σ_j p_j e^{⟨x_i, A y_j⟩ + c_j} and the log of the denominator.

    x (..., M, d), keys y (..., N, d), x by default, and values z (..., N, v), the keys by default; form A and value V
    are matrices or numbers; bias c (..., N).
    """
    x = np.asarray(x, dtype)
    y = x if keys is None else np.asarray(keys, dtype)
    z = y if values is None else np.asarray(values, dtype)
    form, value = np.asarray(form, dtype), np.asarray(1.0 if value is None else value, dtype)
    n = y.shape[-2]
    p = np.full(n, 1 / dtype(n)) if weights is None else np.asarray(weights, dtype)
    kept = p > 0  # log 0 would be −inf, and −inf − (−inf) not a number
    bias = np.broadcast_to(np.asarray(bias, dtype), y.shape[:-1])[..., None, kept]
    y, z, p = y[..., kept, :], z[..., kept, :], p[kept]
    scores = (x @ form if form.ndim else form * x) @ np.swapaxes(y, -1, -2) + (np.log(p) + bias)
    top = scores.max(axis=-1, keepdims=True)
    w = np.exp(scores - top)
    total = w.sum(axis=-1, keepdims=True)
    mean = (w @ z) / total
    return (mean @ value.T if value.ndim else value * mean), (top + np.log(total))[..., 0]


def hardmax(x, keys, *, query=None, key=None, weights=None, value=None, is_causal=False, decay=0.0, dtype=np.float64):
    """V times the mean of the keys y_j with the largest ⟨Qx, Ky_j⟩ or, without Q and K, the least |x − y_j|.

    With is_causal those of j <= i, weighted by e^{−λ(i−j)/N}.

    x (..., M, d), keys (..., N, d). All products and sums but those of the mean are rounded to the dtype one by one, in
    the order of the coordinates.
    """

    def product(matrix, vectors):
        total = np.zeros((*vectors.shape[:-1], len(matrix)), dtype)
        for k in range(vectors.shape[-1]):
            total = total + vectors[..., k, None] * np.asarray(matrix, dtype)[:, k]
        return total

    x, y = np.asarray(x, dtype), np.asarray(keys, dtype)
    q, k = (x, y) if query is None else (product(query, x), product(key, y))
    scores = np.zeros((*x.shape[:-1], y.shape[-2]), dtype)
    for a in range(q.shape[-1]):
        left, right = q[..., :, None, a], k[..., None, :, a]
        scores = scores + left * right if query is not None else scores - (left - right) ** 2
    p = np.ones(y.shape[-2]) if weights is None else np.asarray(weights, np.float64)
    scores = np.where(p > 0, scores, -np.inf)
    if is_causal:
        n = scores.shape[-1]
        scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)
        p = p * np.exp(-decay / n * np.maximum(np.arange(n)[:, None] - np.arange(n), 0))
    w = np.where(scores == scores.max(axis=-1, keepdims=True), p, 0.0)
    mean = ((w @ y.astype(np.float64)) / w.sum(axis=-1, keepdims=True)).astype(dtype)
    return mean if value is None else product(value, mean)


def causal_attention(x, form, *, weights=None, decay=0.0, value=None, dtype=np.float64):
    """Of each token i, `attention` to the tokens j <= i with weights p_j e^{−λ(i−j)/N}; arguments as there."""
    x = np.asarray(x, dtype)
    n = x.shape[-2]
    p = np.full(n, 1 / dtype(n)) if weights is None else np.asarray(weights, dtype)
    rows = []
    for i in range(n):
        bias = -dtype(decay) / n * np.arange(i, -1, -1)
        seen = x[..., : i + 1, :]
        rows.append(
            attention(x[..., i : i + 1, :], form, keys=seen, weights=p[: i + 1], bias=bias, value=value, dtype=dtype)
        )
    return np.concatenate([mean for mean, _ in rows], axis=-2), np.concatenate([z for _, z in rows], axis=-1)


def unnormalized(x, beta, *, weights=None, value_scale=1.0, rescaled=False, dtype=np.float64):
    """δ Σ_j p_j e^{β⟨x_i, x_j⟩} x_j, or with e^{β(⟨x_i, x_j⟩ − 1)}, for tokens (..., N, d), and the sums alone."""
    x = np.asarray(x, dtype)
    n = x.shape[-2]
    p = np.full(n, 1 / dtype(n)) if weights is None else np.asarray(weights, dtype)
    w = p * np.exp(dtype(beta) * (x @ np.swapaxes(x, -1, -2)) - dtype(beta if rescaled else 0.0))
    return dtype(value_scale) * (w @ x), w.sum(axis=-1)


def potential(x, slope, *, weights=None, dtype=np.float64):
    """Σ_j p_j W′(⟨x_i, x_j⟩) x_j for tokens (..., N, d) and a function W′, and Σ_j p_j |W′|."""
    x = np.asarray(x, dtype)
    n = x.shape[-2]
    p = np.full(n, 1 / dtype(n)) if weights is None else np.asarray(weights, dtype)
    w = p * slope(x @ np.swapaxes(x, -1, -2))
    return w @ x, np.abs(w).sum(axis=-1)


def sinkhorn(x, beta, *, weights=None, value_scale=1.0, dtype=np.float64):
    """δ Σ_j p_j a_i e^{β⟨x_i, x_j⟩} a_j x_j with a_i Σ_j p_j a_j e^{β⟨x_i, x_j⟩} = 1 for tokens (N, d), and log a.

    By the iteration f <- f − r/2 of f = log a, which halves the error at least.
    """
    x = np.asarray(x, dtype)
    p = np.full(len(x), 1 / dtype(len(x))) if weights is None else np.asarray(weights, dtype)
    kernel = np.exp(dtype(beta) * (x @ x.T - 1))
    f = np.zeros(len(x), dtype)
    for _ in range(100):
        f -= np.where(p > 0, f + np.log(kernel @ (p * np.exp(f))), 0) / 2
    f = np.where(p > 0, f, -np.log(kernel @ (p * np.exp(f))))  # of passive tracers
    return dtype(value_scale) * ((np.exp(f)[:, None] * kernel * np.exp(f) * p) @ x), f - dtype(beta) / 2


def attention_tolerance(norm, dim, dtype, value_norm=1.0):
    """Bound on the error of attention of unit tokens, and of its log partition, for |QᵀK| <= norm.

    A score is a sum of dim + 1 terms, none of whose partial sums exceeds 2 norm, of factors rounded once: its error is
    at most (dim + 4) norm eps. Every weight is off by that factor, by 4 eps from the exponential, and sums of up to 192
    terms in `dim`-independent chains add at most 60 eps. Numerator and denominator both carry it.
    """
    return 2 * float(np.finfo(dtype).eps) * ((dim + 4) * norm + 64) * value_norm


def layer(x, u, w, phi, *, b=None, c=None, weight_std=1.0, output_scale=1.0, lipschitz=1.0, dtype=np.float64):
    """s W φ(σ U x + b) + c for tokens (N, d), and the sum of the magnitudes of its terms.

    A term s w_kh φ(z_h) has the magnitude s |w_kh| (|φ(z_h)| + L |z|_h), with L the Lipschitz constant of φ and |z|_h
    the sum of the magnitudes of the terms of z_h: that is how far rounding z_h can move it.
    """
    x, u, w = (np.asarray(a, dtype) for a in (x, u, w))
    sigma, s = dtype(weight_std), dtype(output_scale)
    before, size = sigma * (x @ u.T), sigma * (np.abs(x) @ np.abs(u).T)
    if b is not None:
        before, size = before + b, size + np.abs(b)
    after = phi(before)
    out, magnitude = s * (after @ w.T), s * ((np.abs(after) + lipschitz * size) @ np.abs(w).T)
    return (out, magnitude) if c is None else (out + c, magnitude + np.abs(c))


def step(x, v=None, alpha=0.0, dtype=np.longdouble):
    """(x + αv) / |x + αv|, row by row."""
    out = np.asarray(x, dtype) if v is None else np.asarray(x, dtype) + dtype(alpha) * np.asarray(v, dtype)
    out = out / np.abs(out).max(axis=-1, keepdims=True)
    return out / np.sqrt((out**2).sum(axis=-1, keepdims=True))


def spread(x, weights=None, dtype=np.longdouble):
    """½ Σ_ij p_i p_j |x_i − x_j|² for tokens (N, d), from differences."""
    x = np.asarray(x, dtype)
    p = np.full(len(x), 1 / dtype(len(x))) if weights is None else np.asarray(weights, dtype)
    return float(p @ ((x[:, None] - x[None]) ** 2).sum(axis=-1) @ p / 2)


def pair_energy(x, beta, weights=None, dtype=np.longdouble):
    """Σ_ij p_i p_j (1 − e^{−β |x_i − x_j|² / 2}) for tokens (N, d), from differences."""
    x = np.asarray(x, dtype)
    p = np.full(len(x), 1 / dtype(len(x))) if weights is None else np.asarray(weights, dtype)
    square = ((x[:, None] - x[None]) ** 2).sum(axis=-1)
    return float(p @ -np.expm1(-dtype(beta) * square / 2) @ p)


def pair_histogram(x, n_bins, weights=None):
    """Σ p_i p_j over ordered pairs i ≠ j by bins of ⟨x_i, x_j⟩, and whether some cosine lies on an inner edge."""
    x = np.asarray(x, np.float64)
    p = np.full(len(x), 1 / len(x)) if weights is None else np.asarray(weights, np.float64)
    off_diagonal = ~np.eye(len(x), dtype=bool)
    cosines = np.clip(x @ x.T, -1, 1)[off_diagonal]
    edges = np.linspace(-1, 1, n_bins + 1)
    on_edge = bool((np.abs(cosines[:, None] - edges[1:-1]) < 1e-12).any())
    # Summed bin by bin: numpy's weighted histogram takes differences of running sums and loses three digits.
    bins, mass = np.minimum(np.searchsorted(edges, cosines, side="right") - 1, n_bins - 1), np.outer(p, p)[off_diagonal]
    return np.array([mass[bins == b].sum() for b in range(n_bins)]), on_edge


def tangent_sums(vectors, *, rows, columns, scales=(1.0, 1.0), mask=0, decay=0.0, dtype=np.longdouble):
    """The sums of `kernels.tangent.tangent_sums` for vectors (a, b, u, g, c, e), and the sizes of their terms.

    rows and columns hold exponents and terms of either, (R, M) and (R, N) or None for 0. The size of a term is what it
    would be if nothing cancelled in t.
    """
    a, b, u, g, c, e = (None if v is None else np.asarray(v, dtype) for v in vectors)
    row, column = ([dtype(0) if v is None else np.asarray(v, dtype) for v in several] for several in (rows, columns))
    row, column = [np.expand_dims(v, -1) for v in row], [np.expand_dims(v, -2) if np.ndim(v) else v for v in column]
    distance = np.arange(a.shape[1])[:, None] - np.arange(b.shape[1])
    distance = -distance if mask == 2 else distance
    s = dtype(scales[0]) * (a @ np.swapaxes(b, 1, 2)) + row[0] + column[0]
    if mask:
        s = np.where(distance >= 0, s - dtype(decay) * np.abs(distance), -np.inf)
    w = np.exp2(s)
    t = dtype(scales[1]) * (u @ np.swapaxes(g, 1, 2)) + row[1] + column[1]
    size = abs(dtype(scales[1])) * (np.abs(u) @ np.abs(np.swapaxes(g, 1, 2))) + np.abs(row[1]) + np.abs(column[1])
    ones = np.ones((*c.shape[:2], 1), dtype)
    c = np.concatenate([c, ones], axis=2)
    parts = [((w * t) @ c, (w * size) @ np.abs(c))]
    if e is not None:
        parts.append((w @ e, w @ np.abs(e)))
    return tuple(np.concatenate(several, axis=2) for several in zip(*parts, strict=True))
