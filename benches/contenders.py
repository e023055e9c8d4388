"""The contenders: chaosphere, and what its user would write without it in NumPy, PyTorch, JAX and KeOps.

Each method named in `registry.CASES` takes a case and returns a function without arguments that does the work once and
returns something NumPy can read: tokens (R, N, d), an energy or a histogram. Whatever can be prepared (conversion,
compilation, transposed copies of weights) is outside of it. A contender without a method for a bench sits it out.

The peers know what any competent user knows: β is moderate, so no running maximum is needed and one block of weights is
used while it is in the cache (block sizes were tuned at N = 16384); none of them exploits the symmetry of the weights.
"""

import importlib
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from reference import ACTIVATIONS, STEP_LENGTH, directions, form, masses, tokens, weights
from registry import THREADS, Case

Run = Callable[[], object]
Draws = list[tuple[np.ndarray, np.ndarray]]


class Missing(Exception):
    """A peer is not installed."""


def _import(name: str):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"peer not installed: {name}") from error


def _scaled(case: Case, u: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both scales of a layer put into its weights, transposed: hidden = φ(x u), out = hidden w."""
    u, w = u.T / math.sqrt(case.dim), w.T / math.sqrt(case.width)
    return u.astype(case.dtype, order="C"), w.astype(case.dtype, order="C")


class Chaosphere:
    name = "chaosphere"

    def __init__(self) -> None:
        import chaosphere

        self.cs = chaosphere

    def attention(self, case: Case) -> Run:
        x, attention = tokens(case), self.cs.SoftmaxAttention(beta=case.beta, method="direct")
        return lambda: attention(x, n_threads=THREADS)

    def weighted(self, case: Case) -> Run:
        x, p, attention = tokens(case), masses(case), self.cs.SoftmaxAttention(beta=case.beta, method="direct")
        return lambda: attention(x, p, n_threads=THREADS)

    def general(self, case: Case) -> Run:
        x, attention = tokens(case), self.cs.SoftmaxAttention(query=form(case).T, key=np.eye(case.dim))
        return lambda: attention(x, n_threads=THREADS)

    def by_product(self, case: Case) -> Run:
        x, attention = tokens(case), self.cs.SoftmaxAttention(beta=case.beta, method="direct")
        return lambda: attention.evaluate(x, n_threads=THREADS).energy[0]

    def fastsum(self, case: Case) -> Run:
        method = "fourier" if case.dim == 2 else "harmonic"
        x, attention = tokens(case), self.cs.SoftmaxAttention(beta=case.beta, method=method)
        return lambda: attention(x, n_threads=THREADS)

    def layer(self, case: Case) -> Run:
        x, (u, w) = tokens(case), weights(case)
        network = self.cs.MLP(width=1, activation=case.activation)
        # Weights in the dtype of the tokens, as the peers have them; `draw` would give float64.
        layer = self.cs.MLPLayer(
            u=u[None].astype(case.dtype),
            w=w[None].astype(case.dtype),
            b=None,
            c=None,
            activation=network.draw(2, rng=np.random.default_rng(0)).activation,
            weight_std=case.dim**-0.5,
        )
        return lambda: layer(x, n_threads=THREADS)

    def step(self, case: Case) -> Run:
        from chaosphere.kernels import sphere

        x, v = tokens(case), directions(case)
        batch, velocities = (a if a.ndim == 3 else a[None] for a in (x, v))
        return lambda: sphere.step(batch, velocities, STEP_LENGTH, THREADS)[0].reshape(x.shape)

    def energy(self, case: Case) -> Run:
        from chaosphere.kernels import pairs  # over all pairs, also where `measures.energy` would expand the kernel

        x, factor = tokens(case).astype(np.float64), 0.5 * math.exp(case.beta)
        return lambda: factor * pairs.pair_statistics(x, None, case.beta, 0, THREADS)[0][0]

    def histogram(self, case: Case) -> Run:
        x = tokens(case)[0]
        return lambda: self.cs.measures.cosine_histogram(x, case.n_bins, n_threads=THREADS)[0]

    def transformer(self, case: Case) -> Run:
        x = tokens(case)
        model = self.cs.Transformer(
            attention=self.cs.SoftmaxAttention(beta=case.beta),
            mlp=self.cs.MLP(width=case.width, activation=case.activation),
            depth=case.depth,
            horizon=case.horizon,
        )
        return lambda: self.cs.simulate(model, x, rng=0, n_threads=THREADS).final

    def phases(self, case: Case) -> Run:
        x, attention = tokens(case), self.cs.SoftmaxAttention(beta=case.beta)
        model = self.cs.Transformer(attention=attention, mlp=None, depth=case.depth, horizon=case.horizon)
        return lambda: self.cs.simulate(model, x, rng=0, n_threads=THREADS).final

    def draws(self, case: Case) -> Draws:
        """Return the weights that `transformer` uses, so that the others can be given the same."""
        from chaosphere.common.streams import Noise, Stream

        noise, mlp = Noise(0), self.cs.MLP(width=case.width, activation=case.activation)
        layers = [mlp.plan(case.dim).draw([noise.draws(Stream.LAYER, k)]) for k in range(case.depth)]
        return [(layer.u[0], layer.w[0]) for layer in layers]


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

    def weighted(self, case: Case) -> Run:
        x, p = tokens(case), masses(case)[None, :, None]
        keys = np.ascontiguousarray(x.swapaxes(1, 2)) * case.beta
        values = np.concatenate([p * x, p], axis=2)
        return lambda: self._average(case, x, keys, values)

    def general(self, case: Case) -> Run:
        x = tokens(case)
        keys = form(case) @ x.swapaxes(1, 2)
        values = np.concatenate([x, np.ones_like(x[..., :1])], axis=2)
        return lambda: self._average(case, x, keys, values)

    def layer(self, case: Case) -> Run:
        x, (u, w) = tokens(case), _scaled(case, *weights(case))
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
                x = self._layer_norm(x + math.sqrt(dt) * self._layer(case, x, *_scaled(case, u, w)))
            return x

        return run


class Torch:
    """Eager PyTorch; attention is its fused kernel, with keys and values equal to the tokens."""

    name = "torch"
    weights_at_once = 256 * 16384
    hidden_at_once = 2**20

    def __init__(self) -> None:
        self.torch = _import("torch")
        self.torch.set_num_threads(THREADS)
        self.torch.set_grad_enabled(False)
        f = self.torch.nn.functional
        self.activations = {"relu": f.relu, "tanh": self.torch.tanh, "gelu": f.gelu}

    def _attend(self, case: Case, x):
        x = x[:, None]
        return self.torch.nn.functional.scaled_dot_product_attention(x, x, x, scale=case.beta)[:, 0]

    def _layer(self, case: Case, x, u, w):
        rows, activate = max(1, self.hidden_at_once // case.width), self.activations[case.activation]
        return self.torch.cat([activate(part @ u) @ w for part in x.split(rows, dim=1)], dim=1)

    def _layer_norm(self, y):
        return self.torch.nn.functional.normalize(y, dim=-1)

    def attention(self, case: Case) -> Run:
        x = self.torch.from_numpy(tokens(case))
        return lambda: self._attend(case, x)

    def layer(self, case: Case) -> Run:
        x, u, w = (self.torch.from_numpy(a) for a in (tokens(case), *_scaled(case, *weights(case))))
        return lambda: self._layer(case, x, u, w)

    def step(self, case: Case) -> Run:
        x, v = self.torch.from_numpy(tokens(case)), self.torch.from_numpy(directions(case))
        return lambda: self._layer_norm(self.torch.add(x, v, alpha=STEP_LENGTH))

    def energy(self, case: Case) -> Run:
        x, n, rows = (
            self.torch.from_numpy(tokens(case)[0]),
            case.n_tokens,
            max(1, self.weights_at_once // case.n_tokens),
        )

        def run() -> float:
            total = 0.0
            for i in range(0, n, rows):
                w = ((case.beta * x[i : i + rows]) @ x[i:].T).exp_()
                total += 2 * float(w.sum()) - float(w[:, :rows].sum())
            return 0.5 * (math.exp(case.beta) - total / n**2)

        return run

    def histogram(self, case: Case) -> Run:
        x, n, bins = self.torch.from_numpy(tokens(case)[0]), case.n_tokens, case.n_bins
        rows = max(1, self.weights_at_once // n)

        def count(w):
            return self.torch.histc(w.clamp_(-1, 1), bins=bins, min=-1, max=1)

        def run():
            counts = self.torch.zeros(bins, dtype=x.dtype)
            for i in range(0, n, rows):
                counts += count(x[i : i + rows] @ x[i : i + rows].T)
                if i + rows < n:
                    counts += 2 * count(x[i : i + rows] @ x[i + rows :].T)
            counts[bins - 1] -= n
            return counts / counts.sum()

        return run

    def phases(self, case: Case) -> Run:
        start, dt = self.torch.from_numpy(tokens(case)), case.horizon / case.depth

        def run():
            x = start
            for _ in range(case.depth):
                # Batched products and softmax: for small systems faster than the fused kernel.
                w = self.torch.softmax(case.beta * (x @ x.mT), dim=-1)
                x = self._layer_norm(x.add(w @ x, alpha=dt))
            return x

        return run

    def transformer(self, case: Case, draws: Draws | None = None) -> Run:
        torch, dt, shape = self.torch, case.horizon / case.depth, (case.dim, case.width)
        start, generator = torch.from_numpy(tokens(case)), torch.Generator().manual_seed(0)
        layers = draws and [tuple(torch.from_numpy(a) for a in _scaled(case, u, w)) for u, w in draws]

        def draw():
            u = torch.randn(shape, dtype=start.dtype, generator=generator)
            w = torch.randn(shape[::-1], dtype=start.dtype, generator=generator)
            return u.mul_(case.dim**-0.5), w.mul_(case.width**-0.5)

        def run():
            x = start
            for k in range(case.depth):
                x = self._layer_norm(x.add(self._attend(case, x), alpha=dt))
                layer = self._layer(case, x, *(layers[k] if layers else draw()))
                x = self._layer_norm(x.add(layer, alpha=math.sqrt(dt)))
            return x

        return run


class Jax:
    """Compiled by XLA, row block after row block (`lax.map`), so that the weights are never (N, N)."""

    name = "jax"
    weights_at_once = 256 * 16384
    hidden_at_once = 2**20

    def __init__(self) -> None:
        self.jax = _import("jax")
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
        def rows(q):
            w = self.np.exp(case.beta * (q @ x.swapaxes(1, 2)) - case.beta)
            return (w @ x) / w.sum(axis=2, keepdims=True)

        return self._by_rows(rows, x, max(1, self.weights_at_once // case.n_tokens))

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

    def layer(self, case: Case) -> Run:
        scaled = _scaled(case, *weights(case))
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
        us, ws = (np.stack(a) for a in zip(*(_scaled(case, u, w) for u, w in draws), strict=True))

        def run(x, us, ws):
            return jax.lax.scan(lambda x, uw: (layer(x, *uw), None), x, (us, ws))[0]

        return self._compiled(run, tokens(case), us, ws)


class KeOps:
    """Attention as one reduction over j, compiled for its formula by KeOps when it is first called.

    In float64 only: its running sums in float32 are off by more than the benches allow.
    """

    name = "keops"

    def __init__(self) -> None:
        _import("pykeops").set_verbose(False)
        self.Genred = _import("pykeops.numpy").Genred

    def attention(self, case: Case) -> Run:
        if case.dtype == "float32":
            raise Missing("keops sits out float32")
        variables = [f"x = Vi({case.dim})", f"y = Vj({case.dim})"]
        # The last column sums the weights.
        reduction = self.Genred("Exp((x|y)) * Concat(y, IntCst(1))", variables, reduction_op="Sum", axis=1)
        x = tokens(case)

        def run() -> np.ndarray:
            sums = reduction(case.beta * x, x, backend="CPU")
            return sums[..., :-1] / sums[..., -1:]

        run()  # compiles
        return run


_CLASSES = {c.name: c for c in (Chaosphere, NumPy, Torch, Jax, KeOps)}
_made: dict[str, object] = {}


def get(name: str):
    """Return the contender of this name, made once; raises `Missing`."""
    if name not in _made:
        _made[name] = _CLASSES[name]()
    return _made[name]
