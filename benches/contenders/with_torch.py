"""PyTorch: what its user would write without chaosphere."""

import math

from reference import STEP_LENGTH, directions, form, matrices, tokens, weights
from registry import THREADS, Case

from contenders.shared import Draws, Run, require, with_scales


class Torch:
    """Eager PyTorch; attention is its fused kernel, with keys and values equal to the tokens."""

    name = "torch"
    weights_at_once = 256 * 16384
    hidden_at_once = 2**20

    def __init__(self) -> None:
        self.torch = require("torch")
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

    def vjp(self, case: Case) -> Run:
        x, w = self.torch.from_numpy(tokens(case)).requires_grad_(), self.torch.from_numpy(directions(case))

        def run():
            with self.torch.enable_grad():
                return self.torch.autograd.grad(self._attend(case, x), x, w)[0]

        return run

    def causal(self, case: Case) -> Run:
        x, attend = self.torch.from_numpy(tokens(case))[:, None], self.torch.nn.functional.scaled_dot_product_attention
        return lambda: attend(x, x, x, scale=case.beta, is_causal=True)[:, 0]

    def hardmax(self, case: Case) -> Run:
        x = self.torch.from_numpy(tokens(case))[0]
        keys = (x @ self.torch.from_numpy(form(case).T.astype(case.dtype))).T.contiguous()
        n_rows = max(1, self.weights_at_once // case.n_tokens)
        return lambda: self.torch.cat([x[(part @ keys).argmax(dim=1)] for part in x.split(n_rows)])[None]

    def head(self, case: Case) -> Run:
        x = self.torch.from_numpy(tokens(case))
        # (3, H, k, d): queries, keys and values of all heads in one product, as in multi-head attention of PyTorch.
        packed = self.torch.from_numpy(matrices(case).swapaxes(0, 1).astype(case.dtype))
        values = packed[2].reshape(-1, case.dim)

        def run():
            q, k, v = (self.torch.einsum("rnd,hkd->rhnk", x, matrix) for matrix in packed)
            mean = self.torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)
            return mean.transpose(1, 2).flatten(2) @ values

        return run

    def layer(self, case: Case) -> Run:
        x, u, w = (self.torch.from_numpy(a) for a in (tokens(case), *with_scales(case, *weights(case))))
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
        layers = draws and [tuple(torch.from_numpy(a) for a in with_scales(case, u, w)) for u, w in draws]

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
