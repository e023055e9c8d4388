"""Figure 2 of arXiv:2604.26898 in NumPy:  python figure_numpy.py --out figure.npz"""

import math

import common
import numpy as np


def normalize(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def observe(x: np.ndarray) -> tuple[np.ndarray, float]:
    cosines = x @ x.T
    energy = 0.5 * (math.exp(common.BETA) - np.exp(common.BETA * cosines).mean())
    return np.quantile(cosines[np.triu_indices(len(x), 1)], common.QUANTILES), energy


def run(sizes, dim, bias_std, value_scale, rng):
    step, width = sizes.horizon / sizes.depth, sizes.width
    x = normalize(rng.standard_normal((sizes.n_tokens, dim)))
    seen = [observe(x)]
    for _ in range(sizes.depth):
        if value_scale:
            weights = np.exp(common.BETA * x @ x.T)
            x = normalize(x + step * value_scale * (weights @ x) / weights.sum(axis=1, keepdims=True))
        u, w = rng.standard_normal((dim, width)), rng.standard_normal((width, dim))
        b, c = bias_std * rng.standard_normal(width), bias_std * rng.standard_normal(dim)
        layer = np.maximum(x @ u / math.sqrt(dim) + b, 0) @ w / math.sqrt(width) + c
        x = normalize(x + math.sqrt(step) * layer)
        seen.append(observe(x))
    return zip(*seen, strict=True)


if __name__ == "__main__":
    common.figure(__doc__, run)
