"""Laws of the initial tokens: sampling and density; and quadrature for integrals against them.

More than half of this file is docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy
from numpy.polynomial import Polynomial, polynomial

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats
from chaosphere.common.reprs import Brief
from chaosphere.common.streams import Noise, Seed, Stream, root
from chaosphere.geometry.law import Law, check_law, density_at, points
from chaosphere.geometry.quadrature import Quadrature, quadrature
from chaosphere.geometry.sample import Sample
from chaosphere.geometry.sphere import (
    CONCENTRATED,
    count_replicas,
    normalize,
    sample_replicas,
    sample_uniform,
    sample_von_mises_fisher,
)

__all__ = ["Density", "Law", "Mixture", "Quadrature", "Sample", "Uniform", "VonMisesFisher", "quadrature"]


def __dir__() -> list[str]:
    return __all__


# A law by rejection is given up where, after so many proposals, fewer than one in so many was accepted.
_PROPOSALS = 1_000_000

# Debye's expansion of Bessel functions: its terms, and the size √(ν² + c²) from which it serves.
_DEBYE_TERMS, _MIN_DEBYE = 12, 50.0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Uniform(Brief):
    """The uniform law on S^{d−1}.

    Parameters
    ----------
    dim : int
        d >= 2.

    See Also
    --------
    chaosphere.sample_uniform : Draw uniform tokens.
    chaosphere.laws.Law : What a law of tokens offers.

    Examples
    --------
    >>> import chaosphere as cs
    >>> cs.laws.Uniform(dim=3).sample(5, rng=0).shape
    (5, 3)
    """

    dim: int

    def __post_init__(self) -> None:
        """Check."""
        checks.integers(self, "dim", low=2)

    def sample(self, n_tokens: int, *, rng: Seed, n_replicas: int | None = None) -> Floats:
        """Return i.i.d. tokens, as `sample_uniform` does.

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
        chaosphere.laws.Law.sample : Tokens of any law.
        chaosphere.sample_uniform : Draw uniform tokens.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.laws.Uniform(dim=3).sample(5, rng=0, n_replicas=2).shape
        (2, 5, 3)
        """
        return sample_uniform(n_tokens, self.dim, rng=rng, n_replicas=n_replicas)

    def density(self, x: Floats) -> Floats:
        """Return the density with respect to the uniform probability: ones.

        Parameters
        ----------
        x : ndarray, shape (N, d)
            Points of the sphere.

        Returns
        -------
        ndarray of float64, shape (N,)
            Ones.

        See Also
        --------
        chaosphere.laws.Law.density : Density of any law.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> cs.laws.Uniform(dim=2).density(np.array([[1.0, 0.0], [0.0, 1.0]]))
        array([1., 1.])
        """
        return np.ones(len(points(x, self.dim)))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class VonMisesFisher(Brief):
    """The von Mises–Fisher law, a cluster around a point: density proportional to e^{c ⟨m, x⟩}.

    Parameters
    ----------
    mean_direction : tuple of float
        Unit vector m in R^d.
    concentration : float
        c > 0.

    Raises
    ------
    TypeError, ValueError
        If m is not on the sphere or c is out of range.

    See Also
    --------
    chaosphere.sample_von_mises_fisher : Draw a cluster of tokens.
    chaosphere.laws.Law : What a law of tokens offers.

    Examples
    --------
    >>> import chaosphere as cs
    >>> law = cs.laws.VonMisesFisher(mean_direction=(0.0, 0.0, 1.0), concentration=20.0)
    >>> law.sample(1000, rng=0).mean(axis=0).round(2) + 0.0
    array([0.01, 0.  , 0.95])
    """

    mean_direction: tuple[float, ...]
    concentration: float

    def __post_init__(self) -> None:
        """Check."""
        checks.plain(self.mean_direction, "mean_direction")
        try:
            m = np.array(checks.array(self.mean_direction, "mean_direction"))
        except TypeError as error:
            raise TypeError(f"mean_direction must be d numbers, got {messages.shown(self.mean_direction)}") from error
        checks.tokens(m[None], "mean_direction")
        object.__setattr__(self, "mean_direction", tuple(m.tolist()))
        checks.numbers(self, "concentration", above=0)

    @property
    def dim(self) -> int:
        """Dimension d of the surrounding space.

        See Also
        --------
        chaosphere.laws.Law.dim : Dimension of any law.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.laws.VonMisesFisher(mean_direction=(0.0, 0.0, 1.0), concentration=20.0).dim
        3
        """
        return len(self.mean_direction)

    def sample(self, n_tokens: int, *, rng: Seed, n_replicas: int | None = None) -> Floats:
        """Return i.i.d. tokens, as `sample_von_mises_fisher` does.

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
        chaosphere.laws.Law.sample : Tokens of any law.
        chaosphere.sample_von_mises_fisher : Draw a cluster of tokens.

        Examples
        --------
        >>> import chaosphere as cs
        >>> law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1e4)
        >>> law.sample(3, rng=0).round(1) + 0.0
        array([[1., 0.],
               [1., 0.],
               [1., 0.]])
        """
        m = np.array(self.mean_direction)
        return sample_von_mises_fisher(n_tokens, m, concentration=self.concentration, rng=rng, n_replicas=n_replicas)

    def density(self, x: Floats) -> Floats:
        """Return e^{c(⟨m, x⟩ − 1)} over its mean on the sphere.

        Parameters
        ----------
        x : ndarray, shape (N, d)
            Points of the sphere.

        Returns
        -------
        ndarray of float64, shape (N,)
            Density with respect to the uniform probability.

        Raises
        ------
        ValueError
            If a density is above the largest float, as it may be for a large c in a high dimension.

        See Also
        --------
        chaosphere.laws.Law.density : Density of any law.

        Examples
        --------
        On S² its largest value is c e^c / sinh c:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> law = cs.laws.VonMisesFisher(mean_direction=(0.0, 0.0, 1.0), concentration=2.0)
        >>> law.density(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])).round(6)
        array([4.074629, 0.074629])
        """
        x, m, c = points(x, self.dim), np.array(self.mean_direction), self.concentration
        with np.errstate(over="ignore"):
            if c <= CONCENTRATED:
                exponents = c * (x @ m - 1)
            else:  # by |x − m|²: the difference ⟨m, x⟩ − 1 has lost what is multiplied by c
                gaps = normalize(x.astype(np.float64, copy=False)) - normalize(m[None])
                exponents = -0.5 * c * (gaps**2).sum(axis=1)
            values = np.asarray(np.exp(exponents - _log_mean(0.5 * self.dim - 1, c)))
        if not np.isfinite(values).all():
            raise ValueError(
                f"concentration = {c:g} is too large in dim {self.dim}: the density at x exceeds the largest float"
            )
        return values


def _log_mean(nu: float, c: float) -> float:
    """Return the logarithm of the mean of e^{c(⟨m, x⟩ − 1)} on S^{2ν+1}: Γ(ν + 1) (2/c)^ν I_ν(c) e^{−c}."""
    c = max(c, 1e-300)  # 2/c must not overflow; the mean is 1 there
    scaled = float(scipy.special.ive(nu, c))
    if scaled > 1e-290:
        return float(scipy.special.gammaln(nu + 1) + nu * math.log(2 / c) + np.log(scaled))
    # Outside SciPy's range: small c, where the mean of e^{c⟨m, x⟩} is next to 1, or the uniform asymptotic expansion.
    size = math.hypot(nu, c)
    if size < _MIN_DEBYE:
        return math.log(scipy.special.hyp0f1(nu + 1, 0.25 * c * c)) - c
    # DLMF 10.41.3 with r = √(ν² + c²); ν log ν − ν of Stirling's series is taken out of both factors.
    terms = (polynomial.polyval((nu / size) ** 2, u) * (1 / size) ** k for k, u in enumerate(_debye_polynomials()))
    excess = c * (c / (nu + size))  # r − ν
    bulk = nu * (math.log1p(excess / (2 * nu)) + (c + excess) / (c + size)) if nu else 0.0
    return _log_gamma_rest(nu) - bulk - 0.5 * math.log(size) + math.log(sum(terms))


def _log_gamma_rest(nu: float) -> float:
    """Return log Γ(ν + 1) − ν log ν + ν − ½ log 2π."""
    if nu < _MIN_DEBYE:
        return float(scipy.special.gammaln(nu + 1) - scipy.special.xlogy(nu, nu) + nu - 0.5 * math.log(2 * math.pi))
    return 0.5 * math.log(nu) + 1 / (12 * nu) - 1 / (360 * nu**3) + 1 / (1260 * nu**5) - 1 / (1680 * nu**7)


@cache
def _debye_polynomials() -> list[Floats]:
    """Return u_k(p)/p^k of DLMF 10.41.9 as polynomials in p²."""
    p, u, out = Polynomial([0.0, 1.0]), Polynomial([1.0]), []
    for k in range(_DEBYE_TERMS):
        out.append(np.asarray(u.coef[k::2], np.float64))
        u = 0.5 * p**2 * (1 - p**2) * u.deriv() + 0.125 * ((1 - 5 * p**2) * u).integ()
    return out


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Mixture(Brief):
    """A mixture of laws, such as several clusters.

    Parameters
    ----------
    components : tuple of laws
        Of one dimension.
    proportions : tuple of float
        Positive, with sum 1.

    Raises
    ------
    ValueError
        If the dimensions differ or the proportions are no probability.

    See Also
    --------
    chaosphere.laws.Law : What a law of tokens offers.

    Examples
    --------
    Two clusters of tokens, one of them with three quarters of the mass:

    >>> import chaosphere as cs
    >>> near = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=50.0)
    >>> far = cs.laws.VonMisesFisher(mean_direction=(-1.0, 0.0), concentration=50.0)
    >>> law = cs.laws.Mixture(components=(near, far), proportions=(0.75, 0.25))
    >>> round(float((law.sample(4000, rng=0)[:, 0] > 0).mean()), 2)
    0.74
    """

    components: tuple[Law, ...]
    proportions: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check."""
        components = tuple(checks.sequence(self.components, "components"))
        for k, law in enumerate(components):
            check_law(law, f"components[{k}]")
        if len({law.dim for law in components}) != 1:
            raise ValueError(f"components must have one dim, got {[law.dim for law in components]}")
        p = checks.weights(self.proportions, len(components), "proportions")
        if p is None or (p <= 0).any():
            raise ValueError(f"proportions must be positive, got {self.proportions}")
        object.__setattr__(self, "components", components)
        object.__setattr__(self, "proportions", tuple(p.tolist()))

    @property
    def dim(self) -> int:
        """Dimension d of the surrounding space.

        See Also
        --------
        chaosphere.laws.Law.dim : Dimension of any law.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.laws.Mixture(components=(cs.laws.Uniform(dim=4),), proportions=(1.0,)).dim
        4
        """
        return self.components[0].dim

    def sample(self, n_tokens: int, *, rng: Seed, n_replicas: int | None = None) -> Floats:
        """Return i.i.d. tokens: a component for each, then a point of it.

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
        chaosphere.laws.Law.sample : Tokens of any law.

        Notes
        -----
        Every component draws N tokens, from a seed of its own.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cluster = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=50.0)
        >>> components = (cs.laws.Uniform(dim=2), cluster)
        >>> law = cs.laws.Mixture(components=components, proportions=(0.5, 0.5))
        >>> law.sample(10, rng=0).shape
        (10, 2)
        """
        sequence, n_copies = root(rng), count_replicas(n_replicas)
        draws = [
            law.sample(
                n_tokens,
                rng=np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, k)),
                n_replicas=n_copies,
            )
            for k, law in enumerate(self.components)
        ]
        generators = Noise(sequence, n_replicas=n_copies).at(Stream.SUBSAMPLE, 0)
        labels = np.stack([g.choice(len(draws), size=n_tokens, p=self.proportions) for g in generators])
        x: Floats = np.select([(labels == k)[:, :, None] for k in range(len(draws))], draws)
        return x[0] if n_replicas is None else x

    def density(self, x: Floats) -> Floats:
        """Return the mean of the components' densities, weighted by the proportions.

        Parameters
        ----------
        x : ndarray, shape (N, d)
            Points of the sphere.

        Returns
        -------
        ndarray of float64, shape (N,)
            Density with respect to the uniform probability.

        See Also
        --------
        chaosphere.laws.Law.density : Density of any law.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> cluster = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=50.0)
        >>> components = (cs.laws.Uniform(dim=2), cluster)
        >>> law = cs.laws.Mixture(components=components, proportions=(0.5, 0.5))
        >>> law.density(np.array([[-1.0, 0.0]]))
        array([0.5])
        """
        x, pairs = points(x, self.dim), zip(self.proportions, self.components, strict=True)
        return np.asarray(sum(p * density_at(law, x, name="component") for p, law in pairs))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Density(Brief):
    """A law given by its density with respect to the uniform probability, up to a factor.

    Parameters
    ----------
    function : callable
        Positive or zero on points (N, d), shape (N,).
    dim : int
        Dimension d >= 2 of the surrounding space.
    bound : float
        An upper bound of the function: sampling is by rejection from the uniform law.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range; when the function exceeds its bound or is negative where it is evaluated;
        when sampling accepts too few proposals.

    See Also
    --------
    chaosphere.laws.Law : What a law of tokens offers.

    Notes
    -----
    The acceptance is the function's mean over its bound. Sampling gives up where, after the first million proposals of
    a replica, fewer than one in a million was accepted. A law with an acceptance of 2e-5 or more is refused in fewer
    than 3e-9 of all samples: none of a million accepted has probability e^{−20}, and later alarms add less than 1e-15.

    Examples
    --------
    >>> import chaosphere as cs
    >>> law = cs.laws.Density(function=lambda x: 1 + x[:, 0], dim=3, bound=2.0)
    >>> round(float(law.sample(4000, rng=0)[:, 0].mean()), 1)  # the mean is 1/3
    0.3
    """

    function: Callable[[Floats], Any]
    dim: int
    bound: float

    def __post_init__(self) -> None:
        """Check."""
        if not callable(self.function):
            raise TypeError(f"function must be callable on points (N, d), got {messages.shown(self.function)}")
        checks.integers(self, "dim", low=2)
        checks.numbers(self, "bound", above=0)

    def sample(self, n_tokens: int, *, rng: Seed, n_replicas: int | None = None) -> Floats:
        """Return i.i.d. tokens, by rejection from the uniform law.

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

        Raises
        ------
        ValueError
            If the function exceeds its bound or is negative at a proposal, or too few proposals are accepted.

        See Also
        --------
        chaosphere.laws.Law.sample : Tokens of any law.

        Notes
        -----
        The expected number of proposals per token is the bound over the mean of the function.

        Examples
        --------
        >>> import chaosphere as cs
        >>> law = cs.laws.Density(function=lambda x: 1.0 * (x[:, 0] > 0), dim=3, bound=1.0)
        >>> bool((law.sample(100, rng=0)[:, 0] > 0).all())
        True
        """
        n_tokens = checks.integer(n_tokens, "n_tokens", low=1)

        def draw(generator: np.random.Generator) -> Floats:
            return self._accepted(generator, n_tokens)

        return sample_replicas(draw, (n_tokens, self.dim), rng=rng, n_replicas=n_replicas)

    def _accepted(self, generator: np.random.Generator, n_tokens: int) -> Floats:
        """Return the first n_tokens uniform proposals that are accepted."""
        accepted: list[Floats] = []
        n_accepted, n_proposals, largest = 0, 0, 0.0
        while n_accepted < n_tokens:
            x = normalize(generator.standard_normal((n_tokens, self.dim)))
            values = self._values(x)
            x = x[generator.random(n_tokens) * self.bound < values]
            n_accepted, n_proposals = n_accepted + len(x), n_proposals + n_tokens
            largest = max(largest, values.max())
            if len(x):
                accepted.append(x)
            if n_proposals >= _PROPOSALS and n_accepted * _PROPOSALS < n_proposals:
                raise ValueError(
                    f"function must not be so small against bound = {self.bound:g}: {n_accepted} of {n_proposals} "
                    f"uniform proposals were accepted, and its largest value there was {largest:.3g}; lower bound "
                    "to the function's maximum, or give the law as a Mixture of VonMisesFisher where it lives"
                )
        return np.concatenate(accepted)[:n_tokens]

    def density(self, x: Floats) -> Floats:
        """Return the function at x, checked; a factor away from the density.

        Parameters
        ----------
        x : ndarray, shape (N, d)
            Points of the sphere.

        Returns
        -------
        ndarray of float64, shape (N,)
            In [0, bound].

        Raises
        ------
        ValueError
            If the function exceeds its bound, is negative or not finite, or has another shape.

        See Also
        --------
        chaosphere.laws.Law.density : Density of any law.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> law = cs.laws.Density(function=lambda x: 1 + x[:, 0], dim=2, bound=2.0)
        >>> law.density(np.array([[1.0, 0.0], [0.0, 1.0]]))
        array([2., 1.])
        """
        return self._values(points(x, self.dim))

    def _values(self, x: Floats) -> Floats:
        values = checks.array(self.function(x), "function(x)")
        if values.shape != (len(x),):
            raise ValueError(
                f"function must return shape ({len(x)},) at points ({len(x)}, {self.dim}), got {values.shape}"
            )
        if not np.isfinite(values).all() or (values < 0).any() or (values > self.bound * (1 + 1e-12)).any():
            raise ValueError(
                f"function must lie in [0, bound = {self.bound:g}], got {values.min():g} … {values.max():g}"
            )
        return values
