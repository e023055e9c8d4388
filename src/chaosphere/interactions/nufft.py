"""Attention at a cost proportional to N by non-uniform Fourier transforms of a Gaussian, through the finufft library.

On the sphere e^{β⟨x,y⟩} = e^β e^{−β|x−y|²/2}, a Gaussian in R^d. With period P and frequencies ω = 2πk/P, |k_c| <= n/2,

    Z̃(x) = e^{−β} Z(x) = Σ_ω G_ω e^{i⟨ω,x⟩} Σ_j p_j e^{−i⟨ω,x_j⟩},     G_ω = P^{−d} (2π/β)^{d/2} e^{−|ω|²/(2β)},

and the numerators need no moments of their own: Σ_j p_j e^{β⟨x,x_j⟩ − β} x_j = x Z̃(x) + ∇Z̃(x)/β. For β < 0 the sums are
those for |β| at −x.

Errors in units of e^β. finufft promises ε of the sum of the coefficients (1 here, and about √(d/β) for the gradient),
which tests find kept within a factor 3; images at the distance P − 2 and frequencies beyond n/2 add less than ε.
"""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.ordered_sums import Nodes, Sharing, count, join, root
from chaosphere.common.ordered_sums import own as own_weights

MIN_BETA = 0.1  # below, β divides a gradient that vanishes: the other expansions need a dozen terms
_MIN_EPS = 1e-14  # what finufft attains in double precision
_CHUNK = 250_000  # tokens
_BYTES_PER_MODE = 256  # finufft's own grid is twice as fine in each direction, and it takes two transforms at once
MAX_BYTES = _BYTES_PER_MODE * 200**3  # 2 GB for each chunk that runs


def eps_for(beta: float, dim: int, uniform: float, rtol: float) -> float:
    """Return the ε that serves tokens down to a tenth of `uniform`, the Z̃ of uniform tokens, to rtol."""
    return rtol * uniform / (60 * (1 + math.sqrt(dim / beta)))


def modes_for(beta: float, eps: float) -> tuple[float, int]:
    """Return period P and number n of frequencies in each direction."""
    digits = math.log(10 / eps)
    period = 2 + math.sqrt(2 * digits / beta)
    return period, 2 * math.ceil(math.sqrt(2 * beta * digits) * period / (2 * math.pi)) + 2


def memory(beta: float, dim: int, uniform: float, rtol: float) -> int:
    """Return the bytes that a call of `Transforms` takes at most for each chunk, as measured with finufft 2.5."""
    eps = max(eps_for(beta, dim, uniform, rtol), _MIN_EPS)
    return int(_BYTES_PER_MODE * modes_for(beta, eps)[1] ** dim)


def nanoseconds(n_tokens: int, beta: float, uniform: float, rtol: float) -> float:
    """Return the time that a call of `Transforms` takes on one processor for d = 3, as measured with finufft 2.5.

    Infinite where it needs more memory than MAX_BYTES, or finufft lacks the accuracy. A chunk of tokens has a Fourier
    transform of its own.
    """
    if beta < MIN_BETA or (eps := eps_for(beta, 3, uniform, rtol)) < _MIN_EPS:
        return math.inf
    if memory(beta, 3, uniform, rtol) > MAX_BYTES:
        return math.inf
    n_modes = modes_for(beta, eps)[1]
    digits = -math.log10(eps)
    return 7.5 * digits**2 * n_modes**3 * math.ceil(n_tokens / _CHUNK) + (400 + 28 * digits**2) * n_tokens


def is_installed() -> bool:
    """Whether finufft is there."""
    return importlib.util.find_spec("finufft") is not None


class Transforms:
    """Attention mapped by V, Z̃, its least value and its error for tokens (R, N, d), d = 2 or 3: a `Sums`.

    `uniform` is the Z̃ of uniform tokens; those down to a tenth of it are served to rtol. finufft spreads in an order
    that depends on its threads, so it runs on one for each chunk of tokens, and chunks are added along one tree.
    Results are bitwise identical for any number of threads, and of processes that own whole chunks.

    Parameters
    ----------
    beta : float
        Of either sign.
    dim : int
    uniform, rtol : float
    value : ndarray of float64, shape (d, d)
    """

    def __init__(self, *, beta: float, dim: int, uniform: float, rtol: float, value: Floats) -> None:
        finufft = checks.extra("finufft", "nufft")
        self.sign, self.value, beta = math.copysign(1.0, beta), value, abs(beta)
        self.beta = beta
        self.eps = max(eps_for(beta, dim, uniform, rtol), _MIN_EPS)
        self.period, self.n_modes = modes_for(beta, self.eps)
        frequency = 2 * math.pi / self.period * np.arange(-(self.n_modes // 2), self.n_modes // 2)
        one = np.exp(-(frequency**2) / (2 * beta)) * math.sqrt(2 * math.pi / beta) / self.period
        self.weight = one
        for _ in range(dim - 1):
            self.weight = np.multiply.outer(self.weight, one)
        self.along = [frequency.reshape([-1 if k == c else 1 for k in range(dim)]) for c in range(dim)]
        self.forward, self.backward = (
            (finufft.nufft2d1, finufft.nufft2d2),
            (finufft.nufft3d1, finufft.nufft3d2),
        )[dim - 2]

    def partition(
        self, x: Tokens, p: Floats, *, n_threads: int, over: Sharing | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Return Z̃, its least value and its error."""
        return self(x, p, n_threads=n_threads, over=over)[1:]

    def block(self, n_tokens: int) -> int:
        """Return the tokens of a chunk."""
        return _CHUNK

    def __call__(
        self, x: Tokens, p: Floats | None, *, n_threads: int, over: Sharing | None = None
    ) -> tuple[Tokens, Floats, Floats, Floats]:
        """Return the sums of tokens with weights p."""
        from concurrent.futures import ThreadPoolExecutor  # takes long to import

        dim = x.shape[2]
        settings: dict[str, Any] = {"eps": self.eps, "nthreads": 1}
        chunks = [slice(first, first + _CHUNK) for first in range(0, x.shape[1], _CHUNK)]
        n_tokens, first_chunk = count(x, over), 0 if over is None else over.first // _CHUNK
        n_chunks = -(-n_tokens // _CHUNK)
        own = own_weights(p, over)
        strengths = np.full(x.shape[1], 1 / n_tokens) if own is None else own
        mean, z = np.empty_like(x), np.empty(x.shape[:2])
        with ThreadPoolExecutor(n_threads) as pool:
            for replica in range(len(x)):
                points = x[replica].T.astype(np.float64, order="C")
                points /= np.sqrt((points**2).sum(axis=0))
                scaled = points * (2 * math.pi / self.period)

                def spread(part: slice, at: Any = scaled) -> Any:
                    shape = (self.n_modes,) * dim
                    return self.forward(
                        *at[:, part].copy(), strengths[part].astype(np.complex128), shape, isign=-1, **settings
                    )

                mine: Nodes = {}
                for index, part in enumerate(pool.map(spread, chunks), first_chunk):
                    mine = join(mine, {(0, index): part}, n_parts=n_chunks)
                modes = self.weight * (root(mine) if over is None else over.total(mine, n_parts=n_chunks))
                # Z̃ and its derivatives are real: one complex transform brings two of them.
                rows = [modes, *(1j * self.along[c] * modes for c in range(dim))]
                pairs = np.stack([a + 1j * b for a, b in zip(rows[::2], [*rows[1::2], 0 * modes], strict=False)])

                def interpolate(part: slice, at: Any = self.sign * scaled, of: Any = pairs) -> Any:
                    return self.backward(*at[:, part].copy(), of, isign=1, **settings)

                values = np.concatenate(list(pool.map(interpolate, chunks)), axis=1)
                sums = np.stack([values.real, values.imag], axis=1).reshape(-1, x.shape[1])[: dim + 1]
                z[replica] = sums[0]
                with np.errstate(divide="ignore", invalid="ignore"):  # where Z̃ is lost, which its caller sees
                    mean[replica] = (self.value @ (self.sign * points + sums[1:] / (self.beta * sums[0]))).T
        return mean, z, z.min(axis=1), np.full(len(x), 3 * self.eps * (1 + math.sqrt(dim / self.beta)))
