"""A head of attention with a symmetric QᵀK: one exponential serves both orders of a pair of tokens.

With the eigenvalues λ_l and eigenvectors e_l of QᵀK, a score is the sum of sign(λ_l) y_l(x) y_l(z) over l, with
y_l(x) = |λ_l|^½ ⟨e_l, x⟩, and as many y_l count as QᵀK has rank. So the kernel of pairs takes the vectors y for keys,
with their signs for queries, and the values of the head. That is k products of a score, one exponential and 2 (v + 1)
products of the sums for two orders: (k + 2v + 15)/2 operations of an ordered pair for AVX-512 and float64, where the
kernel of rows takes k + v + 18.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.interactions.head import EXPONENTIAL, Head
from chaosphere.kernels import attention as kernel
from chaosphere.kernels.rows import map_tokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SymmetricHead:
    """Weights p_j 2^(q_i · y_j − shift) of keys y and queries q that are y up to signs, and the means that they give.

    Attributes
    ----------
    head : Head
        Has the values and the output.
    key : ndarray, shape (k, d), optional
        y = key · x; None: y = scale · x.
    signs : ndarray, shape (k, k), optional
        Diagonal, q = signs · y; None: q = y.
    scale, shift : float
    """

    head: Head
    key: Tokens | None
    signs: Tokens | None
    scale: float
    shift: float

    @classmethod
    def of_form(cls, head: Head, *, form: Floats) -> SymmetricHead:
        """Return the attention of a head with weights 2^⟨form x, z⟩.

        Parameters
        ----------
        head : Head
        form : ndarray of float64, shape (d, d)
            Symmetric, of a norm for which no power, not shifted, overflows or is lost. Without a shift, exponents as
            small as most are keep their digits.
        """
        values, vectors = np.linalg.eigh(0.5 * (form + form.T))
        order = np.argsort(-abs(values), kind="stable")
        rank = max(1, int((abs(values) > 1e-15 * len(form) * abs(values).max()).sum()))
        values, vectors = values[order[:rank]], vectors[:, order[:rank]]
        key = np.ascontiguousarray((vectors * np.sqrt(abs(values))).T, dtype=head.dtype)
        signs = np.diag(np.sign(values)).astype(head.dtype) if (values < 0).any() else None
        return cls(head=head, key=key, signs=signs, scale=1.0, shift=0.0)

    @classmethod
    def of_multiple(cls, head: Head, *, scale: float, shift: float) -> SymmetricHead:
        """Return the attention of a head with weights 2^(scale² ⟨x, z⟩ − shift), without matrices Q and K.

        Parameters
        ----------
        head : Head
        scale, shift : float
        """
        return cls(head=head, key=None, signs=None, scale=scale, shift=shift)

    def operations(self, dim: int) -> float:
        """Return the vector operations of a pair of tokens in R^d."""
        key_dim = dim if self.key is None else len(self.key)
        value_dim = dim if self.head.value is None else len(self.head.value)
        return 0.5 * (key_dim + EXPONENTIAL) + value_dim + 1

    def attend(
        self, x: Tokens, *, weights: Floats | None, n_threads: int, first: int = 0, stop: int = -1
    ) -> tuple[Tokens, Floats]:
        """Return means and sums of the weights of tokens (R, N, d), or of rows first … stop − 1.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
        weights : ndarray of float64, shape (N,), optional
        n_threads : int
        first, stop : int
            Where blocks start, or the end.
        """
        key, value = (x if m is None else map_tokens(x, m, n_threads) for m in (self.key, self.head.value))
        p = None if weights is None else weights[None]
        several: dict[str, Any] = {"value_scale": self.head.value_scale, "values_of_x": value}
        mean, sums = kernel.attend_bounded(
            key, self.signs, self.head.output, p, self.scale, self.shift, True, n_threads, first, stop, **several
        )
        return mean, sums
