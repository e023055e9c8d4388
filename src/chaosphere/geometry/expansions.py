"""Attention at a cost proportional to N: the kernel e^{β⟨x,y⟩} expanded on the sphere, and the error this makes.

On S^{d−1} (Jacobi–Anger for d = 2, Funk–Hecke for every d)

    e^{β⟨x,y⟩} = Σ_l λ_l Σ_j Y_{l,j}(x) Y_{l,j}(y),     λ_l / λ_0 = I_{l+ν}(β) / I_ν(β),  ν = d/2 − 1,

with Y orthonormal for the uniform probability. Hence Z(x) = Σ p_j e^{β⟨x,x_j⟩} = Σ_l λ_l Σ_k Y_{l,k}(x) M_{l,k}, with
the moments M_{l,k} = Σ p_j Y_{l,k}(x_j), and the numerator Σ p_j e^{β⟨x,x_j⟩} x_j is the same with the moments of x Y,
which are those of degrees l ± 1 again.

Errors, all in units of e^β, the largest term. Since |Σ_k Y_{l,k}(x) Y_{l,k}(y)| <= dim(l, d), leaving out the degrees
above L changes Z and each numerator by at most

    t_L = e^{−β} Σ_{l > L} λ_l dim(l, d),     where e^{−β} Σ_l λ_l dim(l, d) = 1,

whatever the tokens and weights: a proven bound. Rounding changes them by at most

    γ = ε Σ_l e^{−β} λ_l dim(l, d) s_l g_l,     ε = 2.2e-16,

where s_l = (Σ_k M_{l,k}² / dim(l, d))^{1/2} <= 1 are the sizes of the moments (4 |p|_2 added for their own rounding)
and g_l counts roundings: 8 + 2l for the powers of degree l and the sums, and for d >= 3 another (d − 2) l²/2 for the
three-term recurrences near the poles and the root of the number of sums in a row. That the roundings of sums add like
random ones is an assumption: γ is tested against long double on clusters, points, poles and great circles.

A token's own sum Z̃ = e^{−β} Z is what t_L + γ is to be compared with: its partition sum is off by the fraction
(t_L + γ) / Z̃ and its attention, a mean of unit vectors, by at most twice that. Z̃ is at least the weight of the token
itself, (2πβ)^{−1/2} (d = 2) or 1/(2β) (d = 3) for uniform tokens, the weight of its cluster if there are clusters, and
e^{−2β} at worst. A token far from nearly all others loses digits, here, that the direct sum keeps: such tokens are
recognised by Z̃ and summed directly.

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
from numpy.typing import NDArray

from chaosphere.common.checks import Floats, Tokens
from chaosphere.geometry.harmonics import HarmonicBasis, harmonics_below, multiplicities
from chaosphere.kernels import expansions as kernel

MOST_BETA = 1e4  # a thousand degrees on the circle
MOST_DIM = 20  # where even degree 4 takes thousands
MOST_HARMONICS = 40_000  # on higher spheres, β about 500 for d = 3: a dozen seconds per million tokens and processor


@lru_cache(maxsize=256)
def _counts(n: int, dim: int) -> Floats:
    values = multiplicities(n - 1, dim)
    values.flags.writeable = False
    return values


@lru_cache(maxsize=64)
def multipliers(beta: float, dim: int) -> Floats:
    """Return e^{−β} λ_l for l = 0, 1, … until they vanish, to a few ε each.

    λ_{l+1}/λ_l = I_{l+1+ν}/I_{l+ν} = β / (2 (l + 1 + ν) + β I_{l+2+ν}/I_{l+1+ν}) from above; Σ λ_l dim(l, d) = e^β.
    All terms are positive; nothing overflows; β = 0 is included.
    """
    n = int(14 * math.sqrt(beta)) + 60
    ratio, ratios = 0.0, np.empty(n)
    for low in reversed(range(2 * n)):
        ratio = beta / (2 * low + dim + beta * ratio)
        if low < n:
            ratios[low] = ratio
    relative = np.concatenate([[1.0], np.cumprod(ratios)])
    values = np.asarray(relative / math.fsum(relative * _counts(n + 1, dim)))
    values.flags.writeable = False
    return values


@lru_cache(maxsize=64)
def tails(beta: float, dim: int) -> Floats:
    """Return t_0, t_1, …: the share of e^β that degrees above L carry."""
    values = multipliers(beta, dim)
    shares = values * _counts(len(values), dim)
    return np.asarray(np.append(np.cumsum(shares[:0:-1])[::-1], 0.0))


@lru_cache(maxsize=256)
def degree(beta: float, dim: int, rtol: float) -> int:
    """Return L for a given accuracy: truncation alone serves tokens of down to a thousandth of the uniform density.

    Below 1e-16 of e^β it is not told from rounding.
    """
    uniform = float(multipliers(beta, dim)[0])  # Z̃ of uniform tokens
    return int(np.flatnonzero(tails(beta, dim) <= max(1e-16, 0.5e-3 * rtol * uniform))[0])


def n_harmonics(beta: float, dim: int, rtol: float) -> int:
    """Return the number of terms of an expansion for a given accuracy."""
    return harmonics_below(degree(beta, dim, rtol) + 1, dim)


def serves(beta: float, dim: int, rtol: float) -> bool:
    """Whether an expansion is offered: β up to 10⁴ on the circle, 40 000 harmonics on higher spheres."""
    if beta > MOST_BETA or dim > MOST_DIM:
        return False
    return dim == 2 or n_harmonics(beta, dim, rtol) <= MOST_HARMONICS


def direct_nanoseconds(n_tokens: int, dim: int, dtype: Any) -> float:
    """Return the time that the direct sum takes on one processor, as measured by benches/crossover.py."""
    pair = 0.18 + 0.041 * dim if np.dtype(dtype) == np.float64 else 0.075 + 0.022 * dim
    return 3e4 + pair * n_tokens**2


def nanoseconds(n_tokens: int, beta: float, dim: int, rtol: float) -> float:
    """Return the time that an expansion takes on one processor, likewise; infinite where none is offered.

    What a call costs before it starts, and the same again for each token and term.
    """
    if not serves(beta, dim, rtol):
        return math.inf
    terms = n_harmonics(beta, dim, rtol)
    if dim == 2:
        call, token = 9e4 + 200 * terms, 4.7 + 0.123 * terms
    elif dim == 3:
        call, token = 3.2e5 + 200 * terms, 55 + 0.31 * terms
    else:
        call, token = 2e5 + 170 * terms, 1.85 ** (dim - 4) * (150 + 1.35 * terms)
    return call + token * n_tokens


def is_cheaper(n_tokens: int, beta: float, dim: int, rtol: float, dtype: Any) -> bool:
    """Whether an expansion is offered and takes less time than the direct sum: a function of its arguments alone."""
    return nanoseconds(n_tokens, beta, dim, rtol) < direct_nanoseconds(n_tokens, dim, dtype)


def attend(
    x: Tokens, p: Floats | None, beta: float, n_max: int, value: Floats, n_threads: int
) -> tuple[Tokens, Floats, Floats, Floats]:
    """Return attention mapped by V, Z̃, its least value and t_L + γ, from degrees up to n_max = L.

    For tokens (R, N, d) with weights p_i, projected onto the sphere first; arithmetic is double whatever their dtype.
    O(N n_max) for d = 2, else O(N K d) with K ~ n_max^{d−1} harmonics.
    """
    attend_there = _attend_circle if x.shape[2] == 2 else _attend_sphere
    factors = multipliers(beta, x.shape[2])[: n_max + 1]
    mean, z, least, sizes = attend_there(x, p, factors, value, n_threads)
    return mean, z, least, rounding(factors, x, p, sizes) + tails(beta, x.shape[2])[n_max]


def rounding(factors: Floats, x: Tokens, p: Floats | None, sizes: Floats) -> Floats:
    """Return γ for moments of sizes s_l, shape (R, at least L + 1)."""
    dim, order = x.shape[2], np.arange(len(factors))
    noise = 1 / math.sqrt(x.shape[1]) if p is None else math.sqrt(np.einsum("i,i", p, p))  # no array of squares
    here = np.minimum(sizes + 4 * noise, 1.0)
    near = here.copy()  # the moments of x Y are of degrees l ± 1
    np.maximum(near[:, 1:], here[:, :-1], out=near[:, 1:])
    np.maximum(near[:, :-1], here[:, 1:], out=near[:, :-1])
    near = near[:, : len(factors)]
    growth = 8 + 2.0 * order
    if dim > 2:
        growth += (dim - 2) * order**2 / 2 + math.sqrt(harmonics_below(len(factors), dim - 1))
    return np.asarray(near @ (factors * _counts(len(factors), dim) * growth) * np.finfo(np.float64).eps)


def moments(x: Tokens, p: Floats | None, n_max: int, n_threads: int) -> Floats:
    """Return Σ p_i Y_k(x_i) for the harmonics of degree <= n_max, in the order of `HarmonicBasis`, shape (R, K)."""
    if x.shape[2] > 2:
        return _basis(x.shape[2], n_max).moments(x, p, n_threads=n_threads)[:, :, 0]
    powers = circle_moments(x, p, n_max, n_threads)
    out = np.empty((len(x), 2 * n_max + 1))
    out[:, 0], out[:, 1::2], out[:, 2::2] = 1, math.sqrt(2) * powers[:, 1:].real, math.sqrt(2) * powers[:, 1:].imag
    return out


def degrees(n_max: int, dim: int) -> NDArray[np.int64]:
    """Return the degree of each of them, shape (K,)."""
    return np.repeat(np.arange(n_max + 1), _counts(n_max + 1, dim).astype(np.int64))


def power_spectrum(values: Floats, n_max: int, dim: int) -> Floats:
    """Return s_l² = Σ_k M_{l,k}² / dim(l, d) for moments (R, K), shape (R, n_max + 1)."""
    counts = _counts(n_max + 1, dim)
    return np.asarray(np.add.reduceat(values**2, (np.cumsum(counts) - counts).astype(np.int64), axis=1) / counts)


def mean_kernel(x: Tokens, p: Floats | None, beta: float, n_threads: int) -> tuple[Floats, Floats]:
    """Return Σ_ij p_i p_j e^{β(⟨x_i, x_j⟩ − 1)} = Σ_l e^{−β} λ_l dim(l, d) s_l² and an error bound, (R,) each."""
    dim, n_max = x.shape[2], degree(beta, x.shape[2], 1e-13)
    factors = multipliers(beta, dim)[: n_max + 1]
    spectrum = power_spectrum(moments(x, p, n_max, n_threads), n_max, dim)
    error = 2 * rounding(factors, x, p, np.sqrt(spectrum)) + tails(beta, dim)[n_max]
    return spectrum @ (factors * _counts(n_max + 1, dim)), error


def circle_moments(x: Tokens, p: Floats | None, n_max: int, n_threads: int) -> NDArray[np.complex128]:
    """Return M_k = Σ p_j (x_{j,1} + i x_{j,2})^k for k = 0 … n_max, shape (R, n_max + 1)."""
    n_steps = (n_max + 3) // 7 + 1  # the powers −3 … 7 n_steps − 4
    sums = _fold(kernel.fourier_moments(x, p, n_steps, n_threads))
    if p is None:
        sums /= x.shape[1]
    # sums[:, b] holds {Re, Im} w^b times 1, Re z, Im z, Re z², …; z^{7b ± a} are their sums and differences.
    powers = np.empty((len(sums), n_steps, 7), np.complex128)
    re, im = sums[:, :, 1::2], sums[:, :, 2::2]
    powers[:, :, 3] = sums[:, :, 0, 0] + 1j * sums[:, :, 0, 1]
    powers[:, :, 4:] = (re[..., 0] - im[..., 1]) + 1j * (re[..., 1] + im[..., 0])
    powers[:, :, 2::-1] = (re[..., 0] + im[..., 1]) + 1j * (re[..., 1] - im[..., 0])
    return powers.reshape(len(sums), -1)[:, 3 : n_max + 4]


def _attend_circle(
    x: Tokens, p: Floats | None, factors: Floats, value: Floats, n_threads: int
) -> tuple[Tokens, Floats, Floats, Floats]:
    """Write Z and both numerators as Re Σ_k F_k z^k, k = 0 … L."""
    n_max = len(factors) - 1
    powers = circle_moments(x, p, n_max + 1, n_threads).conj()
    above, below = powers[:, 1:], np.concatenate([np.zeros((len(x), 1)), powers[:, :n_max]], axis=1)
    terms = np.empty((len(x), 3, n_max + 1), np.complex128)
    terms[:, 0], terms[:, 1] = below + above, 1j * (above - below)
    terms[:, :2] = value @ terms[:, :2]
    terms[:, 2] = 2 * powers[:, :-1]
    terms[:, 2, 0] = 1
    terms *= factors
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
    x: Tokens, p: Floats | None, factors: Floats, value: Floats, n_threads: int
) -> tuple[Tokens, Floats, Floats, Floats]:
    n_max, dim = len(factors) - 1, x.shape[2]
    basis = _basis(dim, n_max)
    if dim == 3:
        sums = _times_coordinates(moments(x, p, n_max + 1, n_threads), n_max)
    else:
        sums = basis.moments(x, p, with_coordinates=True, n_threads=n_threads)
    sizes = np.sqrt(power_spectrum(sums[:, :, 0], n_max, dim))
    sums *= factors[basis.degrees][None, :, None]
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
    up, down, third = _coordinate_factors(n_max)
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
def _coordinate_factors(n_max: int) -> tuple[Floats, Floats, Floats]:
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


@lru_cache(maxsize=16)
def _basis(dim: int, n_max: int) -> HarmonicBasis:
    return HarmonicBasis(dim=dim, n_max=n_max)


def _fold(blocks: Floats) -> Floats:
    """Return the sum over axis 1, halves first: a fixed order, and a chain of log₂ of its length."""
    while blocks.shape[1] > 1:
        half = (blocks.shape[1] + 1) // 2
        folded = blocks[:, :half].copy()
        folded[:, : blocks.shape[1] - half] += blocks[:, half:]
        blocks = folded
    return blocks[:, 0]
