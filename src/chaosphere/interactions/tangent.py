"""Derivatives of attention: the tangent flow and its transpose, as sums over pairs.

With coefficients P_ij = p_j e^{s_ij + r_i}, scores s_ij = c ⟨Qx_i, Kx_j⟩ and values Vx_j, all derivatives are sums of
one form over one side,

    A_i = Σ_j P_ij t_ij c_j,   B_i = Σ_j P_ij e_j,   t_ij = ⟨u_i, g_j⟩ + constants of i and of j.

Along a tangent ẋ, t_ij is the derivative of the score, c_j the value and e_j its derivative. For gradients with
cotangents w_i, P_ij t_ij is the gradient in the score, t_ij = ⟨w_i, Vx_j⟩ − ⟨w_i, b_i⟩ for softmax attention b. Then
Σ_j P_ij t_ij Kx_j is the gradient in Qx_i, and the sums over i in place of j, with rows and columns exchanged, are
those in Kx_j, in Vx_j and in p_j. Every sum is taken by one worker in one order: bitwise identical for any number of
threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.interactions.head import LOG2_E, balanced
from chaosphere.interactions.protocol import Pullback
from chaosphere.kernels import tangent as kernel
from chaosphere.kernels.rows import map_tokens

_SMALL_WEIGHT = 2.0**-20  # of the largest


class Product:
    """A product AᵀB of matrices (k, d), as one map of the vectors on either side, and its gradients in A and B.

    Where k >= d, or the product is far smaller than its factors, the map of one side is the identity.

    Parameters
    ----------
    left, right : ndarray of float64, shape (k, d), optional
        A and B; None for the identity.
    dim : int
        d.
    is_apart : bool
        Keep the matrices as they are.

    Attributes
    ----------
    left, right : ndarray of float64, optional
        Maps whose product is AᵀB.
    """

    def __init__(self, left: Floats | None, right: Floats | None, *, dim: int, is_apart: bool = False) -> None:
        self.factors = left, right
        self.left, self.right, self.unit = left, right, 1.0
        if left is None or right is None or is_apart:
            return
        narrow = balanced(left, right) if len(left) < dim else None
        if narrow is None:
            self.left, self.right = None, left.T @ right
            return
        self.left, self.right = narrow
        self.unit = float(abs(left).max() / abs(narrow[0]).max())  # a power of two

    def gradients(self, *, of_left: Floats | None, of_right: Floats) -> tuple[Floats | None, Floats]:
        """Return the gradients in A, None where it is the identity, and in B, from those in the maps, (R, k, d)."""
        a, b = self.factors
        if a is None or b is None:
            return None, of_right
        if of_left is None:
            return b @ np.swapaxes(of_right, 1, 2), a @ of_right
        return of_left / self.unit, of_right * self.unit


class Maps:
    """The scores and the values of an attention by its numbers and matrices.

    Parameters
    ----------
    dim : int
        d.
    beta, value_scale : float, optional
        None where matrices take their places.
    query, key, value, output : ndarray of float64, optional
    is_distance : bool
        Scores 2 ⟨Qx, Ky⟩ − |Ky|².
    """

    def __init__(
        self,
        dim: int,
        *,
        beta: float | None = None,
        value_scale: float | None = None,
        query: Floats | None = None,
        key: Floats | None = None,
        value: Floats | None = None,
        output: Floats | None = None,
        is_distance: bool = False,
    ) -> None:
        self.beta, self.value_scale, self.is_distance = beta, value_scale, is_distance
        self.scale = 2.0 if is_distance else 1.0 if beta is None else beta
        self.factor = 1.0 if value_scale is None else value_scale
        self.scores = Product(query, key, dim=dim, is_apart=is_distance)
        self.values = Product(None if output is None else output.T, value, dim=dim)


class Sums(NamedTuple):
    """Sums over one side: A (R, M, m), Σ P t (R, M), and B (R, M, n), float64."""

    products: Floats
    terms: Floats
    plain: Floats


class Pairs:
    """Coefficients P_ij = p_j e^{s_ij + r_i + c_j} between tokens (R, N, d), rows, and their first n, columns.

    Parameters
    ----------
    maps : Maps
    x : ndarray, shape (R, N, d)
    p : ndarray of float64, shape (n,)
    log_rows : ndarray of float64, shape (R, N)
        r_i.
    log_columns : ndarray of float64, shape (R, n), optional
        c_j.
    decay : float, optional
        λ of a causal mask; None without.
    n_threads : int
    """

    def __init__(
        self,
        maps: Maps,
        x: Tokens,
        *,
        p: Floats,
        log_rows: Floats,
        log_columns: Floats | None = None,
        decay: float | None = None,
        n_threads: int,
    ) -> None:
        self.maps, self.x, self.p, self.n_threads = maps, x, p, n_threads
        self.decay = decay
        sources = x[:, : len(p)]
        self.q, self.k = self.mapped(x, maps.scores.left), self.mapped(sources, maps.scores.right)
        self.v = self.mapped(sources, maps.values.right)
        self.log_rows = LOG2_E * log_rows
        columns = np.zeros((1, len(p))) if log_columns is None else log_columns
        if maps.is_distance:
            columns = columns - np.square(self.k, dtype=np.float64).sum(axis=2)
        self.log_columns = LOG2_E * columns

    def mapped(self, x: Tokens, matrix: Floats | None) -> Tokens:
        """Return the products of vectors with a matrix; they themselves where it is the identity."""
        return x if matrix is None else map_tokens(x, np.ascontiguousarray(matrix, dtype=x.dtype), self.n_threads)

    def rows(self, u: Tokens, g: Tokens, *, c: Tokens, e: Tokens | None = None, **options: Any) -> Sums:
        """Return the sums over j for every row i, with terms t_ij = ⟨u_i, g_j⟩ and those of `options`."""
        with np.errstate(divide="ignore"):
            columns = self.log_columns + np.log2(self.p)
        mask = 0 if self.decay is None else kernel.LOWER
        return self._sums((self.q, self.k), (u, g), c=c, e=e, logs=(self.log_rows, columns), mask=mask, **options)

    def columns(self, u: Tokens, g: Tokens, *, c: Tokens, e: Tokens | None = None, **options: Any) -> Sums:
        """Return the sums over i for every column j, with terms t_ij = ⟨u_j, g_i⟩; those of P t are over p_j."""
        # A small weight would make the exponential of the sums over p_j zero.
        is_large = self.p > _SMALL_WEIGHT * self.p.max()
        inside = np.where(is_large, self.p, 1.0)
        mask = 0 if self.decay is None else kernel.UPPER
        logs = self.log_columns + np.log2(inside), self.log_rows
        products, terms, plain = self._sums((self.k, self.q), (u, g), c=c, e=e, logs=logs, mask=mask, **options)
        outside = np.where(is_large, 1.0, self.p)[:, None]
        with np.errstate(invalid="ignore"):  # what a token of weight 0 would give may overflow
            products, plain = (np.where(outside > 0, outside * sums, 0.0) for sums in (products, plain))
        return Sums(products, terms / inside, plain)

    def _sums(
        self,
        both: tuple[Tokens, Tokens],
        terms: tuple[Tokens, Tokens],
        *,
        c: Tokens,
        e: Tokens | None,
        logs: tuple[Floats, Floats],
        mask: int,
        term_scale: float = 1.0,
        row_terms: Floats | None = None,
        column_terms: Floats | None = None,
    ) -> Sums:
        decay = 0.0 if self.decay is None else self.decay * LOG2_E / len(self.p)
        scales = self.maps.scale * LOG2_E, term_scale
        numbers: Any = (*logs, row_terms, column_terms, *scales, mask, decay, self.n_threads)
        out = kernel.tangent_sums(*both, *terms, c, e, *numbers)
        m = c.shape[2]
        return Sums(out[..., :m], out[..., m], out[..., m + 1 :])


def score_and_value_sums(pairs: Pairs, tangent: Tokens, **options: Any) -> Sums:
    """Return A = Σ_j P_ij ṡ_ij v_j, Σ_j P_ij ṡ_ij, and B = Σ_j P_ij v̇_j along a tangent."""
    maps, own = pairs.maps, tangent[:, : len(pairs.p)]
    dq, dk = pairs.mapped(tangent, maps.scores.left), pairs.mapped(own, maps.scores.right)
    if maps.is_distance:
        options["column_terms"] = -2.0 * np.einsum("rjk,rjk->rj", pairs.k, dk, dtype=np.float64)
    return pairs.rows(
        np.concatenate([dq, pairs.q], axis=2),
        np.concatenate([pairs.k, dk], axis=2),
        c=pairs.v,
        e=pairs.mapped(own, maps.values.right),
        term_scale=maps.scale,
        **options,
    )


def of_values(pairs: Pairs, sums: Floats, *, factor: Any) -> Floats:
    """Return sums of values (R, N, v) under the output and times a factor, (R, N, d)."""
    left = pairs.maps.values.left
    return np.asarray(factor * (sums if left is None else pairs.mapped(sums, left.T)))


def pulled_back(pairs: Pairs, cotangent: Tokens, *, offsets: Floats | None, factor: float = 1.0) -> Pullback:
    """Return the gradients of factor · δ Σ_ij P_ij ⟨w_i, O V x_j⟩, with Σ_i offset_i dlog r_i taken off in the scores.

    Parameters
    ----------
    pairs : Pairs
    cotangent : ndarray, shape (R, N, d)
        w.
    offsets : ndarray of float64, shape (R, N), optional
        D_i in t_ij = δ ⟨w_i, O V x_j⟩ − D_i: what the coefficients' own factors of the rows take off.
    factor : float
    """
    maps, x, n = pairs.maps, pairs.x, len(pairs.p)
    w = pairs.mapped(cotangent, maps.values.left)
    is_narrow = maps.values.left is not None
    less = None if offsets is None else -offsets
    rows = pairs.rows(w, pairs.v, c=pairs.k, e=pairs.v if is_narrow else None, term_scale=maps.factor, row_terms=less)
    columns = pairs.columns(pairs.v, w, c=pairs.q, e=w, term_scale=maps.factor, column_terms=less)
    of_query, of_key = (factor * maps.scale) * rows.products, (factor * maps.scale) * columns.products
    weights, of_value = factor * columns.terms, factor * columns.plain
    if maps.is_distance:
        of_key -= (2.0 * weights * pairs.p)[..., None] * pairs.k
    parameters: dict[str, Floats] = {}
    if maps.beta is not None:
        parameters["beta"] = factor * inner(rows.products, pairs.q).sum(axis=1)
    if maps.value_scale is not None:
        parameters["value_scale"] = inner(of_value, pairs.v).sum(axis=1)
    of_value = maps.factor * of_value
    sources = x[:, :n]
    if maps.scores.right is not None:
        of_left = None if maps.scores.left is None else _outer(of_query, x)
        of_factors = maps.scores.gradients(of_left=of_left, of_right=_outer(of_key, sources))
        parameters |= _named(of_factors, ("query", "key"))
    if maps.values.right is not None:
        of_left = _outer((factor * maps.factor) * rows.plain, cotangent) if is_narrow else None
        of_output, of_matrix = maps.values.gradients(of_left=of_left, of_right=_outer(of_value, sources))
        parameters |= _named(
            (None if of_output is None else np.swapaxes(of_output, 1, 2), of_matrix), ("output", "value")
        )
    tokens = _transposed(pairs, of_query, maps.scores.left)
    tokens[:, :n] += _transposed(pairs, of_key, maps.scores.right) + _transposed(pairs, of_value, maps.values.right)
    return Pullback(tokens=tokens.astype(x.dtype), weights=weights, parameters=parameters)


def _named(gradients: tuple[Floats | None, ...], names: tuple[str, ...]) -> dict[str, Floats]:
    return {name: own for name, own in zip(names, gradients, strict=True) if own is not None}


def _outer(gradients: Floats, x: Tokens) -> Floats:
    """Return Σ_i g_i x_iᵀ (R, k, d): of each replica alone, and without BLAS, whose sums may depend on its threads."""
    return np.stack([np.einsum("ik,id->kd", *of_replica) for of_replica in zip(gradients, x, strict=True)])


def _transposed(pairs: Pairs, gradients: Floats, matrix: Floats | None) -> Floats:
    return gradients if matrix is None else pairs.mapped(gradients, matrix.T)


class SoftmaxTangent:
    """The derivative of softmax attention, or attention by distances, with its drift and partition sums at hand.

    Parameters
    ----------
    maps : Maps
    weights : ndarray of float64, shape (n_sources,), optional
        They may be 0. None: 1/N for every token.
    decay : float, optional
        λ of a causal mask; None without.
    """

    def __init__(self, maps: Maps, weights: Floats | None, *, decay: float | None = None) -> None:
        self.maps, self.weights, self.decay = maps, weights, decay

    def jvp(self, x: Tokens, tangent: Tokens, *, drift: Tokens, log_z: Floats, n_threads: int) -> Tokens:
        """Return the derivative of the drift along a tangent."""
        return self.linearized(x, drift=drift, log_z=log_z, n_threads=n_threads)(tangent)

    def linearized(self, x: Tokens, *, drift: Tokens, log_z: Floats, n_threads: int) -> Callable[[Tokens], Tokens]:
        """Return the derivative of the drift as a function of the tangent."""
        pairs = self._pairs(x, log_z, n_threads=n_threads)

        def derivative(tangent: Tokens) -> Tokens:
            sums = score_and_value_sums(pairs, tangent)
            out = of_values(pairs, sums.products + sums.plain, factor=self.maps.factor)
            out -= sums.terms[..., None] * drift
            return out.astype(x.dtype)

        return derivative

    def vjp(self, x: Tokens, cotangent: Tokens, *, drift: Tokens, log_z: Floats, n_threads: int) -> Pullback:
        """Return the gradients of the sum of cotangent times drift."""
        pairs = self._pairs(x, log_z, n_threads=n_threads)
        return pulled_back(pairs, cotangent, offsets=inner(cotangent, drift))

    def _pairs(self, x: Tokens, log_z: Floats, *, n_threads: int) -> Pairs:
        p = weights_of(self.weights, x.shape[1])
        return Pairs(self.maps, x, p=p, log_rows=-log_z, decay=self.decay, n_threads=n_threads)


class UnnormalizedTangent:
    """The derivative of unnormalised attention.

    Its sums are those of e^{β(⟨x, y⟩ − 1)}, which cannot overflow, times a factor.

    Parameters
    ----------
    maps : Maps
    weights : ndarray of float64, shape (n_sources,), optional
    is_rescaled : bool
        Whether the attention itself has these sums.
    mass : ndarray of float64, shape (N,), optional
        What the sums are divided by, token by token, under a causal mask.
    decay : float, optional
        λ of the mask; None without.
    """

    def __init__(
        self,
        maps: Maps,
        weights: Floats | None,
        *,
        is_rescaled: bool,
        mass: Floats | None = None,
        decay: float | None = None,
    ) -> None:
        self.maps, self.weights, self.mass, self.decay = maps, weights, mass, decay
        self.is_rescaled, self.factor = is_rescaled, 1.0 if is_rescaled else math.exp(maps.scale)

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Return the derivative of the drift along a tangent."""
        sums = score_and_value_sums(self._pairs(x, n_threads=n_threads), tangent)
        return (self.factor * self.maps.factor * (sums.products + sums.plain)).astype(x.dtype)

    def vjp(self, x: Tokens, cotangent: Tokens, *, drift: Tokens | None, n_threads: int) -> Pullback:
        """Return the gradients of the sum of cotangent times drift, which is needed under a mask alone."""
        pairs = self._pairs(x, n_threads=n_threads)
        back = pulled_back(pairs, cotangent, offsets=None, factor=self.factor)
        parameters, weights = dict(back.parameters), back.weights
        if self.is_rescaled:
            parameters["beta"] = parameters["beta"] - (weights * pairs.p).sum(axis=1)
        if self.mass is not None and self.decay is not None and drift is not None:
            of_mass = inner(cotangent, drift) / self.mass
            weights = weights - _decayed_sums(of_mass[:, ::-1], self.decay / x.shape[1])[:, ::-1]
        return Pullback(tokens=back.tokens, weights=weights, parameters=parameters)

    def _pairs(self, x: Tokens, *, n_threads: int) -> Pairs:
        log_rows = np.full((1, x.shape[1]), -self.maps.scale)
        if self.mass is not None:
            log_rows -= np.log(self.mass)
        p = weights_of(self.weights, x.shape[1])
        return Pairs(self.maps, x, p=p, log_rows=log_rows, decay=self.decay, n_threads=n_threads)


def _decayed_sums(values: Floats, decay: float) -> Floats:
    """Return Σ_{j<=i} values_j e^{−decay (i−j)} along the last axis."""
    from scipy.signal import lfilter  # takes long to import

    return np.asarray(lfilter([1.0], [1.0, -math.exp(-decay)], values))


def inner(x: Tokens, y: Tokens) -> Floats:
    """Return ⟨x_i, y_i⟩ of each token, float64 (R, N)."""
    return np.asarray(np.einsum("rik,rik->ri", x, y, dtype=np.float64))


def weights_of(weights: Floats | None, n_tokens: int) -> Floats:
    """Return weights as they are given to a plan, or 1/N."""
    return np.full(n_tokens, 1 / n_tokens) if weights is None else weights
