"""Figure 2 of arXiv:2604.26898 in JAX:  python figure_jax.py --out figure.npz"""

import functools
import math

import common
import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)


def normalize(x):
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


def observe(x):
    cosines = x @ x.T
    energy = 0.5 * (math.exp(common.BETA) - jnp.exp(common.BETA * cosines).mean())
    return jnp.quantile(cosines[jnp.triu_indices(len(x), 1)], jnp.array(common.QUANTILES)), energy


@functools.partial(jax.jit, static_argnums=(0, 1))
def trajectory(sizes, dim, bias_std, value_scale, key):
    step, width = sizes.horizon / sizes.depth, sizes.width

    def layer(x, key):
        weights = jnp.exp(common.BETA * x @ x.T)
        x = normalize(x + step * value_scale * (weights @ x) / weights.sum(axis=1, keepdims=True))
        keys = jax.random.split(key, 4)
        u, w = jax.random.normal(keys[0], (dim, width)), jax.random.normal(keys[1], (width, dim))
        b, c = bias_std * jax.random.normal(keys[2], width), bias_std * jax.random.normal(keys[3], dim)
        x = normalize(x + math.sqrt(step) * (jax.nn.relu(x @ u / math.sqrt(dim) + b) @ w / math.sqrt(width) + c))
        return x, observe(x)

    start, *keys = jax.random.split(key, 2)
    x = normalize(jax.random.normal(start, (sizes.n_tokens, dim)))
    _, seen = jax.lax.scan(layer, x, jax.random.split(keys[0], sizes.depth))
    return tuple(jnp.concatenate([first[None], rest]) for first, rest in zip(observe(x), seen, strict=True))


def run(sizes, dim, bias_std, value_scale, rng):
    return trajectory(sizes, dim, bias_std, value_scale, jax.random.key(rng.integers(2**63)))


if __name__ == "__main__":
    common.figure(__doc__, run)
