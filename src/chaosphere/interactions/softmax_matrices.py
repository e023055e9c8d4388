"""QᵀK and V of softmax attention: as numbers, as matrices, as heads of few dimensions, and the checks of their size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chaosphere.common import schedules
from chaosphere.common.checks import Floats
from chaosphere.common.schedules import Schedule
from chaosphere.common.shape import Shape
from chaosphere.interactions.head import Head, balanced, check_shape, multiple_of_identity, product_norm


class HasMatrices:
    """The part of `chaosphere.SoftmaxAttention` that knows its scores, βI or QᵀK, and its values, δI or V."""

    __slots__ = ()
    beta: Schedule | None
    value_scale: Schedule | None
    query: Floats | None
    key: Floats | None
    value: Floats | None
    output: Floats | None

    @property
    def _beta(self) -> float | None:
        return schedules.constant(self.beta, "beta")

    @property
    def _is_hard(self) -> bool:
        """Whether this is hardmax attention."""
        return schedules.is_constant(self.beta) and self.beta == math.inf

    @property
    def _value_scale(self) -> float | None:
        return schedules.constant(self.value_scale, "value_scale")

    def _scalar(self) -> float | None:
        """Return β, of either sign, if QᵀK = βI to rounding, else None."""
        if self._is_hard and self.query is not None:
            return None
        return self._beta if self._beta is not None else multiple_of_identity(self._form())

    def _need_finite(self, what: str) -> None:
        if self._is_hard:
            raise ValueError(f"beta must be finite for {what}, got inf")

    def _check_norm(self, dtype: Any) -> None:
        if self._is_hard:
            return
        limit = largest_norm(dtype)
        if self._beta is not None:
            size, name = abs(self._beta), "beta" if self._beta >= 0 else "the size of beta"
        else:
            assert self.query is not None
            assert self.key is not None
            size, name = product_norm(self.key, self.query), "the norm of QᵀK"
        if not size <= limit:
            raise ValueError(
                f"{name} must be <= {limit:.3g} for {np.dtype(dtype)} tokens, got {size:.6g}: beyond it the rounding "
                "of the tokens decides the weights"
            )

    def _check_shape(self, shape: Shape) -> None:
        """Raise ValueError unless this attention serves tokens of a dtype and dimension."""
        if shape.dtype != np.float64:  # for which the spec is checked
            self._check_norm(shape.dtype)
        check_shape(self, shape, value=self._value_matrix(), value_scale=self._value_scale)

    def _form(self) -> Floats:
        """Return A with ⟨Qx, Ky⟩ = ⟨Ax, y⟩; not finite where the product of large entries is not."""
        assert self.query is not None
        assert self.key is not None
        with np.errstate(over="ignore", invalid="ignore"):  # which `_check_norm` sees
            return np.asarray(self.key.T @ self.query)

    def _value_matrix(self) -> Floats | None:
        """Return V, not finite where the product of large entries is not; None where it is δI."""
        if self.value is None or self.output is None:
            return self.value
        with np.errstate(over="ignore", invalid="ignore"):  # which `_check_shape` sees
            return np.asarray(self.output @ self.value)

    def _scalar_value(self) -> float | None:
        """Return δ if V = δI to rounding, else None."""
        value = self._value_matrix()
        return self._value_scale if value is None else multiple_of_identity(value)

    def _matrices(self, shape: Shape, *, beta: float | None) -> dict[str, Any]:
        """Return what a direct sum takes for scores and values."""
        form = None if beta is not None else self._form()
        if beta is not None and beta < 0:  # one shift of the exponents by |β|, as for any symmetric form
            form, beta = beta * np.eye(shape.dim), None
        value = self._value_matrix()
        value_scale = 1.0 if self._value_scale is None else self._value_scale
        scores = values = head = None
        if self.query is not None and self.key is not None and len(self.query) < shape.dim:
            scores = balanced(self.query, self.key)
        if self.output is not None and self.value is not None and len(self.value) < shape.dim:
            values = balanced(self.output.T, self.value)
        if scores is not None or values is not None:
            query, key = (form, None) if scores is None else scores
            output, narrow_value = (value, None) if values is None else (values[0].T, values[1])
            matrices: dict[str, Any] = {"query": query, "key": key, "value": narrow_value, "output": output}
            head = Head(shape.dtype, scale=1.0 if beta is None else beta, value_scale=value_scale, **matrices)
        parameters = {name: getattr(self, name) for name in ("beta", "value_scale", "query", "key", "value", "output")}
        several: dict[str, Any] = {"form": form, "value": value, "value_scale": value_scale, "parameters": parameters}
        return {"beta": beta, "head": head, **several}


def largest_norm(dtype: Any) -> float:
    """Return the largest norm of QᵀK for tokens of a dtype."""
    return 0.01 / float(np.finfo(dtype).eps)
