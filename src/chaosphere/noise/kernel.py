"""What is read of a covariance kernel to tell what it implies about tokens."""

from __future__ import annotations

from typing import Protocol, overload

from chaosphere.common.chebyshev import Array


class Kernel(Protocol):
    """The functions κ and η of E[G(x) G(y)ᵀ] = κ(u) I_d + η(u) y xᵀ, u = ⟨x, y⟩, as `CovarianceKernel` has them."""

    @property
    def dim(self) -> int:
        """Dimension d of the surrounding space."""

    @property
    def error_estimate(self) -> float:
        """Estimated error of κ on [−1, 1], relative to κ(1)."""

    @property
    def is_odd(self) -> bool:
        """Whether the pushes on tokens are odd almost surely."""

    @property
    def has_eta(self) -> bool:
        """Whether η may differ from 0."""

    @overload
    def __call__(self, u: float) -> float: ...
    @overload
    def __call__(self, u: Array) -> Array: ...
    def __call__(self, u: float | Array) -> float | Array:
        """Return κ(u)."""

    @overload
    def derivative(self, u: float) -> float: ...
    @overload
    def derivative(self, u: Array) -> Array: ...
    def derivative(self, u: float | Array) -> float | Array:
        """Return κ′(u)."""

    @overload
    def difference_quotient(self, u: float) -> float: ...
    @overload
    def difference_quotient(self, u: Array) -> Array: ...
    def difference_quotient(self, u: float | Array) -> float | Array:
        """Return (κ(1) − κ(u))/(1 − u)."""

    @overload
    def eta(self, u: float) -> float: ...
    @overload
    def eta(self, u: Array) -> Array: ...
    def eta(self, u: float | Array) -> float | Array:
        """Return η(u)."""
