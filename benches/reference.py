"""Inputs, and the expected results in NumPy with nothing clever, on some rows.

Attention is summed in long double: in double such a script is itself off by more than the kernels are.
"""

import math

import numpy as np
from registry import CHECKED_ROWS, Case
from scipy import special

STEP_LENGTH = 0.1  # of `step`

ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "gelu": lambda x: x * special.ndtr(x),
}


def tokens(case: Case) -> np.ndarray:
    """Uniform tokens (R, N, d)."""
    x = np.random.default_rng(1).standard_normal((case.n_replicas, case.n_tokens, case.dim))
    return (x / np.linalg.norm(x, axis=2, keepdims=True)).astype(case.dtype)


def directions(case: Case) -> np.ndarray:
    """Where `step` goes."""
    return np.random.default_rng(2).standard_normal((case.n_replicas, case.n_tokens, case.dim)).astype(case.dtype)


def weights(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return U (m, d) and W (d, m)."""
    rng = np.random.default_rng(3)
    return rng.standard_normal((case.width, case.dim)), rng.standard_normal((case.dim, case.width))


def masses(case: Case) -> np.ndarray:
    """Weights of the tokens, with sum 1."""
    p = np.random.default_rng(4).uniform(0.5, 1.5, case.n_tokens)
    return p / p.sum()


def form(case: Case) -> np.ndarray:
    """Return QᵀK, not symmetric, of a norm near 2β."""
    return case.beta * np.random.default_rng(5).standard_normal((case.dim, case.dim)) / math.sqrt(case.dim)


def powers(case: Case) -> np.ndarray:
    """Coefficients of powers of the derivative of a potential, lowest first: those of e^{3u − 3}."""
    return np.array([math.exp(-3) * 3**k / math.factorial(k) for k in range(case.degree + 1)])


def matrices(case: Case) -> np.ndarray:
    """Return Q, K and the value matrix (k, d) of each head, (H, 3, k, d).

    ‖QᵀK‖ is near 2β, and the output is the value's transpose.
    """
    shape = (3, case.n_heads, case.head_dim, case.dim)
    q, k, v = np.random.default_rng(6).standard_normal(shape) / math.sqrt(case.dim)
    return np.stack([case.beta * q, k, v], axis=1)


def value_matrix(case: Case) -> np.ndarray:
    """Return V (d, d) of the first layer of random values that chaosphere draws for the seed 0."""
    from chaosphere.common.streams import Noise, Stream

    return Noise(0).draws(Stream.HEADS, 0).normals((1, case.dim, case.dim))[0][0, 0]


def rows(case: Case) -> np.ndarray:
    """Some tokens, the first and the last among them."""
    return np.unique(np.linspace(0, case.n_tokens - 1, CHECKED_ROWS).astype(int))


def _attend(x, y, beta):
    w = np.exp(beta * np.einsum("rik,rjk->rij", x, y) - beta)
    return np.einsum("rij,rjk->rik", w, y) / w.sum(axis=2, keepdims=True)


def _layer(x, u, w, activation):
    dim, width = w.shape
    return ACTIVATIONS[activation](x @ u.T / math.sqrt(dim)) @ w.T / math.sqrt(width)


def _layer_norm(x):
    return x / np.sqrt((x * x).sum(axis=-1, keepdims=True))


def attention(case: Case) -> np.ndarray:
    x = tokens(case).astype(np.longdouble)
    return _attend(x[:, rows(case)], x, case.beta)


def random_values(case: Case) -> np.ndarray:
    """A layer of attention with random values, as noise."""
    x = tokens(case).astype(np.longdouble)
    y = x[:, rows(case)]
    return _layer_norm(y + STEP_LENGTH * (_attend(y, x, case.beta) @ value_matrix(case).T))


def weighted(case: Case) -> np.ndarray:
    """With weighted tokens."""
    x, p = tokens(case).astype(np.longdouble)[0], masses(case)
    w = p * np.exp(case.beta * (x[rows(case)] @ x.T) - case.beta)
    return (w @ x / w.sum(axis=1, keepdims=True))[None]


def general(case: Case) -> np.ndarray:
    """With a QᵀK that is not symmetric."""
    x = tokens(case).astype(np.longdouble)[0]
    scores = x[rows(case)] @ form(case) @ x.T
    w = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (w @ x / w.sum(axis=1, keepdims=True))[None]


def hardmax(case: Case) -> np.ndarray:
    """The token with the largest score of that QᵀK."""
    x = tokens(case).astype(np.longdouble)[0]
    return x[(x[rows(case)] @ form(case) @ x.T).argmax(axis=1)][None]


def unnormalized(case: Case) -> np.ndarray:
    """Without the division by the sum of the weights."""
    x = tokens(case).astype(np.longdouble)[0]
    return (np.exp(case.beta * (x[rows(case)] @ x.T)) @ x / case.n_tokens)[None]


def jvp(case: Case) -> np.ndarray:
    """The derivative of attention along `directions`."""
    x, v = (a.astype(np.longdouble)[0] for a in (tokens(case), directions(case)))
    i = rows(case)
    p = np.exp(case.beta * (x[i] @ x.T) - case.beta)
    p /= p.sum(axis=1, keepdims=True)
    t = case.beta * (v[i] @ x.T + x[i] @ v.T)
    return (p * t @ x + p @ v - (p * t).sum(axis=1, keepdims=True) * (p @ x))[None]


def vjp(case: Case) -> np.ndarray:
    """The gradient in the tokens of the sum of attention times `directions`, in double precision: it takes all rows."""
    x, w = (a.astype(np.float64)[0] for a in (tokens(case), directions(case)))
    i, total, of_rows = rows(case), np.zeros((len(rows(case)), case.dim)), np.zeros_like(x)
    for part in np.array_split(np.arange(case.n_tokens), max(1, case.n_tokens // 256)):
        p = np.exp(case.beta * (x[part] @ x.T) - case.beta)
        p /= p.sum(axis=1, keepdims=True)
        t = w[part] @ x.T
        t = p * (t - (p * t).sum(axis=1, keepdims=True))
        of_rows[part] = case.beta * (t @ x)
        total += case.beta * (t[:, i].T @ x[part]) + p[:, i].T @ w[part]
    return (total + of_rows[i])[None]


def potential(case: Case) -> np.ndarray:
    """The drift along a potential."""
    x = tokens(case).astype(np.longdouble)[0]
    w = np.polynomial.polynomial.polyval(x[rows(case)] @ x.T, powers(case).astype(np.longdouble))
    return (w @ x / case.n_tokens)[None]


def partition(case: Case) -> np.ndarray:
    """The sums of the coefficients alone, with weighted tokens."""
    x = tokens(case).astype(np.longdouble)[0]
    return (np.exp(case.beta * (x[rows(case)] @ x.T - 1)) @ masses(case))[None, :, None]


def sinkhorn(case: Case) -> np.ndarray:
    """With doubly stochastic coefficients, by the iteration that halves the error, all coefficients in memory."""
    x = tokens(case).astype(np.float64)[0]
    kernel = np.exp(case.beta * (x @ x.T - 1)) / case.n_tokens
    a = np.ones(case.n_tokens)
    for _ in range(60):
        a = np.sqrt(a / (kernel @ a))
    i = rows(case)
    return (a[i, None] * kernel[i] @ (a[:, None] * x))[None]


def head(case: Case) -> np.ndarray:
    """The sum of heads with matrices of fewer rows than columns."""
    return _heads(case, matrices(case))


def symmetric_head(case: Case) -> np.ndarray:
    """The same with QᵀK = βKᵀK."""
    return _heads(case, [(case.beta * key, key, value) for _, key, value in matrices(case)])


def _heads(case, several):
    x, total = tokens(case).astype(np.longdouble)[0], 0
    for query, key, value in several:
        scores = (x[rows(case)] @ query.T) @ (x @ key.T).T
        w = np.exp(scores - scores.max(axis=1, keepdims=True))
        total += w @ (x @ value.T) / w.sum(axis=1, keepdims=True) @ value
    return total[None]


def fastsum(case: Case) -> np.ndarray:
    """As `attention`, summed pairwise and by BLAS: einsum's running sums over a million tokens are off by 1e-12."""
    x = tokens(case).astype(np.float64)[0]
    sums = [(w @ x, w.sum()) for w in (np.exp(case.beta * (x @ row) - case.beta) for row in x[rows(case)])]
    return np.array([[total / z for total, z in sums]])


def causal(case: Case) -> np.ndarray:
    """Token i sees the tokens j <= i."""
    x = tokens(case).astype(np.longdouble)[0]
    means = []
    for row in rows(case):
        w = np.exp(case.beta * (x[: row + 1] @ x[row]) - case.beta)
        means.append(w @ x[: row + 1] / w.sum())
    return np.array([means])


def prefix(case: Case) -> np.ndarray:
    """The same, by BLAS as `fastsum`."""
    x = tokens(case).astype(np.float64)[0]
    means = []
    for row in rows(case):
        w = np.exp(case.beta * (x[: row + 1] @ x[row]) - case.beta)
        means.append(w @ x[: row + 1] / w.sum())
    return np.array([means])


def layer(case: Case) -> np.ndarray:
    return _layer(tokens(case).astype(np.float64)[:, rows(case)], *weights(case), case.activation)


def step(case: Case) -> np.ndarray:
    x, v = tokens(case).astype(np.float64)[:, rows(case)], directions(case).astype(np.float64)[:, rows(case)]
    return _layer_norm(x + STEP_LENGTH * v)


def energy(case: Case) -> np.ndarray:
    """E_β, a sum over all pairs: every row is needed, in blocks."""
    x = tokens(case).astype(np.float64)[0]
    total = sum(float(np.expm1(case.beta * (part @ x.T) - case.beta).sum()) for part in np.array_split(x, 64))
    return np.array(-0.5 * math.exp(case.beta) * total / case.n_tokens**2)


def by_product(case: Case) -> np.ndarray:
    """The same."""
    return energy(case)


def histogram(case: Case) -> np.ndarray:
    """Law of ⟨x_i, x_j⟩, i ≠ j, in equal bins of [−1, 1]."""
    x = tokens(case).astype(np.float64)[0]
    counts = np.zeros(case.n_bins)
    for part in np.array_split(np.arange(case.n_tokens), 64):
        cells = np.clip((x[part] @ x.T + 1) * (case.n_bins / 2), 0, case.n_bins - 1).astype(int)
        cells[np.arange(len(part)), part] = case.n_bins  # a token with itself is not a pair
        counts += np.bincount(cells.ravel(), minlength=case.n_bins + 1)[:-1]
    return counts / counts.sum()


def phases(case: Case) -> np.ndarray:
    """Steps of attention alone; the tokens that are not asked for are left out at the end."""
    x, dt = tokens(case).astype(np.float64), case.horizon / case.depth
    for _ in range(case.depth):
        x = _layer_norm(x + dt * _attend(x, x, case.beta))
    return x[:, rows(case)]


def transformer(case: Case, draws: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """All layers with the given weights; the tokens that are not asked for are left out of the last layer only."""
    x, dt = tokens(case).astype(np.float64), case.horizon / case.depth
    for index, (u, w) in enumerate(draws):
        y = x[:, rows(case)] if index == len(draws) - 1 else x
        y = _layer_norm(y + dt * _attend(y, x, case.beta))
        x = _layer_norm(y + math.sqrt(dt) * _layer(y, u, w, case.activation))
    return x
