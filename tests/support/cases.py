"""Inputs that the kernel tests share."""

from functools import cache

import numpy as np

from chaosphere.kernels import sphere

# Blocks hold 32 tokens up to N = 263, 64 up to 519, ... and 192 from N = 1536 on: one less, exactly, one more of each.
BLOCK_EDGES = [1, 2, 31, 32, 33, 191, 192, 193, 255, 256, 257, 263, 264, 265, 1535, 1536, 1537]
DIMS = [2, 3, 5, 17, 23, 47, 130]
SHAPES = [(n, 3) for n in BLOCK_EDGES] + [(n, d) for n in (1, 2, 33, 257) for d in DIMS if d != 3]
SHAPES += [(520, d) for d in DIMS if d > 5]  # blocks of more than 32 tokens with many coordinates have another layout


def tokens(n, dim, dtype=np.float64, *, n_replicas=1, seed=0):
    """Uniform tokens (R, N, d) on the sphere."""
    rng = np.random.default_rng([seed, n, dim])
    return sphere.step(rng.standard_normal((n_replicas, n, dim)).astype(dtype), None, 0.0, 1)[0]


def weights(n, seed=0):
    """Random weights that sum to 1, about a fifth of them 0."""
    rng = np.random.default_rng([seed, n])
    p = rng.exponential(size=n) * (rng.random(n) > 0.2)
    p[0] += 0.1
    return p / p.sum()


def layouts(x):
    """The same values (R, N, d) in other memory layouts, by name."""
    wide = np.zeros((x.shape[0], 2 * x.shape[1], 3 * x.shape[2]), x.dtype)
    wide[:, ::2, 1::3] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    return {
        "read-only": frozen,
        "Fortran": np.asfortranarray(x),
        "transposed": np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2),
        "strided": wide[:, ::2, 1::3],
        "reversed tokens": x[:, ::-1].copy()[:, ::-1],
        "reversed coordinates": x[..., ::-1].copy()[..., ::-1],
        "reversed replicas": x[::-1].copy()[::-1],
    }


@cache
def rotation(dim, seed=0):
    """A random orthogonal matrix."""
    return np.linalg.qr(np.random.default_rng([seed, dim]).standard_normal((dim, dim)))[0]


def form(kind, dim, norm=3.0, seed=0):
    """A bilinear form of the given operator norm: psd, indefinite, general (all dense)."""
    q = rotation(dim, seed)
    spectrum = norm * np.linspace(1, 0.1, dim)
    if kind == "psd":
        return q @ np.diag(spectrum) @ q.T
    if kind == "indefinite":
        return q @ np.diag(spectrum * (-1.0) ** np.arange(dim)) @ q.T
    return q @ np.diag(spectrum) @ rotation(dim, seed + 1)
