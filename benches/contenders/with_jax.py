"""JAX: what its user would write without chaosphere."""

import math

import numpy as np
from reference import STEP_LENGTH, directions, matrices, tokens, weights
from registry import Case

from contenders.shared import Draws, Run, require, with_scales


class Jax:
    """Compiled by XLA, row block after row block (`lax.map`), so that the weights are never (N, N)."""

    name = "jax"
    weights_at_once = 256 * 16384
    hidden_at_once = 2**20

    def __init__(self) -> None:
        self.jax = require("jax")
        self.jax.config.update("jax_enable_x64", True)
        self.np = self.jax.numpy
        gelu = self.jax.nn.gelu
        self.activations = {
            "relu": self.jax.nn.relu,
            "tanh": self.np.tanh,
            "gelu": lambda x: gelu(x, approximate=False),
        }

    def _by_rows(self, function, x, rows: int):
        """Map blocks of at most `rows` rows of x (R, N, d), all of one size; small systems in one piece."""
        n_replicas, n, d = x.shape
        rows = next(size for size in range(min(rows, n), 0, -1) if n % size == 0)
        if rows == n:
            return function(x)
        blocks = x.reshape(n_replicas, n // rows, rows, d).swapaxes(0, 1)
        return self.jax.lax.map(function, blocks).swapaxes(0, 1).reshape(n_replicas, n, -1)

    def _attend(self, case: Case, x):
        return self._by_rows(lambda q: self._attend_rows(case, q, x), x, self._n_rows(case))

    def _attend_rows(self, case: Case, q, x):
        w = self.np.exp(case.beta * (q @ x.swapaxes(1, 2)) - case.beta)
        return (w @ x) / w.sum(axis=2, keepdims=True)

    def _n_rows(self, case: Case) -> int:
        return max(1, self.weights_at_once // case.n_tokens)

    def _layer(self, case: Case, x, u, w):
        activate = self.activations[case.activation]
        return self._by_rows(lambda part: activate(part @ u) @ w, x, max(1, self.hidden_at_once // case.width))

    def _layer_norm(self, y):
        return y / self.np.sqrt((y * y).sum(axis=-1, keepdims=True))

    def _compiled(self, function, *arrays) -> Run:
        function, arrays = self.jax.jit(function), [self.np.asarray(a) for a in arrays]
        return lambda: function(*arrays).block_until_ready()

    def attention(self, case: Case) -> Run:
        return self._compiled(lambda x: self._attend(case, x), tokens(case))

    def jvp(self, case: Case) -> Run:
        def run(x, v):
            return self.jax.jvp(lambda x: self._attend(case, x), (x,), (v,))[1]

        return self._compiled(run, tokens(case), directions(case))

    def vjp(self, case: Case) -> Run:
        def run(x, w):
            # The weights of a block are computed again on the way back: to keep all of them takes N² numbers.
            attend = self.jax.checkpoint(lambda q, keys: self._attend_rows(case, q, keys))
            return self.jax.vjp(lambda x: self._by_rows(lambda q: attend(q, x), x, self._n_rows(case)), x)[1](w)[0]

        return self._compiled(run, tokens(case), directions(case))

    def head(self, case: Case) -> Run:
        def one(x, matrices):
            query, key, value = matrices
            k, v = x @ key.T, x @ value.T

            def rows(part):
                scores = (part @ query.T) @ k.swapaxes(1, 2)
                w = self.np.exp(scores - scores.max(axis=2, keepdims=True))
                return ((w @ v) / w.sum(axis=2, keepdims=True)) @ value

            return self._by_rows(rows, x, max(1, self.weights_at_once // case.n_tokens))

        def run(x, heads):
            return sum(one(x, heads[h]) for h in range(case.n_heads))

        return self._compiled(run, tokens(case), matrices(case).astype(case.dtype))

    def causal(self, case: Case) -> Run:
        n = case.n_tokens
        size = next(k for k in range(min(max(1, self.weights_at_once // n), n), 0, -1) if n % k == 0)

        def run(x):
            def rows(start):
                q = self.jax.lax.dynamic_slice_in_dim(x[0], start, size)
                is_seen = self.np.arange(n) <= start + self.np.arange(size)[:, None]
                w = self.np.where(is_seen, self.np.exp(case.beta * (q @ x[0].T) - case.beta), 0)
                return (w @ x[0]) / w.sum(axis=1, keepdims=True)

            return self.jax.lax.map(rows, self.np.arange(0, n, size)).reshape(x.shape)

        return self._compiled(run, tokens(case))

    def layer(self, case: Case) -> Run:
        scaled = with_scales(case, *weights(case))
        return self._compiled(lambda x, u, w: self._layer(case, x, u, w), tokens(case), *scaled)

    def step(self, case: Case) -> Run:
        return self._compiled(lambda x, v: self._layer_norm(x + STEP_LENGTH * v), tokens(case), directions(case))

    def energy(self, case: Case) -> Run:
        def run(x):
            def rows(q):
                return self.np.exp(case.beta * (q @ x[0].T)).sum(axis=2, keepdims=True)

            sums = self._by_rows(rows, x, max(1, self.weights_at_once // case.n_tokens))
            return 0.5 * (math.exp(case.beta) - sums.sum() / case.n_tokens**2)

        return self._compiled(run, tokens(case))

    def phases(self, case: Case) -> Run:
        dt = case.horizon / case.depth

        def step(x, _):
            w = self.np.exp(case.beta * (x @ x.swapaxes(1, 2)) - case.beta)
            return self._layer_norm(x + dt * (w @ x) / w.sum(axis=2, keepdims=True)), None

        return self._compiled(lambda x: self.jax.lax.scan(step, x, length=case.depth)[0], tokens(case))

    def transformer(self, case: Case, draws: Draws | None = None) -> Run:
        jax, dt, shape, dtype = self.jax, case.horizon / case.depth, (case.dim, case.width), case.dtype

        def layer(x, u, w):
            x = self._layer_norm(x + dt * self._attend(case, x))
            return self._layer_norm(x + math.sqrt(dt) * self._layer(case, x, u, w))

        def drawn(x, key):
            one, two = jax.random.split(key)
            u = jax.random.normal(one, shape, dtype) * case.dim**-0.5
            w = jax.random.normal(two, shape[::-1], dtype) * case.width**-0.5
            return layer(x, u, w), None

        if draws is None:
            keys = jax.random.split(jax.random.key(0), case.depth)
            return self._compiled(lambda x: jax.lax.scan(drawn, x, keys)[0], tokens(case))
        us, ws = (np.stack(a) for a in zip(*(with_scales(case, u, w) for u, w in draws), strict=True))

        def run(x, us, ws):
            return jax.lax.scan(lambda x, uw: (layer(x, *uw), None), x, (us, ws))[0]

        return self._compiled(run, tokens(case), us, ws)
