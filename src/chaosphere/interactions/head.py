"""A head of attention: its matrices, and its sums with queries and keys in R^k and values in R^v.

In the kernel of rows a pair takes k products for its score, v + 1 for the sums, one exponential, and 4 operations of
the running maximum: k + v + 18 for AVX-512 and float64. Scores that the norms of Q and K show to be small need no
maximum. The sums over pairs of tokens in R^d take (3d + 15)/2 where QᵀK is symmetric and 2d + 14 where it is not; for
d = 64 and matrices of 16 rows that is 142, against 50 or 46. The benches `general` and `head` in
benches/bench_attention.py measure both. `chaosphere.interactions.symmetric_head` takes fewer operations where QᵀK is
symmetric.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.shape import Shape
from chaosphere.interactions.few_tokens import are_even, has_few_keys, is_slow
from chaosphere.kernels.replica_rows import attend_replica_rows
from chaosphere.kernels.rows import SMALL_SCORE, attend_rows, map_tokens

LOG2_E = math.log2(math.e)
# Vector operations of a pair besides its products: those of one exponential (docs/developers/kernels.md, AVX-512 and
# float64), and, in the kernel of rows, those of the running maximum.
EXPONENTIAL, MAXIMUM = 13, 4
_MAX_CANCELLATION = 8.0  # of |Q| |K| over |QᵀK|: no more than three bits of a score are lost
_MAX_VALUE_SHARE = 1e-8  # of the largest float: sums of many values stay finite


class Head:
    """Weights p_j e^{⟨Qx, Ky_j⟩}, or p_j e^{−|Qx − Ky_j|²}, and the means of values that they give.

    Parameters
    ----------
    dtype : dtype
        Of the tokens.
    query, key : ndarray of float64, shape (k, d), optional
        Q and K; None for the identity.
    value : ndarray of float64, shape (v, d), optional
        Values are its products with the tokens; None for the tokens.
    output : ndarray of float64, shape (d, v), optional
        Applied to the means.
    scale : float
        Multiplies the scores ⟨Qx, Ky⟩.
    value_scale : float
        Multiplies the means.
    is_distance : bool
        Weights e^{−|Qx − Ky|²}, up to a factor of each query's own. The scale is 2 then.

    Notes
    -----
    The distance is that of e^{2⟨Qx, Ky⟩} with token weights p_j e^{−|Ky_j|²}, which the kernel takes as a bias of the
    exponents: no weight of a token vanishes by itself.
    """

    def __init__(
        self,
        dtype: Any,
        *,
        query: Floats | None = None,
        key: Floats | None = None,
        value: Floats | None = None,
        output: Floats | None = None,
        scale: float = 1.0,
        value_scale: float = 1.0,
        is_distance: bool = False,
    ) -> None:
        maps = (None if m is None else np.ascontiguousarray(m, dtype=dtype) for m in (query, key, value, output))
        self.query, self.key, self.value, self.output = maps
        self.dtype = dtype
        self.scale, self.value_scale, self.is_distance = scale * LOG2_E, value_scale, is_distance
        sizes = [1.0 if m is None else norm(m) for m in (query, key)]
        largest = abs(self.scale) * sizes[0] * sizes[1] + (LOG2_E * sizes[1] ** 2 if is_distance else 0.0)
        self.is_small = bool(largest <= SMALL_SCORE)  # exponents of tokens on the sphere

    def operations(self, dim: int) -> float:
        """Return the vector operations of a pair of tokens in R^d."""
        key_dim = dim if self.key is None else len(self.key)
        value_dim = dim if self.value is None else len(self.value)
        return key_dim + value_dim + 1 + EXPONENTIAL + (MAXIMUM if self.is_distance or not self.is_small else 0)

    def attend(
        self, queries: Tokens, keys: Tokens, *, weights: Floats | None, n_threads: int
    ) -> tuple[Tokens, Floats, Floats]:
        """Return means, sums of the weights and the base-2 exponents of these, as `attend_rows` does.

        Parameters
        ----------
        queries : ndarray, shape (R, M, d)
        keys : ndarray, shape (R, N, d)
            The tokens that are summed over.
        weights : ndarray of float64, shape (N,), optional
        n_threads : int
        """
        if has_few_keys(keys.shape[1], keys.shape[2]):
            mean, sums, exponents = self.attend_few(queries, keys, weights=weights, n_threads=n_threads)
            return mean, sums, exponents
        q, k, v = self.projected(queries, keys, n_threads=n_threads)
        bias = -LOG2_E * np.square(k, dtype=np.float64).sum(axis=2) if self.is_distance else None
        return attend_rows(
            q,
            k,
            None,
            self.output,
            weights,
            self.scale,
            n_threads,
            self.value_scale,
            values=v,
            bias=bias,
            is_small=self.is_small and bias is None,
        )

    def attend_few(
        self,
        queries: Tokens,
        keys: Tokens,
        *,
        weights: Floats | None,
        n_threads: int,
        decay: float = 0.0,
        **several: Any,
    ) -> Any:
        """Return the same of few keys, or what `attend_replica_rows` gives for a decay and several other arguments."""
        y = np.ascontiguousarray(keys)
        return attend_replica_rows(
            y if queries is keys else np.ascontiguousarray(queries),
            y,
            weights,
            self.scale,
            n_threads,
            self.value_scale,
            query=self.query,
            key=self.key,
            value=self.value,
            output=self.output,
            is_distance=self.is_distance,
            decay=decay,
            is_small=self.is_small and are_even(weights) and is_slow(decay * keys.shape[1], y.dtype),
            **several,
        )

    def projected(self, queries: Tokens, keys: Tokens, *, n_threads: int) -> tuple[Tokens, Tokens, Tokens | None]:
        """Return Qx of the queries, Ky of the keys, and their values, None where these are Ky."""
        q, k, v = (
            x if matrix is None else map_tokens(x, matrix, n_threads)
            for x, matrix in ((queries, self.query), (keys, self.key), (keys, self.value))
        )
        return q, k, None if v is k else v


def set_matrices(spec: Any, *, output: Any = None) -> None:
    """Check and convert the matrices of a frozen spec: Q and K (k, d), and V (d, d); without V, δ is 1 by default.

    With an output (d, v), V is the product of that and a value (v, d), and both are set.
    """
    fill = object.__setattr__
    if (spec.query is None) != (spec.key is None):
        raise ValueError("query and key must be given together; for QᵀK = βI give beta alone")
    if spec.value_scale is not None and spec.value is not None:
        raise ValueError("value_scale must not be given together with value: V is either δI or general")
    if output is not None and spec.value is None:
        raise ValueError("output must be given together with value: V is output times value")
    for name in ("query", "key"):
        if getattr(spec, name) is not None:
            fill(spec, name, checks.matrix(getattr(spec, name), name))
    if spec.query is not None and spec.query.shape != spec.key.shape:
        raise ValueError(f"query and key must have one shape (k, d), got {spec.query.shape} and {spec.key.shape}")
    if spec.value is None:
        if spec.value_scale is None:
            fill(spec, "value_scale", 1.0)
    elif output is None:
        fill(spec, "value", checks.square_matrix(spec.value, "value"))
    else:
        fill(spec, "value", checks.matrix(spec.value, "value"))
        fill(spec, "output", checks.matrix(output, "output", low=1))
        if spec.output.shape != spec.value.shape[::-1]:
            shapes = f"{spec.output.shape} and {spec.value.shape}"
            raise ValueError(f"output and value must have shapes (d, v) and (v, d), got {shapes}")
    dims = {m.shape[1] for m in (spec.query, spec.value) if m is not None}
    if len(dims) > 1:
        raise ValueError(f"query, key and value must have one number of columns, that of x, got {sorted(dims)}")


def check_shape(spec: Any, shape: Shape, *, value: Floats | None, value_scale: float | None) -> None:
    """Raise ValueError unless V, a matrix or δI, and the matrices of a spec serve a dtype and a dimension."""
    limit = largest_value(shape.dtype)
    size = abs(value_scale or 0.0) if value is None else float(abs(value).max())
    if not size <= limit:
        names = "output times value" if spec.output is not None else "value"
        name = "value_scale" if value is None else f"the entries of {names}"
        raise ValueError(f"{name} must be <= {limit:.3g} in size for {shape.dtype} tokens, got {size:.6g}")
    for matrix in (spec.query, spec.value):
        if matrix is not None and matrix.shape[1] != shape.dim:
            raise ValueError(f"x must have dim {matrix.shape[1]}, that of the matrices, got {shape.dim}")


def balanced(left: Floats, right: Floats) -> tuple[Floats, Floats] | None:
    """Return matrices of about one norm and the same product AᵀB, by a power of two; None if the product cancels."""
    sizes = norm(left), norm(right)
    if not 0 < sizes[0] * sizes[1] <= _MAX_CANCELLATION * product_norm(left, right):
        return None
    shift = round(0.5 * (math.log2(sizes[0]) - math.log2(sizes[1])))
    return np.ldexp(left, -shift), np.ldexp(right, shift)


def scalar(form: Floats) -> float | None:
    """Return β if a square matrix is βI with β >= 0 to rounding, else None."""
    beta = multiple_of_identity(form)
    return beta if beta is not None and beta >= 0 else None


def multiple_of_identity(matrix: Floats) -> float | None:
    """Return c if a square matrix is cI to rounding, else None."""
    factor = float(np.trace(matrix)) / len(matrix)
    is_multiple = abs(matrix - factor * np.eye(len(matrix))).max() <= 1e-15 * len(matrix) * abs(factor)
    return factor if is_multiple else None


def norm(matrix: Floats) -> float:
    """Return |A|₂, infinite if it overflows."""
    largest = float(abs(matrix).max())
    return largest * float(np.linalg.norm(matrix / largest, 2)) if 0 < largest < math.inf else largest


def product_norm(left: Floats, right: Floats) -> float:
    """Return |AᵀB|₂ of matrices of one shape, infinite or not a number if it overflows.

    Of matrices of few rows it is that of a matrix with as many columns: in place of Aᵀ the factor R of Aᵀ = QR.
    """
    if len(left) < left.shape[1]:
        left, right = (np.asarray(np.linalg.qr(matrix.T, mode="r")).T for matrix in (left, right))
    with np.errstate(over="ignore", invalid="ignore"):
        return norm(left.T @ right)


def largest_value(dtype: Any) -> float:
    """Return the largest size of a drift for tokens of a dtype."""
    return min(_MAX_VALUE_SHARE * float(np.finfo(dtype).max), checks.MAX_SIZE)
