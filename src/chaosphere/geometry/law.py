"""What a law of tokens is, of `chaosphere.laws` or of a user's own class, and checks of it."""

from __future__ import annotations

from typing import Any, Protocol, cast

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.streams import Seed


class Law(Protocol):
    """A probability on the sphere S^{d−1}."""

    @property
    def dim(self) -> int:
        """Dimension d of the surrounding space."""

    def sample(self, n_tokens: int, *, rng: Seed, n_replicas: int | None = None) -> Floats:
        """Return i.i.d. tokens (N, d) or (R, N, d)."""

    def density(self, x: Floats) -> Floats:
        """Return the density with respect to the uniform probability at points (N, d), shape (N,)."""


def check_law(law: Any, name: str = "law") -> Law:
    """Return a law of ours or of a user's own class, or say what it lacks.

    Raises
    ------
    TypeError, ValueError
        If `dim` is not an integer >= 2, or `sample` or `density` is not a method.
    """
    if isinstance(law, type):
        raise TypeError(f"{name} must be a law, got the class {law.__name__}; make an instance of it")
    missing = [member for member in ("dim", "sample", "density") if not hasattr(law, member)]
    missing += [f"{m} (a method)" for m in ("sample", "density") if m not in missing and not callable(getattr(law, m))]
    if missing:
        raise TypeError(
            f"{name} must have dim, sample(n_tokens, *, rng, n_replicas) and density(x), as chaosphere.laws.Law says; "
            f"{type(law).__name__} lacks {', '.join(missing)}"
        )
    checks.integer(law.dim, f"{name}.dim", low=2)
    return cast(Law, law)


def density_at(law: Law, x: Floats, *, name: str = "law") -> Floats:
    """Return the density of any law at points (N, d), checked: finite, not negative, shape (N,)."""
    values = checks.array(law.density(x), f"{name}.density(x)")
    if values.shape != (len(x),):
        raise ValueError(
            f"{name}.density must return shape ({len(x)},) at points ({len(x)}, {x.shape[1]}), got {values.shape}"
        )
    if not np.isfinite(values).all() or (values < 0).any():
        at = int(np.flatnonzero(~np.isfinite(values) | (values < 0))[0])
        raise ValueError(f"{name}.density must be finite and >= 0, got {values[at]} at {x[at].tolist()}")
    return values


def points(x: Any, dim: int) -> Floats:
    """Return points (N, d), checked."""
    if checks.tokens(x).shape[2] != dim or x.ndim != 2:
        raise ValueError(f"x must have shape (n_points, {dim}), got {x.shape}")
    return cast(Floats, x)
