"""NumPy: what its user would write without chaosphere."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
from reference import (
    ACTIVATIONS,
    STEP_LENGTH,
    directions,
    form,
    masses,
    matrices,
    powers,
    tokens,
    value_matrix,
    weights,
)
from registry import THREADS, Case

from contenders.shared import Draws, Run, with_scales


class NumPy:
    """Blocks of rows in Python threads, with one BLAS thread each: the exponentials are then parallel too."""

    name = "numpy"
    weights_at_once = 64 * 16384
    hidden_at_once = 2**18

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(THREADS)

    def _over(self, case: Case, one: Callable[[slice, slice], None], rows: int) -> None:
        """Call one(replicas, rows) for all blocks: of many replicas at once when they are small."""
        replicas = max(1, rows // case.n_tokens)
        jobs = [
            self.pool.submit(one, slice(r, r + replicas), slice(i, min(i + rows, case.n_tokens)))
            for r in range(0, case.n_replicas, replicas)
            for i in range(0, case.n_tokens, rows)
        ]
        for job in jobs:
            job.result()

    def _attend(self, case: Case, x: np.ndarray) -> np.ndarray:
        keys = np.ascontiguousarray(x.swapaxes(1, 2)) * x.dtype.type(case.beta)
        values = np.concatenate([x, np.ones_like(x[..., :1])], axis=2)  # the last column sums the weights
        return self._average(case, x, keys, values)

    def _average(self, case: Case, x: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        out = np.empty_like(x)

        def one(r: slice, i: slice) -> None:
            w = x[r, i] @ keys[r]
            sums = np.exp(w, out=w) @ values[r]
            np.divide(sums[..., :-1], sums[..., -1:], out=out[r, i])

        self._over(case, one, max(1, self.weights_at_once // case.n_tokens))
        return out

    def _layer(self, case: Case, x: np.ndarray, u: np.ndarray, w: np.ndarray) -> np.ndarray:
        out, activate = np.empty_like(x), ACTIVATIONS[case.activation]

        def one(r: slice, i: slice) -> None:
            np.matmul(activate(x[r, i] @ u), w, out=out[r, i])

        self._over(case, one, max(1, self.hidden_at_once // case.width))
        return out

    @staticmethod
    def _layer_norm(y: np.ndarray) -> np.ndarray:
        y /= np.sqrt(np.einsum("rik,rik->ri", y, y))[..., None]
        return y

    def attention(self, case: Case) -> Run:
        x = tokens(case)
        return lambda: self._attend(case, x)

    def jvp(self, case: Case) -> Run:
        x, v, beta = tokens(case), directions(case), tokens(case).dtype.type(case.beta)
        values = np.concatenate([x, np.ones_like(x[..., :1])], axis=2)
        keys = np.ascontiguousarray(np.concatenate([x, v], axis=2).swapaxes(1, 2)) * beta

        def run() -> np.ndarray:
            out = np.empty_like(x)

            def one(r: slice, i: slice) -> None:
                w = x[r, i] @ keys[r, : case.dim]
                np.exp(w, out=w)
                sums, plain = w @ values[r], w @ v[r]
                w *= np.concatenate([v[r, i], x[r, i]], axis=2) @ keys[r]
                moments, total = w @ values[r], sums[..., -1:]
                slope = moments[..., -1:] * sums[..., :-1] / total
                np.divide(moments[..., :-1] + plain - slope, total, out=out[r, i])

            self._over(case, one, max(1, self.weights_at_once // case.n_tokens))
            return out

        return run

    def vjp(self, case: Case) -> Run:
        x, w, beta = tokens(case), directions(case), tokens(case).dtype.type(case.beta)
        keys, values = (np.ascontiguousarray(a.swapaxes(1, 2)) for a in (beta * x, x))

        def run() -> np.ndarray:
            out, lock = np.zeros_like(x), Lock()

            def one(r: slice, i: slice) -> None:
                p = x[r, i] @ keys[r]
                np.exp(p, out=p)
                p /= p.sum(axis=2, keepdims=True)
                t = w[r, i] @ values[r]
                t -= (p * t).sum(axis=2, keepdims=True)
                t *= p
                rows = beta * (t @ x[r])
                columns = beta * (t.swapaxes(1, 2) @ x[r, i]) + p.swapaxes(1, 2) @ w[r, i]
                with lock:
                    out[r, i] += rows
                    out[r] += columns

            self._over(case, one, max(1, self.weights_at_once // case.n_tokens))
            return out

        return run

    def random_values(self, case: Case) -> Run:
        x, v = tokens(case), (STEP_LENGTH * value_matrix(case)).astype(case.dtype)
        return lambda: self._layer_norm(x + self._attend(case, x) @ v.T)

    def weighted(self, case: Case) -> Run:
        x, p = tokens(case), masses(case)[None, :, None]
        keys = np.ascontiguousarray(x.swapaxes(1, 2)) * case.beta
        values = np.concatenate([p * x, p], axis=2)
        return lambda: self._average(case, x, keys, values)

    def hardmax(self, case: Case) -> Run:
        x = tokens(case)
        keys = np.ascontiguousarray((x @ form(case).T.astype(case.dtype)).swapaxes(1, 2))

        def run() -> np.ndarray:
            out = np.empty_like(x)

            def one(r: slice, i: slice) -> None:
                out[r, i] = np.take_along_axis(x[r], (x[r, i] @ keys[r]).argmax(axis=2)[..., None], axis=1)

            self._over(case, one, max(1, self.weights_at_once // case.n_tokens))
            return out

        return run

    def head(self, case: Case) -> Run:
        x, heads = tokens(case), matrices(case).astype(case.dtype)

        def one(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
            values = np.concatenate([x @ value.T, np.ones_like(x[..., :1])], axis=2)
            return self._average(case, x @ query.T, key @ x.swapaxes(1, 2), values) @ value

        def run() -> np.ndarray:
            return sum(one(*head) for head in heads)

        return run

    def general(self, case: Case) -> Run:
        x = tokens(case)
        keys = form(case) @ x.swapaxes(1, 2)
        values = np.concatenate([x, np.ones_like(x[..., :1])], axis=2)
        return lambda: self._average(case, x, keys, values)

    def unnormalized(self, case: Case) -> Run:
        x = tokens(case)
        keys, values, out = np.ascontiguousarray(x.swapaxes(1, 2)) * case.beta, x / case.n_tokens, np.empty_like(x)

        def one(r: slice, i: slice) -> None:
            w = x[r, i] @ keys[r]
            np.matmul(np.exp(w, out=w), values[r], out=out[r, i])

        def run() -> np.ndarray:
            self._over(case, one, max(1, self.weights_at_once // case.n_tokens))
            return out

        return run

    def potential(self, case: Case) -> Run:
        x, c = tokens(case), powers(case).astype(case.dtype)
        keys, values, out = np.ascontiguousarray(x.swapaxes(1, 2)), x / x.dtype.type(case.n_tokens), np.empty_like(x)

        def one(r: slice, i: slice) -> None:
            u = x[r, i] @ keys[r]
            w = c[-1] * u
            for coefficient in c[-2:0:-1]:  # Horner
                w += coefficient
                w *= u
            w += c[0]
            np.matmul(w, values[r], out=out[r, i])

        def run() -> np.ndarray:
            self._over(case, one, max(1, self.weights_at_once // (2 * case.n_tokens)))
            return out

        return run

    def partition(self, case: Case) -> Run:
        x, p, out = tokens(case), masses(case).astype(case.dtype), np.empty((1, case.n_tokens, 1), case.dtype)
        keys, shift = np.ascontiguousarray(x.swapaxes(1, 2)) * case.beta, np.dtype(case.dtype).type(case.beta)

        def one(r: slice, i: slice) -> None:
            w = x[r, i] @ keys[r]
            w -= shift
            out[r, i, 0] = np.exp(w, out=w) @ p

        def run() -> np.ndarray:
            self._over(case, one, max(1, self.weights_at_once // case.n_tokens))
            return out

        return run

    def sinkhorn(self, case: Case) -> Run:
        """Keep all coefficients in memory, and iterate a <- √(a / sums) down to the same tolerance."""
        x, n, tolerance = tokens(case)[0], case.n_tokens, 1e-12 if case.dtype == "float64" else 1e-6

        def run() -> np.ndarray:
            kernel, a = np.exp(case.beta * (x @ x.T) - case.beta) / n, np.ones(n, case.dtype)
            while abs(a * (sums := kernel @ a) - 1).max() > tolerance:
                a = np.sqrt(a / sums)
            return (a[:, None] * (kernel @ (a[:, None] * x)))[None]

        return run

    def layer(self, case: Case) -> Run:
        x, (u, w) = tokens(case), with_scales(case, *weights(case))
        return lambda: self._layer(case, x, u, w)

    def step(self, case: Case) -> Run:
        x, v, out = tokens(case), directions(case), np.empty_like(tokens(case))

        def one(r: slice, i: slice) -> None:
            out[r, i] = self._layer_norm(x[r, i] + x.dtype.type(STEP_LENGTH) * v[r, i])

        def run() -> np.ndarray:
            self._over(case, one, 8192)
            return out

        return run

    def energy(self, case: Case) -> Run:
        x, n, rows = tokens(case)[0], case.n_tokens, max(1, self.weights_at_once // case.n_tokens)

        def one(i: int) -> float:
            w = (case.beta * x[i : i + rows]) @ x[i:].T  # pairs to the right of the diagonal count twice
            np.exp(w, out=w)
            return float(2 * w.sum() - w[:, :rows].sum())

        def run() -> float:
            return 0.5 * (math.exp(case.beta) - sum(self.pool.map(one, range(0, n, rows))) / n**2)

        return run

    def histogram(self, case: Case) -> Run:
        x, n, bins, rows = tokens(case)[0], case.n_tokens, case.n_bins, max(1, self.weights_at_once // case.n_tokens)

        def one(i: int) -> np.ndarray:
            w = (0.5 * bins * x[i : i + rows]) @ x[i:].T
            w += 0.5 * bins
            cells = np.clip(w.astype(np.int32), 0, bins - 1)
            square = np.bincount(cells[:, :rows].ravel(), minlength=bins)
            square[bins - 1] -= min(rows, n - i)  # a token with itself is not a pair
            return square + 2 * np.bincount(cells[:, rows:].ravel(), minlength=bins)

        def run() -> np.ndarray:
            counts = sum(self.pool.map(one, range(0, n, rows)))
            return counts / counts.sum()

        return run

    def phases(self, case: Case) -> Run:
        start, dt = tokens(case), case.horizon / case.depth

        def run() -> np.ndarray:
            x = start
            for _ in range(case.depth):
                x = self._layer_norm(x + dt * self._attend(case, x))
            return x

        return run

    def transformer(self, case: Case, draws: Draws | None = None) -> Run:
        start, dt, shape = tokens(case), case.horizon / case.depth, (case.width, case.dim)
        rng = np.random.default_rng(0)

        def run() -> np.ndarray:
            x = start
            for k in range(case.depth):
                u, w = draws[k] if draws else (rng.standard_normal(shape), rng.standard_normal(shape[::-1]))
                x = self._layer_norm(x + dt * self._attend(case, x))
                x = self._layer_norm(x + math.sqrt(dt) * self._layer(case, x, *with_scales(case, u, w)))
            return x

        return run
