"""The rates of propagation of chaos in NumPy:  python chaos_numpy.py --out chaos.npz [--replicas 1]"""

import math
import os
from concurrent.futures import ThreadPoolExecutor

import common
import numpy as np
from threadpoolctl import threadpool_limits

# NumPy's exponential uses one thread: blocks of pairs that stay in the cache go to threads, with one of BLAS in each.
N_THREADS = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
POOL = ThreadPoolExecutor(N_THREADS)
PAIRS_AT_ONCE = 2**20


def blocks(x, n_sources):
    """Split tokens (s, n, d): rows of a large system, several small systems."""
    rows = max(1, PAIRS_AT_ONCE // n_sources)
    systems = max(1, rows // x.shape[1])
    return [
        (slice(s, s + systems), slice(i, i + rows))
        for s in range(0, x.shape[0], systems)
        for i in range(0, x.shape[1], rows)
    ]


def normalize(x):
    x /= np.sqrt(np.einsum("sik,sik->si", x, x))[..., None]
    return x


def layer(x, sources, weights, step, network):
    """Attention of x (s, n, d) to weighted sources (s, m, d), then the random network."""
    u, b, w = network
    keys = common.BETA * sources.swapaxes(1, 2)
    values = np.concatenate([sources, np.ones_like(sources[..., :1])], axis=2)  # the last column sums the weights
    if weights is not None:
        values *= weights[:, None]
    out = np.empty_like(x)

    def one(block):
        s, i = block
        sums = np.exp(x[s, i] @ keys[s]) @ values[s]
        y = normalize(x[s, i] + step * sums[..., :-1] / sums[..., -1:])
        out[s, i] = normalize(y + math.sqrt(step) * np.tanh(y @ u + b) @ w)

    list(POOL.map(one, blocks(x, sources.shape[1])))
    return out


def prepare(sizes, state, weights, half_weights):
    n, half_n, step = len(weights), len(half_weights), sizes.horizon / sizes.depth

    def run(state, rng):
        systems, limit, half, paths = state
        dim = limit.shape[2]
        for _ in range(sizes.depth // 2):
            network = (
                rng.standard_normal((dim, sizes.width)) / math.sqrt(dim),
                sizes.bias_std * rng.standard_normal(sizes.width),
                rng.standard_normal((sizes.width, dim)) / math.sqrt(sizes.width),
            )
            systems = [layer(x, x, None, step, network) for x in systems]
            limit = layer(limit, limit[:, :n], weights, step, network)
            half = layer(half, half[:, :half_n], half_weights, step, network)
            copies = limit[0, n:]
            for x, path in zip([*systems, half[:, half_n:]], paths, strict=True):
                gap = x - copies[: path.size].reshape(x.shape)
                np.maximum(path, (gap * gap).sum(axis=2), out=path)
        return common.State(systems, limit, half, paths)

    return run


def energy(x, weights):
    p = np.full(x.shape[1], 1 / x.shape[1]) if weights is None else weights
    keys = common.BETA * x.swapaxes(1, 2)

    def one(block):
        s, i = block
        return s, np.exp(x[s, i] @ keys[s]) @ p @ p[i]

    sums = np.zeros(len(x))
    for s, part in POOL.map(one, blocks(x, x.shape[1])):
        sums[s] += part
    return 0.5 * (math.exp(common.BETA) - sums)


if __name__ == "__main__":
    with threadpool_limits(1, user_api="blas"):
        common.chaos(__doc__, prepare, energy)
