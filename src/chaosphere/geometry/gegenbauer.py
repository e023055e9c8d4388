"""Gegenbauer polynomials of the sphere, and expansions in them.

P_n is the Gegenbauer polynomial of S^{d−1} with P_n(1) = 1: cos nθ at u = cos θ for d = 2, Legendre's for d = 3. By the
addition theorem P_n(⟨x, y⟩) is the mean of Y(x) Y(y) over the dim(n, d) orthonormal harmonics Y of degree n.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import scipy

from chaosphere.common.chebyshev import Array, Function, chebyshev_series
from chaosphere.geometry.harmonics import rounded_multiplicities

_EPS = float(np.finfo(np.float64).eps)


def gegenbauer(u: Array, dim: int) -> Iterator[Array]:
    """Yield P_0(u), P_1(u), …: Gegenbauer polynomials of S^{dim−1} with P_n(1) = 1, dim ≥ 2."""
    before, now = np.ones_like(u), u
    yield before
    for n in itertools.count(1):
        yield now
        before, now = now, ((2 * n + dim - 2) * u * now - n * before) / (n + dim - 2)


def gegenbauer_in_place(u: Array, dim: int) -> Iterator[Array]:
    """Yield what `gegenbauer` yields, to rounding, in few arrays, for tiles in a cache: P_{n+2} overwrites P_n."""
    before, now, scratch = np.ones_like(u), u.copy(), np.empty_like(u)
    yield before
    for n in itertools.count(1):
        yield now
        np.multiply(u, now, out=scratch)
        scratch *= (2 * n + dim - 2) / (n + dim - 2)
        before *= n / (n + dim - 2)
        np.subtract(scratch, before, out=before)
        before, now = now, before


def gegenbauer_series(series: Array, *, dim: int) -> Array:
    """Return c_0 … c_n with Σ c_k P_k(u) = Σ b_k T_k(u), for Chebyshev coefficients b_0 … b_n.

    Clenshaw's recurrence on series in place of numbers, with u P_k = ((k + d − 2) P_{k+1} + k P_{k−1}) / (2k + d − 2).
    Both weights are positive and sum to 1, so rounding stays near ε Σ |b_k|.
    """
    if dim == 2:
        return series.copy()
    k = np.arange(len(series))
    up, down = (k + dim - 2.0) / (2 * k + dim - 2.0), k / (2 * k + dim - 2.0)

    def times_u(c: Array) -> Array:
        out = np.zeros_like(c)
        out[1:] = up[:-1] * c[:-1]
        out[:-1] += down[1:] * c[1:]
        return out

    now, before = np.zeros(len(series)), np.zeros(len(series))
    for coefficient in series[:0:-1]:
        now, before = 2 * times_u(now) - before, now
        now[0] += coefficient
    out = times_u(now) - before
    out[0] += series[0]
    return out


def cosine_rule(x: Array, w: Array, *, dim: int) -> tuple[Array, Array]:
    """Return nodes u and weights, of sum 1, for the cosine of two independent uniform points of S^{dim−1}.

    The density is ∝ (1 − u²)^{(dim−3)/2} du = sin^{dim−2} θ dθ at u = cos θ: x and w are a rule on [−1, 1], carried to
    θ in [0, π]. Functions with half-integer powers of 1 ∓ u are smooth in θ.
    """
    theta = 0.5 * np.pi * (x + 1.0)
    w = w * np.sin(theta) ** (dim - 2)
    return np.cos(theta), w / np.sum(w)


def project(function: Function, n_max: int, *, dim: int) -> tuple[Array, Array]:
    """Return c_0 … c_{n_max} of a function Σ c_n P_n by quadrature, and bounds on their errors.

    Gauss–Legendre in θ = arccos u. Nodes are doubled until the coefficients stop moving. The root mean square of P_n is
    dim(n, d)^{-1/2}, so rounding leaves an error that grows like dim(n, d)^{1/2}.

    On the circle, where thousands of degrees may be wanted, the c_n are Chebyshev coefficients: two cosine transforms
    that agree, which takes a function that is smooth in θ. Else the nodes are Fejér's, for SciPy's would take half a
    minute.
    """
    if dim == 2:
        n_points = max(4096, 2 ** int(n_max + 1).bit_length() * 4)
        coarse, c = (chebyshev_series(function, n - 1)[: n_max + 1] for n in (n_points, 2 * n_points))
        noise = np.full(n_max + 1, 4.0 * _EPS * float(np.max(np.abs(function(np.array([-1.0, 1.0]))))))
        if np.all(np.abs(c - coarse) <= noise):
            return c, noise
    counts = rounded_multiplicities(n_max, dim)
    n_nodes = n_max + dim // 2 + 64
    previous = None
    for _ in range(4 if dim > 2 else 2):
        x, w = _legendre(n_nodes) if dim > 2 else _fejer(n_nodes)
        u, w = cosine_rule(x, w, dim=dim)
        values = function(u)
        weighted = w * values
        moments = [p @ weighted for p in itertools.islice(gegenbauer(u, dim), n_max + 1)]
        c = counts * np.array(moments)
        noise = 4.0 * _EPS * np.sqrt(counts) * np.max(np.abs(values))
        if dim == 2:
            noise *= 1.0 + np.arange(n_max + 1) / 32.0  # the recurrence's rounding, in as many steps as degrees
        if previous is not None:
            change = np.abs(c - previous)
            if np.all(change <= noise):
                return c, noise
        previous, n_nodes = c, 2 * n_nodes
    return c, change + noise


@lru_cache(maxsize=16)
def _legendre(n_nodes: int) -> tuple[Array, Array]:
    """Return the nodes and weights of Gauss and Legendre's rule on [−1, 1]; not to be written to."""
    x, w = scipy.special.roots_legendre(n_nodes)
    return x, w


def _fejer(n_nodes: int) -> tuple[Array, Array]:
    """Return the nodes and weights of Fejér's first rule on [−1, 1], exact for polynomials of degree n_nodes − 1."""
    moments = np.zeros(n_nodes)
    moments[::2] = 2.0 / (1.0 - np.arange(0, n_nodes, 2) ** 2)  # ∫ T_k
    return np.cos(np.pi * (np.arange(n_nodes) + 0.5) / n_nodes), np.asarray(scipy.fft.dct(moments, type=3) / n_nodes)
