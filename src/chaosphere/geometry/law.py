"""What a law of tokens is, of `chaosphere.laws` or of a user's own class, and checks of it."""

from __future__ import annotations

from typing import Any, Protocol, cast

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.streams import Seed


class Law(Protocol):
    """A probability on the sphere S^{d−1}: what functions with an argument `law` take.

    A class of your own that has these three members is a law.

    See Also
    --------
    chaosphere.MeanField : The limit of infinitely many tokens, carried by nodes.
    chaosphere.laws.Uniform : The uniform law.
    chaosphere.laws.VonMisesFisher : A cluster around a point.
    chaosphere.laws.Mixture : A mixture of laws.
    chaosphere.laws.Density : A law with a density of your own.
    chaosphere.laws.quadrature : Make nodes and weights for a law.
    chaosphere.laws.Sample : Tokens to be drawn from a law.

    Examples
    --------
    The uniform law on a hemisphere of S²:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> class Hemisphere:
    ...     dim = 3
    ...
    ...     def sample(self, n_tokens, *, rng, n_replicas=None):
    ...         x = cs.sample_uniform(n_tokens, 3, rng=rng, n_replicas=n_replicas)
    ...         x[..., 2] = abs(x[..., 2])
    ...         return x
    ...
    ...     def density(self, x):
    ...         return 2.0 * (x[:, 2] > 0)
    >>> rule = cs.laws.quadrature(Hemisphere(), 400)
    >>> round(float(rule.weights @ rule.nodes[:, 2]), 2)  # the mean height is ½
    0.5
    """

    @property
    def dim(self) -> int:
        """Dimension d of the surrounding space.

        See Also
        --------
        chaosphere.laws.VonMisesFisher.dim : Dimension of a cluster's space.
        chaosphere.laws.Mixture.dim : Dimension of a mixture's space.
        """

    def sample(self, n_tokens: int, *, rng: Seed, n_replicas: int | None = None) -> Floats:
        """Return i.i.d. tokens.

        Parameters
        ----------
        n_tokens : int
            N >= 1.
        rng : int, SeedSequence or Generator
            The same int gives the same tokens.
        n_replicas : int, optional
            Number R of independent samples.

        Returns
        -------
        ndarray of float64, shape (N, d) or (R, N, d)
            Points of the sphere; with n_replicas there is a first axis.

        See Also
        --------
        chaosphere.laws.Uniform.sample : Uniform tokens.
        chaosphere.laws.VonMisesFisher.sample : Tokens of a cluster.
        chaosphere.laws.Mixture.sample : Tokens of a mixture.
        chaosphere.laws.Density.sample : Tokens by rejection.
        chaosphere.laws.Sample.rows : Draw tokens first … stop − 1.
        """

    def density(self, x: Floats) -> Floats:
        """Return the density with respect to the uniform probability.

        Parameters
        ----------
        x : ndarray, shape (N, d)
            Points of the sphere.

        Returns
        -------
        ndarray of float64, shape (N,)
            Finite values >= 0.

        See Also
        --------
        chaosphere.laws.Uniform.density : Its density, 1.
        chaosphere.laws.VonMisesFisher.density : Density of a cluster.
        chaosphere.laws.Mixture.density : Density of a mixture.
        chaosphere.laws.Density.density : The function that gives the law.
        """


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
