"""Training of attention-only transformers in plain NumPy: layers by their formula, AdamW one number at a time."""

import math

import numpy as np
from scipy.integrate import solve_ivp


def drift(heads, x, *, key_dim, is_causal=False):
    """The mean over heads of V Attn(Q, K; x) at tokens (N, d)."""
    total = np.zeros_like(x)
    for head in heads:
        q, k, v = head[:key_dim], head[key_dim : 2 * key_dim], head[2 * key_dim :]
        scores = (x @ q.T) @ (x @ k.T).T
        if is_causal:
            scores = np.where(np.tri(len(x)) > 0, scores, -np.inf)
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        total += p @ (x @ v.T) / p.sum(axis=1, keepdims=True)
    return total / len(heads)


def network(parameters, x, *, key_dim, horizon, is_causal=False, is_normalized=True):
    """Final tokens (N, d) of one sequence."""
    for layer in parameters:
        x = x + horizon / len(parameters) * drift(layer, x, key_dim=key_dim, is_causal=is_causal)
        if is_normalized:
            x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return x


def first_order(f, x, *, is_normalized=True):
    """The solution at time 1 of dX/ds = b(X) from x, and L times the first-order error of L layers X ← N(X + f(X)/L).

    b is f, or its part along the sphere. The error solves da/ds = Db a − ½ Db b − ⟨x, f⟩ b − ½ |b|² x; the last two
    terms are those of N(x) = x/|x|.
    """

    def b(x):
        return f(x) - (x * f(x)).sum(axis=1, keepdims=True) * x if is_normalized else f(x)

    def along(x, v, h=1e-3):
        return (8 * (b(x + h * v) - b(x - h * v)) - b(x + 2 * h * v) + b(x - 2 * h * v)) / (12 * h)

    def slope(s, both):
        x, a = both.reshape(2, *shape)
        v = b(x)
        da = along(x, a) - 0.5 * along(x, v)
        if is_normalized:
            da -= (x * f(x)).sum(axis=1, keepdims=True) * v + 0.5 * (v * v).sum(axis=1, keepdims=True) * x
        return np.stack([v, da]).ravel()

    shape = x.shape
    start = np.stack([x, np.zeros_like(x)]).ravel()
    return solve_ivp(slope, (0, 1), start, method="DOP853", rtol=1e-9, atol=1e-11).y[:, -1].reshape(2, *shape)


def adamw(theta, gradients, *, learning_rate, betas, epsilon, weight_decay):
    """One number after the steps of these gradients, with the moments as sums over all gradients so far."""
    for t in range(1, len(gradients) + 1):
        ages = range(t - 1, -1, -1)
        mean, square = (
            math.fsum((1 - b) * b**age * g**power for age, g in zip(ages, gradients, strict=False)) / (1 - b**t)
            for power, b in enumerate(betas, start=1)
        )
        theta -= learning_rate * (mean / (math.sqrt(square) + epsilon) + weight_decay * theta)
    return theta
