"""Formulas of drifts for tokens of the ambient space, real or complex, and their derivatives by complex steps."""

import numpy as np

_STEP = 1e-30


def derivative(function, at, direction):
    """The derivative of an analytic function at a real array or number in a direction, to rounding."""
    return np.imag(function(at + 1j * _STEP * direction)) / _STEP


def gradient(function, at):
    """The gradient of an analytic function with one real value in an array or number."""
    at = np.asarray(at, dtype=float)
    out = np.empty(at.shape)
    for index in np.ndindex(at.shape):
        direction = np.zeros(at.shape)
        direction[index] = 1.0
        out[index] = derivative(function, at, direction)
    return out


def softmax(
    x, p, *, beta=None, value_scale=None, query=None, key=None, value=None, output=None, decay=None, is_distance=False
):
    """Softmax attention of tokens x (N, d) to the first n of them, with weights p (n,); under a mask with a decay."""
    identity = np.eye(x.shape[1])
    q, k = (x @ (identity if m is None else m).T for m in (query, key))
    k = k[: len(p)]
    scores = -((q[:, None] - k[None]) ** 2).sum(axis=2) if is_distance else (1.0 if beta is None else beta) * (q @ k.T)
    w = p * np.exp(scores - scores.real.max(axis=1, keepdims=True)) * (1.0 if decay is None else seen(len(x), decay))
    values = x[: len(p)] if value is None else x[: len(p)] @ value.T
    mean = (w @ values) / w.sum(axis=1, keepdims=True)
    return (1.0 if value_scale is None else value_scale) * (mean if output is None else mean @ output.T)


def seen(n, decay):
    """The factors e^{−λ(i−j)/N} of tokens j <= i, and 0 of the others."""
    distance = np.arange(n)[:, None] - np.arange(n)
    return np.where(distance >= 0, np.exp(-decay * np.maximum(distance, 0) / n), 0.0)


def unnormalized(x, p, *, beta, value_scale, is_rescaled=False, decay=None):
    """Attention without the division by the partition sum; under a mask it is divided by the weight that is seen."""
    w = p * np.exp(beta * (x @ x[: len(p)].T) - (beta if is_rescaled else 0.0))
    if decay is not None:
        factors = seen(len(x), decay)
        w = w * factors / (factors @ p)[:, None]
    return value_scale * (w @ x[: len(p)])


def sinkhorn(x, p, *, beta, value_scale):
    """Doubly stochastic attention, by the iteration that halves the error of log a."""
    y = x[: len(p)]
    kernel = np.exp(beta * (y @ y.T - 1.0))
    f = np.zeros(len(p))
    for _ in range(120):
        f = 0.5 * (f - np.log(kernel @ (p * np.exp(f))))
    w = np.exp(beta * (x @ y.T - 1.0)) * (p * np.exp(f))
    return value_scale * (w @ y) / w.sum(axis=1, keepdims=True)


def potential(x, p, *, slope):
    """Σ_j p_j W′(⟨x_i, x_j⟩) x_j for a polynomial W′ of NumPy."""
    y = x[: len(p)]
    return (p * slope(x @ y.T)) @ y
