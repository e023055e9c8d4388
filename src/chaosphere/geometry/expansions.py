"""The kernel e^{β⟨x,y⟩} expanded on the sphere, moments of tokens, and the errors of both.

On S^{d−1} (Jacobi–Anger for d = 2, Funk–Hecke for every d)

    e^{β⟨x,y⟩} = Σ_l λ_l Σ_j Y_{l,j}(x) Y_{l,j}(y),     λ_l / λ_0 = I_{l+ν}(β) / I_ν(β),  ν = d/2 − 1,

with Y orthonormal for the uniform probability. Hence Z(x) = Σ p_j e^{β⟨x,x_j⟩} = Σ_l λ_l Σ_k Y_{l,k}(x) M_{l,k}, with
the moments M_{l,k} = Σ p_j Y_{l,k}(x_j), and the numerator Σ p_j e^{β⟨x,x_j⟩} x_j is the same with the moments of x Y,
which are those of degrees l ± 1 again. For β < 0 the factors alternate in sign, λ_l(β) = (−1)^l λ_l(|β|), which is the
expansion for |β| at −x.

Errors, all in units of e^|β|, the largest term (β stands for |β| from here on). Since |Σ_k Y_{l,k}(x) Y_{l,k}(y)| <=
dim(l, d), leaving out the degrees above L changes Z and each numerator by at most

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
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import ordered_sums
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.ordered_sums import Sharing
from chaosphere.geometry.harmonics import HarmonicBasis, harmonics_below, multiplicities
from chaosphere.kernels import expansions as kernel

MAX_BETA = 1e4  # a thousand degrees on the circle
MAX_DIM = 20  # where even degree 4 takes thousands
MAX_HARMONICS = 40_000  # on higher spheres, β about 500 for d = 3: a dozen seconds per million tokens and processor


@lru_cache(maxsize=256)
def counts(n: int, dim: int) -> Floats:
    """Return dim(0, d) … dim(n − 1, d)."""
    values = multiplicities(n - 1, dim)
    values.flags.writeable = False
    return values


def _margin(beta: float) -> int:
    """Return a number of degrees beyond which multipliers vanish, and in which a recurrence forgets its start."""
    return int(14 * math.sqrt(beta)) + 60


def ratios(n: int, beta: float, dim: int) -> Floats:
    """Return λ_{l+1}/λ_l = I_{l+1+ν}(β)/I_{l+ν}(β) for l < n, to a few ε each, by recurrence from above."""
    ratio, values = 0.0, np.empty(n)
    for low in reversed(range(n + _margin(beta))):
        ratio = beta / (2 * low + dim + beta * ratio)
        if low < n:
            values[low] = ratio
    return values


@lru_cache(maxsize=64)
def multipliers(beta: float, dim: int) -> Floats:
    """Return e^{−|β|} λ_l for l = 0, 1, … until they vanish, to a few ε each.

    λ_{l+1}/λ_l = I_{l+1+ν}/I_{l+ν} = β / (2 (l + 1 + ν) + β I_{l+2+ν}/I_{l+1+ν}) from above; Σ λ_l dim(l, d) = e^β.
    All terms are positive for β > 0; nothing overflows; β = 0 is included. For β < 0 those of odd degrees are negative.
    """
    n = _margin(abs(beta))
    relative = np.concatenate([[1.0], np.cumprod(ratios(n, abs(beta), dim))])
    values = np.asarray(relative / math.fsum(relative * counts(n + 1, dim)))
    values[1::2] *= math.copysign(1.0, beta)
    values.flags.writeable = False
    return values


@lru_cache(maxsize=64)
def tails(beta: float, dim: int) -> Floats:
    """Return t_0, t_1, …: the share of e^|β| that degrees above L carry."""
    values = multipliers(abs(beta), dim)
    shares = values * counts(len(values), dim)
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
    """Whether an expansion is offered: |β| up to 10⁴ on the circle, 40 000 harmonics on higher spheres."""
    if abs(beta) > MAX_BETA or dim > MAX_DIM:
        return False
    return dim == 2 or n_harmonics(beta, dim, rtol) <= MAX_HARMONICS


def serves_degree(n_max: int, dim: int) -> bool:
    """Whether an expansion up to a degree is offered."""
    return dim == 2 or (dim <= MAX_DIM and harmonics_below(n_max + 1, dim) <= MAX_HARMONICS)


def rounding(factors: Floats, x: Tokens, *, p: Floats | None, sizes: Floats, over: Sharing | None = None) -> Floats:
    """Return γ for moments of sizes s_l, shape (R, at least L + 1); p as in `moments`."""
    dim, n_tokens = x.shape[2], ordered_sums.count(x, over)
    noise = 1 / math.sqrt(n_tokens)
    if p is not None:
        length = block(n_tokens, dim) if n_tokens >= ordered_sums.MIN_WEIGHED else n_tokens
        of_all = len(p) == n_tokens
        noise = math.sqrt(ordered_sums.dot(p[None], p[None], block=length, over=None if of_all else over)[0])
    here = np.minimum(sizes + 4 * noise, 1.0)
    near = here.copy()  # the moments of x Y are of degrees l ± 1
    np.maximum(near[:, 1:], here[:, :-1], out=near[:, 1:])
    np.maximum(near[:, :-1], here[:, 1:], out=near[:, :-1])
    near = near[:, : len(factors)]
    roundings = np.abs(factors) * counts(len(factors), dim) * growth(len(factors) - 1, dim)
    return _by_rows(near, roundings) * np.finfo(np.float64).eps


def growth(n_max: int, dim: int) -> Floats:
    """Return g_0 … g_L."""
    order = np.arange(n_max + 1)
    values = 8 + 2.0 * order
    if dim > 2:
        values += (dim - 2) * order**2 / 2 + math.sqrt(harmonics_below(n_max + 1, dim - 1))
    return np.asarray(values)


def _by_rows(values: Floats, factors: Floats) -> Floats:
    """Return values @ factors, row by row: a product with several rows at once rounds otherwise than with one."""
    return np.concatenate([values[r : r + 1] @ factors for r in range(len(values))])


def moments(x: Tokens, p: Floats | None, *, n_max: int, n_threads: int, over: Sharing | None = None) -> Floats:
    """Return Σ p_i Y_k(x_i) for the harmonics of degree <= n_max, in the order of `HarmonicBasis`, shape (R, K).

    Where several processes share the tokens, x are those of this one, and p the weights of these, or of all.
    """
    if x.shape[2] > 2:
        return basis(x.shape[2], n_max).moments(x, p, n_threads=n_threads, over=over)
    powers = circle_moments(x, p, n_max=n_max, n_threads=n_threads, over=over)
    out = np.empty((len(x), 2 * n_max + 1))
    out[:, 0], out[:, 1::2], out[:, 2::2] = 1, math.sqrt(2) * powers[:, 1:].real, math.sqrt(2) * powers[:, 1:].imag
    return out


def degrees(n_max: int, dim: int) -> NDArray[np.int64]:
    """Return the degree of each of them, shape (K,)."""
    return np.repeat(np.arange(n_max + 1), counts(n_max + 1, dim).astype(np.int64))


def power_spectrum(values: Floats, n_max: int, dim: int) -> Floats:
    """Return s_l² = Σ_k M_{l,k}² / dim(l, d) for moments (R, K), shape (R, n_max + 1)."""
    sizes = counts(n_max + 1, dim)
    return np.asarray(np.add.reduceat(values**2, (np.cumsum(sizes) - sizes).astype(np.int64), axis=1) / sizes)


def mean_kernel(
    x: Tokens, p: Floats | None, *, beta: float, n_threads: int, over: Sharing | None = None
) -> tuple[Floats, Floats]:
    """Return Σ_ij p_i p_j e^{β(⟨x_i, x_j⟩ − 1)} = Σ_l e^{−β} λ_l dim(l, d) s_l² and an error bound, (R,) each."""
    dim, n_max = x.shape[2], degree(beta, x.shape[2], 1e-13)
    factors = multipliers(beta, dim)[: n_max + 1]
    spectrum = power_spectrum(moments(x, p, n_max=n_max, n_threads=n_threads, over=over), n_max, dim)
    error = 2 * rounding(factors, x, p=p, sizes=np.sqrt(spectrum), over=over) + tails(beta, dim)[n_max]
    return _by_rows(spectrum, factors * counts(n_max + 1, dim)), error


def mean_of(x: Tokens, p: Floats | None, factors: Floats, *, n_threads: int) -> Floats:
    """Return Σ_ij p_i p_j f(⟨x_i, x_j⟩) = Σ_l λ_l dim(l, d) s_l² for a function with factors λ_0 … λ_L, (R,)."""
    dim, n_max = x.shape[2], len(factors) - 1
    spectrum = power_spectrum(moments(x, p, n_max=n_max, n_threads=n_threads), n_max, dim)
    return _by_rows(spectrum, factors * counts(n_max + 1, dim))


def circle_moments(
    x: Tokens, p: Floats | None, *, n_max: int, n_threads: int, over: Sharing | None = None
) -> NDArray[np.complex128]:
    """Return M_k = Σ p_j (x_{j,1} + i x_{j,2})^k for k = 0 … n_max, shape (R, n_max + 1)."""
    n_steps = (n_max + 3) // 7 + 1  # the powers −3 … 7 n_steps − 4
    parts = kernel.fourier_moments(x, ordered_sums.own(p, over), n_steps, n_threads)
    sums = ordered_sums.total(parts, over, block=kernel.CIRCLE_BLOCK)
    if p is None:
        sums /= ordered_sums.count(x, over)
    # sums[:, b] holds {Re, Im} w^b times 1, Re z, Im z, Re z², …; z^{7b ± a} are their sums and differences.
    powers = np.empty((len(sums), n_steps, 7), np.complex128)
    re, im = sums[:, :, 1::2], sums[:, :, 2::2]
    powers[:, :, 3] = sums[:, :, 0, 0] + 1j * sums[:, :, 0, 1]
    powers[:, :, 4:] = (re[..., 0] - im[..., 1]) + 1j * (re[..., 1] + im[..., 0])
    powers[:, :, 2::-1] = (re[..., 0] + im[..., 1]) + 1j * (re[..., 1] - im[..., 0])
    return powers.reshape(len(sums), -1)[:, 3 : n_max + 4]


@lru_cache(maxsize=16)
def basis(dim: int, n_max: int) -> HarmonicBasis:
    """Return the harmonics of degree <= n_max, made once."""
    return HarmonicBasis(dim=dim, n_max=n_max)


def block(n_tokens: int, dim: int) -> int:
    """Return the tokens of a block of moments, a function of its arguments alone: what one process must own."""
    return kernel.CIRCLE_BLOCK if dim == 2 else kernel.harmonic_block(n_tokens)
