"""Attention at a cost proportional to N, by expansions in powers (d = 2) or spherical harmonics (d >= 3).

`chaosphere.geometry.expansions` has the expansion and its error bounds.

Where they win (`is_cheaper`, at the default tolerance): from N = 530 on the circle; for d = 3 from 1 300 (β = 1), 1 600
(β = 4), 6 200 (β = 64); for d = 4 from 5 500 (β = 1), 20 000 (β = 4), 88 000 (β = 16); for d = 5 from 46 000 (β = 1),
210 000 (β = 4); for d = 6 from 300 000 (β = 1). Outside, more than 40 000 harmonics would be needed: direct. With a
tolerance of 1e-6 it is from 1 400 (d = 3), 8 900 (d = 4) and 87 000 (d = 5) at β = 4.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.ordered_sums import Sharing
from chaosphere.geometry import expansions
from chaosphere.geometry.expansions import circle_moments, moments, multipliers, power_spectrum, rounding, tails
from chaosphere.interactions.direct import direct_nanoseconds
from chaosphere.kernels import expansions as kernel

MIN_NANOSECONDS = 9e4  # of `nanoseconds`, below which no expansion is


def nanoseconds(n_tokens: int, beta: float, dim: int, rtol: float) -> float:
    """Return the time that an expansion takes on one processor, likewise; infinite where none is offered.

    What a call costs before it starts, and the same again for each token and term.
    """
    if not expansions.serves(beta, dim, rtol):
        return math.inf
    return nanoseconds_of(n_tokens, expansions.n_harmonics(beta, dim, rtol), dim)


def nanoseconds_of(n_tokens: int, terms: int, dim: int) -> float:
    """Return the time that an expansion with a number of harmonics takes."""
    if dim == 2:
        call, token = MIN_NANOSECONDS + 200 * terms, 4.7 + 0.123 * terms
    elif dim == 3:
        call, token = 3.2e5 + 200 * terms, 55 + 0.31 * terms
    else:
        call, token = 2e5 + 170 * terms, 1.85 ** (dim - 4) * (150 + 1.35 * terms)
    return call + token * n_tokens


def is_cheaper(n_tokens: int, beta: float, dim: int, rtol: float, dtype: Any) -> bool:
    """Whether an expansion is offered and takes less time than the direct sum: a function of its arguments alone."""
    return nanoseconds(n_tokens, beta, dim, rtol) < direct_nanoseconds(n_tokens, dim, dtype)


class Series:
    """Attention mapped by V, Z̃, its least value and t_L + γ, from degrees up to L: a `Sums`.

    For tokens (R, N, d) with weights p_i, projected onto the sphere first; arithmetic is double whatever their dtype.
    O(N L) for d = 2, else O(N K d) with K ~ L^{d−1} harmonics.

    Parameters
    ----------
    beta : float
    n_max : int
        L.
    value : ndarray of float64, shape (d, d)
    """

    def __init__(self, *, beta: float, n_max: int, value: Floats) -> None:
        dim = len(value)
        self.value, self.factors = value, multipliers(beta, dim)[: n_max + 1]
        self.tail = tails(beta, dim)[n_max]
        self.attend = _attend_circle if dim == 2 else _attend_sphere

    def block(self, n_tokens: int) -> int:
        """Return the tokens of a block of moments."""
        return expansions.block(n_tokens, len(self.value))

    def __call__(
        self, x: Tokens, p: Floats | None, *, n_threads: int, over: Sharing | None = None
    ) -> tuple[Tokens, Floats, Floats, Floats]:
        """Return the sums of tokens with weights p."""
        mean, z, least, sizes = self.attend(
            x, p, factors=self.factors, value=self.value, n_threads=n_threads, over=over
        )
        return mean, z, least, rounding(self.factors, x, p=p, sizes=sizes, over=over) + self.tail

    def partition(
        self, x: Tokens, p: Floats, *, n_threads: int, over: Sharing | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Return Z̃, its least value and t_L + γ alone: for d >= 3 at less work."""
        n_max, dim = len(self.factors) - 1, len(self.value)
        if dim == 2:
            return self(x, p, n_threads=n_threads, over=over)[1:]
        of_ones = moments(x, p, n_max=n_max, n_threads=n_threads, over=over)
        error = rounding(self.factors, x, p=p, sizes=np.sqrt(power_spectrum(of_ones, n_max, dim)), over=over)
        error += self.tail
        basis = expansions.basis(dim, n_max)
        z = basis.ratios(x, (of_ones * self.factors[basis.degrees])[:, :, None], n_threads=n_threads)[1]
        return z, z.min(axis=1), error


def sums(x: Tokens, p: Floats | None, *, factors: Floats, n_threads: int, over: Sharing | None = None) -> Tokens:
    """Return Σ_j p_j f(⟨x_i, x_j⟩) x_j for a function f with Funk–Hecke coefficients λ_0 … λ_L, the factors.

    Attention with 1 for its partition sum, which is exact.
    """
    attend = _attend_circle if x.shape[2] == 2 else _attend_sphere
    return attend(x, p, factors=factors, value=np.eye(x.shape[2]), n_threads=n_threads, is_ratio=False, over=over)[0]


def _attend_circle(
    x: Tokens,
    p: Floats | None,
    *,
    factors: Floats,
    value: Floats,
    n_threads: int,
    is_ratio: bool = True,
    over: Sharing | None = None,
) -> tuple[Tokens, Floats, Floats, Floats]:
    """Write Z and both numerators as Re Σ_k F_k z^k, k = 0 … L; without is_ratio with 1 for Z."""
    n_max = len(factors) - 1
    powers = circle_moments(x, p, n_max=n_max + 1, n_threads=n_threads, over=over).conj()
    above, below = powers[:, 1:], np.concatenate([np.zeros((len(x), 1)), powers[:, :n_max]], axis=1)
    terms = np.empty((len(x), 3, n_max + 1), np.complex128)
    terms[:, 0], terms[:, 1] = below + above, 1j * (above - below)
    terms[:, :2] = value @ terms[:, :2]
    terms[:, 2] = 2 * powers[:, :-1]
    terms[:, 2, 0] = 1
    terms *= factors
    if not is_ratio:
        terms[:, 2] = np.arange(n_max + 1) == 0
    # The tile kernel takes products with {Re, Im} w^b: of z^{7b + a} and z^{7b − a} sums and differences.
    n_steps = (n_max + 3) // 7 + 1
    padded = np.zeros((len(x), 3, 7 * n_steps), np.complex128)
    padded[:, :, 3 : n_max + 4] = terms
    by_step = padded.reshape(len(x), 3, n_steps, 7).swapaxes(1, 2)
    cosine, sine = by_step.real, -by_step.imag
    a = np.empty((len(x), n_steps, 3, 2, 7))
    a[:, :, :, 0, 0], a[:, :, :, 1, 0] = cosine[..., 3], sine[..., 3]
    a[:, :, :, 0, 1::2] = cosine[..., 4:] + cosine[..., 2::-1]
    a[:, :, :, 0, 2::2] = sine[..., 4:] - sine[..., 2::-1]
    a[:, :, :, 1, 1::2] = sine[..., 4:] + sine[..., 2::-1]
    a[:, :, :, 1, 2::2] = cosine[..., 2::-1] - cosine[..., 4:]
    return *kernel.fourier_field(x, a, n_threads), np.abs(powers)


def _attend_sphere(
    x: Tokens,
    p: Floats | None,
    *,
    factors: Floats,
    value: Floats,
    n_threads: int,
    is_ratio: bool = True,
    over: Sharing | None = None,
) -> tuple[Tokens, Floats, Floats, Floats]:
    n_max, dim = len(factors) - 1, x.shape[2]
    basis = expansions.basis(dim, n_max)
    if dim == 3:
        sums = _times_coordinates(moments(x, p, n_max=n_max + 1, n_threads=n_threads, over=over), n_max)
    else:
        sums = basis.moments(x, p, with_coordinates=True, n_threads=n_threads, over=over)
    sizes = np.sqrt(power_spectrum(sums[:, :, 0], n_max, dim))
    sums *= factors[basis.degrees][None, :, None]
    if not is_ratio:
        sums[:, :, 0] = np.arange(basis.size) == 0
    a = np.concatenate([sums[:, :, 1:] @ value.T, sums[:, :, :1]], axis=2)
    mean, z = basis.ratios(x, a, n_threads=n_threads)
    return mean, z, z.min(axis=1), sizes


def _times_coordinates(moments: Floats, n_max: int) -> Floats:
    """Return the moments of Y, x_1 Y, x_2 Y, x_3 Y for degrees <= n_max from those of Y for degrees <= n_max + 1.

    With C_{n,m} = (x_1 + i x_2)^m q_{n,m}(x_3), orthonormal for the uniform probability, m >= 0:
        x_3 C_{n,m} = A_{n+1,m} C_{n+1,m} + A_{n,m} C_{n−1,m},                 A² = (n² − m²) / (4n² − 1)
        (x_1 + i x_2) C_{n,m} = B_{n+1,m+1} C_{n+1,m+1} − B_{n,−m} C_{n−1,m+1},   B² = (n + m)(n + m − 1) / (4n² − 1)
        (x_1 − i x_2) C_{n,m} = −B_{n+1,1−m} C_{n+1,m−1} + B_{n,m} C_{n−1,m−1},
    and C_{n,−m} = (−1)^m times the conjugate of C_{n,m}.
    """
    n, m = np.tril_indices(n_max + 2)
    imaginary = n * n + 2 * m  # of the moments of degree n; the real part stands before it, for m = 0 it stands alone
    real = imaginary - (m > 0)
    # Rows n = −1 … n_max + 1, columns m = −1 … n_max + 1, so that shifts stay inside.
    c = np.zeros((len(moments), n_max + 3, n_max + 3), np.complex128)
    c[:, n + 1, m + 1] = np.where(
        m > 0, (moments[:, real] + 1j * moments[:, imaginary]) / math.sqrt(2), moments[:, real]
    )
    c[:, :, 0] = -c[:, :, 2].conj()
    above, here, below = (slice(k, k + n_max + 1) for k in (2, 1, 0))
    up, down, third = coordinate_factors(n_max)
    plus = up[0] * c[:, above, above] - up[1] * c[:, below, above]
    minus = down[0] * c[:, below, below] - down[1] * c[:, above, below]
    last = third[0] * c[:, above, here] + third[1] * c[:, below, here]
    out = np.empty((len(moments), (n_max + 1) ** 2, 4))
    n, m, real, imaginary = (index[: -n_max - 2] for index in (n, m, real, imaginary))
    weight = np.where(m > 0, math.sqrt(2), 1.0)
    for k, values in enumerate((c[:, here, here], 0.5 * (plus + minus), -0.5j * (plus - minus), last)):
        of_order = weight * values[:, n, m]
        out[:, imaginary, k] = of_order.imag
        out[:, real, k] = of_order.real  # second: for m = 0 it is the same place
    return out


@lru_cache(maxsize=16)
def coordinate_factors(n_max: int) -> tuple[Floats, Floats, Floats]:
    """Return (B_{n+1,m+1}, B_{n,−m}), (B_{n,m}, B_{n+1,1−m}), (A_{n+1,m}, A_{n,m}) for n, m <= n_max, 0 for m > n."""
    n, m = np.arange(n_max + 1.0)[:, None], np.arange(n_max + 1.0)[None, :]

    def root(top: Any, degree: Any) -> Any:
        return np.sqrt(np.maximum(top, 0) * (m <= n) / np.maximum(4 * degree**2 - 1, 1))

    def b(degree: Any, order: Any) -> Any:
        return root((degree + order) * (degree + order - 1), degree)

    up = np.stack([b(n + 1, m + 1), b(n, -m)])
    down = np.stack([b(n, m), b(n + 1, 1 - m)])
    third = np.stack([root((n + 1) ** 2 - m**2, n + 1), root(n**2 - m**2, n)])
    return up, down, third
