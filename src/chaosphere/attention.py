"""Self-attention: the interaction between tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from chaosphere import checks
from chaosphere.checks import Floats, Tokens
from chaosphere.kernels import attention as kernel

LOG2_E = math.log2(math.e)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttentionResult:
    """One evaluation of attention.

    Attributes
    ----------
    value : ndarray
        Attn(μ_x, x_i), shape and dtype of x.
    log_partition : ndarray of float64, shape (N,) or (R, N)
        log Σ_j p_j e^{⟨Qx_i, Kx_j⟩}.
    energy : float, ndarray of shape (R,) or None
        E_β from the same pass, to an absolute error of (2 + 2β) ε e^β, ε = 2.2e-16 or 1.2e-7 (`measures.energy` keeps
        relative accuracy near consensus, for a pass of its own); None unless QᵀK = βI with β <= 700.
    """

    value: Tokens
    log_partition: Floats
    energy: float | Floats | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SoftmaxAttention:
    """Softmax self-attention without the 1/√d scaling; the sum includes the token itself.

    Attn(μ, x) = ∫ e^{⟨Qx, Ky⟩} V y dμ(y) / ∫ e^{⟨Qx, Ky⟩} dμ(y),  μ = Σ p_i δ_{x_i}   (arXiv:2604.26898, eq. 1.1)

    Parameters
    ----------
    beta : float, optional
        QᵀK = βI, β >= 0 (default 1, unless query and key are given).
    value_scale : float, optional
        V = δI: 1 attracts (default), 0 switches off, −1 repels.
    query, key : array_like, shape (d, d), optional
        General Q and K, both or none, instead of beta.
    value : array_like, shape (d, d), optional
        General V, instead of value_scale.

    Raises
    ------
    TypeError, ValueError
        If both forms of a matrix are given, shapes disagree, or an entry is not finite.

    Notes
    -----
    Cost: O(N² d) per system, memory O(N d). When QᵀK is symmetric one exponential serves (i, j) and (j, i).
    Results have the same bits for any number of threads. Weights p_j e^{⟨Qx_i, Kx_j⟩} carry a relative rounding error
    of about ‖QᵀK‖ ε (ε = 2.2e-16 or 1.2e-7); none overflows, whatever the size of QᵀK.

    Examples
    --------
    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(500, 3, rng=0)
    >>> y = cs.SoftmaxAttention(beta=0.0)(x)            # β = 0 gives the mean
    >>> bool(abs(y - x.mean(axis=0)).max() < 1e-15)
    True
    """

    beta: float | None = None
    value_scale: float | None = None
    query: Floats | None = None
    key: Floats | None = None
    value: Floats | None = None

    def __post_init__(self) -> None:
        """Check, and fill in the defaults."""
        fill = object.__setattr__
        if (self.query is None) != (self.key is None):
            raise ValueError("query and key must be given together; for QᵀK = βI give beta alone")
        if self.beta is not None and self.query is not None:
            raise ValueError("beta must not be given together with query and key: QᵀK is either βI or general")
        if self.value_scale is not None and self.value is not None:
            raise ValueError("value_scale must not be given together with value: V is either δI or general")
        for name in ("query", "key", "value"):
            if getattr(self, name) is not None:
                fill(self, name, checks.square_matrix(getattr(self, name), name))
        shapes = {m.shape for m in (self.query, self.key, self.value) if m is not None}
        if len(shapes) > 1:
            raise ValueError(f"query, key and value must have one shape, got {sorted(shapes)}")
        if self.query is None:
            fill(self, "beta", checks.number(1.0 if self.beta is None else self.beta, "beta", low=0))
        if self.value is None:
            scale = 1.0 if self.value_scale is None else self.value_scale
            fill(self, "value_scale", checks.number(scale, "value_scale"))

    def __call__(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> Tokens:
        """Return Attn(μ_x, x_i) for every token; parameters as in `evaluate`.

        Returns
        -------
        ndarray
            Of the shape and dtype of x.
        """
        return self.evaluate(x, weights, n_threads=n_threads).value

    def evaluate(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> AttentionResult:
        """Return attention with its partition sums and, for QᵀK = βI, the energy E_β.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems. Any layout, never copied whole.
        weights : array_like, shape (N,), optional
            p_i >= 0 with sum 1 (default 1/N).
        n_threads : int, optional
            Default: all that OpenMP may use. Does not change a bit of the result.

        Returns
        -------
        AttentionResult

        Raises
        ------
        TypeError, ValueError
            If an argument breaks a rule above, or β is so large that the rounding of x alone would change the weights
            by a hundredth.
        """
        batch = checks.tokens(x)
        n_threads = checks.threads(n_threads)
        n_tokens = batch.shape[1]
        p = checks.weights(weights, n_tokens)
        self._check_size(batch)
        largest = 1.0 if p is None else float(p.max())
        relative = None if p is None else p / largest
        value_map = None if self.value is None else self.value.astype(x.dtype)
        factor = 1.0 if self.value_scale is None else self.value_scale
        mean, log2_z = self._mean(batch, relative, value_map, n_threads)
        if factor != 1.0:
            mean *= x.dtype.type(factor)
        log_z = log2_z / LOG2_E + math.log(largest if p is not None else 1 / n_tokens)
        energy = self._energy(log_z, p)
        if x.ndim == 3:
            return AttentionResult(value=mean, log_partition=log_z, energy=energy)
        return AttentionResult(
            value=mean[0], log_partition=log_z[0], energy=None if energy is None else float(energy[0])
        )

    def rows_of(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> Tokens:
        """Return rows first … stop − 1 of `self(x)`, x (R, N, d): same bits, a share of the work.

        Both must be where a block of the kernel starts (`kernels.attention.block_size`), or the end.
        """
        self._check_size(x)
        value_map = None if self.value is None else self.value.astype(x.dtype)
        mean, _ = self._mean(x, None, value_map, n_threads, first, stop)
        if self.value_scale is not None and self.value_scale != 1.0:
            mean *= x.dtype.type(self.value_scale)
        return mean

    def _check_size(self, x: Tokens) -> None:
        limit = 0.01 / float(np.finfo(x.dtype).eps)
        if self.beta is not None:
            size, name = self.beta, "beta"
        else:
            size, name = float(np.linalg.norm(self._form(), 2)), "the norm of QᵀK"
        if size > limit:
            raise ValueError(
                f"{name} must be <= {limit:.3g} for {x.dtype} tokens, got {size:.6g}: beyond it the rounding of the "
                "tokens decides the weights"
            )
        for matrix in (self.query, self.value):
            if matrix is not None and matrix.shape[0] != x.shape[2]:
                raise ValueError(f"x must have dim {matrix.shape[0]}, that of the matrices, got shape {x.shape}")

    def _mean(
        self, x: Tokens, p: Floats | None, value_map: Tokens | None, n_threads: int, first: int = 0, stop: int = -1
    ) -> tuple[Tokens, Floats]:
        """Return the weighted means, mapped by V, and log2 of the sums of p_j e^{⟨Qx_i, Kx_j⟩}; of all rows or some."""
        own = x if stop < 0 else x[:, first:stop]
        if self.beta is not None:
            query_map, scale, shift = None, math.sqrt(self.beta * LOG2_E), self.beta * LOG2_E
            row_scale = self.beta * LOG2_E
            # Tokens off the sphere by the tolerance push exponents above 0, by this much at most.
            is_symmetric = 2.5 * checks.SPHERE_TOLERANCE[x.dtype] * self.beta * LOG2_E < 100
        else:
            form = self._form()
            norm = float(np.linalg.norm(form, 2))
            is_symmetric = bool(abs(form - form.T).max() <= 1e-15 * norm * len(form))
            # One shift for all pairs must neither overflow nor let a whole row vanish.
            is_symmetric &= 2 * norm * LOG2_E < (800 if x.dtype == np.float64 else 50)
            if is_symmetric:
                form = 0.5 * (form + form.T)
            query_map, scale, shift = np.ascontiguousarray(form * LOG2_E, dtype=x.dtype), 1.0, norm * LOG2_E
            row_scale = 1.0
        if not is_symmetric:
            mean, log2_z = kernel.attend_rows(own, x, query_map, value_map, p, row_scale, n_threads)
            return mean, log2_z
        mean, z = kernel.attend_symmetric(x, query_map, value_map, p, scale, shift, n_threads, first, stop)
        with np.errstate(divide="ignore"):
            log2_z = np.log2(z) + shift
        # A token with no weight of its own, far from all others: its sum underflowed, so take it alone.
        lost = z < (2.0**-900 if x.dtype == np.float64 else 2.0**-60)
        for replica in np.flatnonzero(lost.any(axis=1)):
            rows = np.flatnonzero(lost[replica])
            alone, log2_alone = kernel.attend_rows(
                own[replica][None, rows], x[replica : replica + 1], query_map, value_map, p, row_scale, n_threads
            )
            mean[replica, rows], log2_z[replica, rows] = alone[0], log2_alone[0]
        return mean, log2_z

    def _form(self) -> Floats:
        """Return A with ⟨Qx, Ky⟩ = ⟨Ax, y⟩."""
        assert self.query is not None
        assert self.key is not None
        return np.asarray(self.key.T @ self.query)

    def _energy(self, log_z: Floats, p: Floats | None) -> Floats | None:
        if self.beta is None or self.beta > 700:
            return None
        ratio = np.exp(log_z - self.beta)
        missing = 1 - ratio if p is None else p * (1 - ratio)
        total = missing.mean(axis=1) if p is None else missing.sum(axis=1)
        return np.asarray(0.5 * math.exp(self.beta) * np.maximum(total, 0))
