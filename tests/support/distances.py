"""Every distance between two clouds, and clouds whose distances are known."""

import math

import numpy as np

from chaosphere.measures.distances import (
    circular_wasserstein2,
    entropic_wasserstein2,
    mmd,
    sliced_wasserstein2,
    sobolev,
    wasserstein2,
)

ALL = {
    "wasserstein2": wasserstein2,
    "circular": circular_wasserstein2,
    "sliced": lambda x, y, **k: sliced_wasserstein2(x, y, rng=0, **k),
    "entropic": lambda x, y, **k: entropic_wasserstein2(x, y, regularization=0.1, **k),
    "mmd": lambda x, y, **k: mmd(x, y, beta=2.0, **k),
    "sobolev": lambda x, y, **k: sobolev(x, y, order=1.5, n_max=12, **k),
}


def on_circle(angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def equispaced(n, start=0.0):
    return on_circle(start + 2 * math.pi * np.arange(n) / n)


def random_weights(n, seed):
    p = np.random.default_rng(seed).exponential(size=n)
    return p / p.sum()
