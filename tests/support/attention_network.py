"""Training of attention-only transformers in plain NumPy: layers by their formula, AdamW one number at a time."""

import math

import numpy as np


def network(parameters, x, *, key_dim, horizon, is_causal=False, is_normalized=True):
    """Final tokens (N, d) of one sequence."""
    depth, n_heads = parameters.shape[:2]
    for layer in parameters:
        total = np.zeros_like(x)
        for head in layer:
            q, k, v = head[:key_dim], head[key_dim : 2 * key_dim], head[2 * key_dim :]
            scores = (x @ q.T) @ (x @ k.T).T
            if is_causal:
                scores = np.where(np.tri(len(x)) > 0, scores, -np.inf)
            p = np.exp(scores - scores.max(axis=1, keepdims=True))
            total += p @ (x @ v.T) / p.sum(axis=1, keepdims=True)
        x = x + horizon / (depth * n_heads) * total
        if is_normalized:
            x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return x


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
