"""The rates of propagation of chaos in JAX:  python chaos_jax.py --out chaos.npz [--replicas 1]"""

import math

import common
import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)
PAIRS_AT_ONCE = 2**22


def normalize(x):
    return x / jnp.sqrt((x * x).sum(axis=-1, keepdims=True))


def over_systems(function, x):
    """Map function over systems x (s, n, d): small ones together, large ones one by one."""
    return jax.lax.map(function, x, batch_size=max(1, PAIRS_AT_ONCE // x.shape[1] ** 2))


def over_rows(function, x, n_sources):
    """Map function over tokens x (n, d) in blocks: the pairs are never all in memory."""
    if len(x) * n_sources <= PAIRS_AT_ONCE:
        return function(x)
    rows = next(size for size in range(PAIRS_AT_ONCE // n_sources, 0, -1) if len(x) % size == 0)
    return jax.lax.map(function, x.reshape(-1, rows, x.shape[1])).reshape(len(x), -1)


def attend(x, sources, weights):
    """Attention of x (n, d) to weighted sources (m, d)."""

    def rows(q):
        w = jnp.exp(common.BETA * q @ sources.T) * weights
        return (w @ sources) / w.sum(axis=1, keepdims=True)

    return over_rows(rows, x, len(sources))


def prepare(sizes, state, weights, half_weights):
    n, half_n, dim = len(weights), len(half_weights), state.limit.shape[2]
    step = sizes.horizon / sizes.depth

    def layer(state, key):
        keys = jax.random.split(key, 3)
        u = jax.random.normal(keys[0], (dim, sizes.width)) / math.sqrt(dim)
        b = sizes.bias_std * jax.random.normal(keys[1], sizes.width)
        w = jax.random.normal(keys[2], (sizes.width, dim)) / math.sqrt(sizes.width)

        def move(x, sources, p):
            y = normalize(x + step * attend(x, sources, p))
            return normalize(y + math.sqrt(step) * jnp.tanh(y @ u + b) @ w)

        systems = [over_systems(lambda y: move(y, y, jnp.ones(len(y))), x) for x in state.systems]
        limit = move(state.limit[0], state.limit[0, :n], weights)
        half = move(state.half[0], state.half[0, :half_n], half_weights)
        paths = []
        for x, path in zip([*systems, half[None, half_n:]], state.paths, strict=True):
            gap = x - limit[n : n + path.size].reshape(x.shape)
            paths.append(jnp.maximum(path, (gap * gap).sum(axis=2)))
        return common.State(systems, limit[None], half[None], paths), None

    def some(state, key):
        return jax.lax.scan(layer, state, jax.random.split(key, sizes.depth // 2))[0]

    state, key = jax.tree.map(jnp.asarray, state), jax.random.key(0)
    compiled = jax.jit(some).lower(state, key).compile()
    for x in state.systems:
        energy(x, None)  # compiled here as well, once for all replicas
    energy(state.limit[:, :n], weights)

    def run(state, rng):
        return compiled(jax.tree.map(jnp.asarray, state), jax.random.key(rng.integers(2**63)))

    return run


@jax.jit
def weighted_energy(x, p):
    def one(y):
        return over_rows(lambda q: jnp.exp(common.BETA * q @ y.T) @ p[:, None], y, len(y))[:, 0] @ p

    return 0.5 * (math.exp(common.BETA) - over_systems(one, x))


def energy(x, weights):
    return weighted_energy(x, jnp.full(x.shape[1], 1 / x.shape[1]) if weights is None else weights)


if __name__ == "__main__":
    common.chaos(__doc__, prepare, energy)
