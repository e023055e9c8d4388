"""Losses of the final tokens of a network, with their gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import short

Objective = Callable[[Tokens], tuple[float, Tokens]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeanRegression:
    """Regression by the mean of the tokens of each sequence: (1/2B) Σ_b |(1/N) Σ_i x_{b,i} − y_b|².

    Parameters
    ----------
    targets : array_like, shape (B, d)
        y_b, one for each sequence.

    Raises
    ------
    TypeError, ValueError
        If the targets are no finite matrix.

    See Also
    --------
    chaosphere.training.KernelMatching : Distance from a target measure.

    Examples
    --------
    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(5, 3, rng=0)[None]
    >>> value, gradient = cs.training.MeanRegression(targets=x.mean(axis=1))(x)
    >>> value, gradient.shape
    (0.0, (1, 5, 3))
    """

    targets: Any

    def __post_init__(self) -> None:
        """Check."""
        object.__setattr__(self, "targets", checks.matrix(self.targets, "targets"))

    def __call__(self, x: Tokens) -> tuple[float, Tokens]:
        """Return the loss and its gradient in the tokens.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (B, N, d)
            Tokens of B sequences.

        Returns
        -------
        value : float
            The loss.
        gradient : ndarray of float64, shape (B, N, d)
            As vectors of R^d.

        Raises
        ------
        TypeError, ValueError
            If x is no finite array of three axes, there is not one target of d entries for each sequence, or the loss
            is not finite.

        See Also
        --------
        chaosphere.training.AttentionNetwork.gradient : Gradients of a network.
        chaosphere.training.TrainingLimit.gradient : Gradients in the limit.

        Examples
        --------
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(5, 3, rng=0)[None]
        >>> cs.training.MeanRegression(targets=x.mean(axis=1))(x)[0]
        0.0
        """
        n_sequences, n_tokens, dim = _checked(x).shape
        if self.targets.shape != (n_sequences, dim):
            raise ValueError(f"targets must have shape ({n_sequences}, {dim}), got {self.targets.shape}")
        residual = x.mean(axis=1) - self.targets
        with np.errstate(over="ignore"):
            value = _finite(float(np.square(residual).sum()) / (2 * n_sequences))
        return value, np.repeat(residual[:, None] / (n_sequences * n_tokens), n_tokens, axis=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KernelMatching:
    """Half the squared maximum mean discrepancy from a target measure, averaged over the sequences.

    The kernel is k(x, y) = e^{β(⟨x, y⟩ − 1)}, with μ_b of equal weights on the tokens of sequence b and ν of equal
    weights on the points: (1/2B) Σ_b ∬ k d(μ_b − ν) d(μ_b − ν).

    Parameters
    ----------
    points : array_like, shape (M, d)
        Of ν, on the unit sphere.
    beta : float
        β > 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    See Also
    --------
    chaosphere.training.MeanRegression : Regression by the mean of the tokens.

    Notes
    -----
    The pairs of tokens, and of tokens and points, are held at once: with temporary arrays up to 24 B N (N + M) bytes.
    No BLAS is called, so that the number of threads does not matter.

    Examples
    --------
    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(5, 3, rng=0)
    >>> value, gradient = cs.training.KernelMatching(points=x)(x[None])
    >>> abs(value) < 1e-15, gradient.shape
    (True, (1, 5, 3))
    """

    points: Any
    beta: float = 1.0

    def __post_init__(self) -> None:
        """Check."""
        points = checks.matrix(self.points, "points")
        checks.tokens(points, "points")
        object.__setattr__(self, "points", points)
        checks.numbers(self, "beta", above=0)

    def __call__(self, x: Tokens) -> tuple[float, Tokens]:
        """Return the loss and its gradient in the tokens.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (B, N, d)
            Tokens of B sequences.

        Returns
        -------
        value : float
            The loss.
        gradient : ndarray of float64, shape (B, N, d)
            As vectors of R^d.

        Raises
        ------
        TypeError, ValueError
            If x is no finite array of three axes, the points have another dimension than the tokens, or the loss is not
            finite.

        See Also
        --------
        chaosphere.training.AttentionNetwork.gradient : Gradients of a network.
        chaosphere.training.TrainingLimit.gradient : Gradients in the limit.

        Examples
        --------
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(5, 3, rng=0)
        >>> bool(cs.training.KernelMatching(points=-x)(x[None])[0] > 0)
        True
        """
        n_sequences, n_tokens, dim = _checked(x).shape
        if self.points.shape[1] != dim:
            raise ValueError(f"points must have shape (n_points, {dim}), got {self.points.shape}")
        with np.errstate(over="ignore", invalid="ignore"):
            among = self._kernel(x, x)
            across = self._kernel(x, np.broadcast_to(self.points, (n_sequences, *self.points.shape)))
            own = self._among_points()
            of_each = among.mean(axis=(1, 2)) - 2 * across.mean(axis=(1, 2)) + own
            value = _finite(float(of_each.mean()) / 2)
        pull = np.einsum("bij,bjk->bik", among, x) / n_tokens
        pull -= np.einsum("bij,jk->bik", across, self.points) / len(self.points)
        return value, self.beta / (n_sequences * n_tokens) * pull

    def _among_points(self) -> float:
        """Return ∬ k dν dν, some rows at once."""
        n_points = len(self.points)
        rows = max(1, 2**17 // n_points)
        parts = (self.points[None, i : i + rows] for i in range(0, n_points, rows))
        return float(sum(self._kernel(part, self.points[None]).sum() for part in parts)) / n_points**2

    def _kernel(self, x: Floats, y: Floats) -> Floats:
        return np.asarray(np.exp(self.beta * (np.einsum("bik,bjk->bij", x, y) - 1)))


def _checked(x: Any) -> Tokens:
    """Return tokens (B, N, d) of any length, if they are finite numbers."""
    tokens = checks.floating(x, "x")
    if tokens.ndim != 3 or 0 in tokens.shape:
        raise ValueError(f"x must have shape (n_sequences, n_tokens, dim), none 0, got {tokens.shape}")
    if not np.isfinite(tokens).all():
        raise ValueError("x must be finite")
    return tokens


def _finite(value: float) -> float:
    if not np.isfinite(value):
        raise ValueError("x must be small enough for a finite loss: some of its tokens are too long")
    return value


def evaluated(objective: Objective, x: Tokens, *, name: str = "objective") -> tuple[float, Tokens]:
    """Return the value of an objective at tokens, and its gradient in their type; a name for the messages of errors."""
    result = objective(x.copy())
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(f"{name} must return a tuple (value, gradient), got {short(result)}")
    number, pulled = (np.asarray(part) for part in result)
    if number.dtype.kind not in "fiu" or number.shape != ():
        raise TypeError(f"{name} must return a real number as its value, got {short(result[0])}")
    if pulled.dtype.kind not in "fiu":
        raise TypeError(f"{name} must return a gradient of real numbers, got {short(result[1])}")
    value = float(number)
    with np.errstate(over="ignore"):
        gradient = np.asarray(pulled, dtype=x.dtype)
    if gradient.shape != x.shape or not (np.isfinite(value) and np.isfinite(gradient).all()):
        raise ValueError(f"{name} must return a finite value and a finite gradient of the shape of the tokens")
    return value, gradient
