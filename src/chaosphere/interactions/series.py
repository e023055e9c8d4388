"""Attention at a cost proportional to N, by expansions in powers (d = 2) or spherical harmonics (d >= 3).

`chaosphere.geometry.expansions` has the expansion and its error bounds.

Where they win (`is_cheaper`, at the default tolerance): from N = 530 on the circle; for d = 3 from 800 (β = 1), 1 000
(β = 4), 4 100 (β = 64); for d = 4 from 1 700 (β = 1), 4 400 (β = 4), 17 000 (β = 16); for d = 5 from 9 400 (β = 1),
41 000 (β = 4); for d = 6 from 58 000 (β = 1). Outside, more than 40 000 harmonics would be needed: direct. With a
tolerance of 1e-6 it is from 850 (d = 3), 2 400 (d = 4) and 17 000 (d = 5) at β = 4.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.ordered_sums import Sharing
from chaosphere.geometry import expansions
from chaosphere.geometry.coordinate_products import times_coordinates
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
        call, token = 1.5e5 + 70 * terms, 22 + 0.215 * terms
    else:
        call, token = 2e5 + 100 * terms, 1.85 ** (dim - 4) * (100 + 0.26 * terms)
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
    of_ones = moments(x, p, n_max=n_max + 1, n_threads=n_threads, over=over)
    sums = times_coordinates(of_ones, dim=dim, n_max=n_max)
    sizes = np.sqrt(power_spectrum(sums[:, :, 0], n_max, dim))
    sums *= factors[basis.degrees][None, :, None]
    if not is_ratio:
        sums[:, :, 0] = np.arange(basis.size) == 0
    a = np.concatenate([sums[:, :, 1:] @ value.T, sums[:, :, :1]], axis=2)
    mean, z = basis.ratios(x, a, n_threads=n_threads)
    return mean, z, z.min(axis=1), sizes
