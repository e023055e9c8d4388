"""Laws of the initial tokens: sampling, density, and quadrature for integrals against them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy import special, stats

from chaosphere import checks
from chaosphere.checks import Floats
from chaosphere.seeds import Noise, Seed, Stream, root
from chaosphere.sphere import normalize, sample_uniform, sample_von_mises_fisher


class Law(Protocol):
    """A probability on the sphere S^{d−1}."""

    @property
    def dim(self) -> int:
        """Dimension d of the surrounding space."""

    def sample(self, n_tokens: int, *, rng: Seed, n_replicas: int | None = None) -> Floats:
        """Return i.i.d. tokens (N, d) or (R, N, d)."""

    def density(self, x: Floats) -> Floats:
        """Return the density with respect to the uniform probability at points (N, d), shape (N,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """The uniform law on S^{d−1}.

    Parameters
    ----------
    dim : int
        d >= 2.

    Examples
    --------
    >>> Uniform(dim=3).sample(5, rng=0).shape
    (5, 3)
    """

    dim: int

    def __post_init__(self) -> None:
        """Check."""
        checks.integer(self.dim, "dim", low=2)

    def sample(self, n_tokens: int, *, rng: Seed, n_replicas: int | None = None) -> Floats:
        """Return i.i.d. tokens; see `sample_uniform`."""
        return sample_uniform(n_tokens, self.dim, rng=rng, n_replicas=n_replicas)

    def density(self, x: Floats) -> Floats:
        """Return ones."""
        return np.ones(len(x))


@dataclass(frozen=True, slots=True, kw_only=True)
class VonMisesFisher:
    """The von Mises–Fisher law, density proportional to e^{c ⟨m, x⟩}.

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

    Examples
    --------
    >>> law = VonMisesFisher(mean_direction=(0.0, 0.0, 1.0), concentration=2.0)
    >>> round(float(law.density(np.array([[0.0, 0.0, 1.0]]))[0]), 6)   # c e^c / sinh c
    4.074629
    """

    mean_direction: tuple[float, ...]
    concentration: float

    def __post_init__(self) -> None:
        """Check."""
        try:
            m = np.array(self.mean_direction, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"mean_direction must be d numbers, got {self.mean_direction!r}") from error
        checks.tokens(m[None], "mean_direction")
        object.__setattr__(self, "mean_direction", tuple(m.tolist()))
        checks.number(self.concentration, "concentration", above=0)

    @property
    def dim(self) -> int:
        """Dimension d of the surrounding space."""
        return len(self.mean_direction)

    def sample(self, n_tokens: int, *, rng: Seed, n_replicas: int | None = None) -> Floats:
        """Return i.i.d. tokens; see `sample_von_mises_fisher`."""
        m = np.array(self.mean_direction)
        return sample_von_mises_fisher(n_tokens, m, concentration=self.concentration, rng=rng, n_replicas=n_replicas)

    def density(self, x: Floats) -> Floats:
        """Return e^{c(⟨m, x⟩ − 1)} over its mean on the sphere."""
        nu, c = 0.5 * self.dim - 1, self.concentration
        # Mean of e^{c⟨m,x⟩}: Γ(ν + 1) (2/c)^ν I_ν(c); ive carries the factor e^{−c}.
        log_mean = special.gammaln(nu + 1) + nu * math.log(2 / c) + np.log(special.ive(nu, c))
        return np.asarray(np.exp(c * (x @ np.array(self.mean_direction) - 1) - log_mean))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """A mixture of laws.

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

    Examples
    --------
    >>> law = Mixture(components=(Uniform(dim=2), VonMisesFisher(mean_direction=(1.0, 0.0), concentration=5.0)),
    ...               proportions=(0.5, 0.5))
    >>> law.sample(10, rng=0).shape
    (10, 2)
    """

    components: tuple[Law, ...]
    proportions: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check."""
        if len({law.dim for law in self.components}) != 1:
            raise ValueError(f"components must have one dim, got {[law.dim for law in self.components]}")
        p = checks.weights(self.proportions, len(self.components))
        if p is None or (p <= 0).any():
            raise ValueError(f"proportions must be positive, got {self.proportions}")

    @property
    def dim(self) -> int:
        """Dimension d of the surrounding space."""
        return self.components[0].dim

    def sample(self, n_tokens: int, *, rng: Seed, n_replicas: int | None = None) -> Floats:
        """Return i.i.d. tokens: a component for each, then a point of it."""
        sequence = root(rng)
        draws = [
            law.sample(
                n_tokens,
                rng=np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, k)),
                n_replicas=n_replicas or 1,
            )
            for k, law in enumerate(self.components)
        ]
        generators = Noise(sequence, n_replicas=n_replicas or 1).at(Stream.SUBSAMPLE, 0)
        labels = np.stack([g.choice(len(draws), size=n_tokens, p=self.proportions) for g in generators])
        x: Floats = np.select([(labels == k)[:, :, None] for k in range(len(draws))], draws)
        return x[0] if n_replicas is None else x

    def density(self, x: Floats) -> Floats:
        """Return the mean of the components' densities."""
        return np.asarray(sum(p * law.density(x) for p, law in zip(self.proportions, self.components, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Density:
    """A law given by its density with respect to the uniform probability, up to a factor.

    Parameters
    ----------
    function : callable
        Positive or zero on points (N, d), shape (N,).
    dim : int
    bound : float
        An upper bound of the function: sampling is by rejection from the uniform law.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range; when the function exceeds its bound or is negative at a point it is asked at.

    Examples
    --------
    >>> law = Density(function=lambda x: 1 + x[:, 0], dim=3, bound=2.0)
    >>> round(float(law.sample(4000, rng=0)[:, 0].mean()), 1)
    0.3
    """

    function: Callable[[Floats], Any]
    dim: int
    bound: float

    def __post_init__(self) -> None:
        """Check."""
        if not callable(self.function):
            raise TypeError(f"function must be callable on points (N, d), got {self.function!r}")
        checks.integer(self.dim, "dim", low=2)
        checks.number(self.bound, "bound", above=0)

    def sample(self, n_tokens: int, *, rng: Seed, n_replicas: int | None = None) -> Floats:
        """Return i.i.d. tokens by rejection; the expected work per token is bound / mean of the function."""
        n_tokens = checks.integer(n_tokens, "n_tokens", low=1)
        out = []
        for generator in Noise(rng, n_replicas=n_replicas or 1).at(Stream.TOKENS, 0):
            kept: list[Floats] = []
            while sum(map(len, kept)) < n_tokens:
                x = normalize(generator.standard_normal((n_tokens, self.dim)))
                kept.append(x[generator.random(n_tokens) * self.bound < self.density(x)])
            out.append(np.concatenate(kept)[:n_tokens])
        return out[0] if n_replicas is None else np.stack(out)

    def density(self, x: Floats) -> Floats:
        """Return the function at x, checked."""
        values = np.asarray(self.function(x), dtype=np.float64)
        if values.shape != (len(x),):
            raise ValueError(
                f"function must return shape ({len(x)},) at points ({len(x)}, {self.dim}), got {values.shape}"
            )
        if not np.isfinite(values).all() or (values < 0).any() or (values > self.bound * (1 + 1e-12)).any():
            raise ValueError(
                f"function must lie in [0, bound = {self.bound:g}], got {values.min():g} … {values.max():g}"
            )
        return values


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quadrature:
    """Nodes and weights for integrals against a law.

    Attributes
    ----------
    nodes : ndarray, shape (n, d)
    weights : ndarray, shape (n,)
        Positive or zero, with sum 1.
    degree : int or None
        The rule under the weights is exact for polynomials of this degree against the uniform law; None for quasi-Monte
        Carlo.
    """

    nodes: Floats
    weights: Floats
    degree: int | None


def quadrature(law: Law, n_nodes: int) -> Quadrature:
    """Return a rule of about n_nodes nodes for a law with a density.

    Trapezoid on S¹ (exact to degree n − 1, spectral for smooth densities); a product of Gauss–Legendre in height and
    trapezoid in longitude on S² (exact to a stated degree); a scrambled Sobol sequence mapped through the normal law
    beyond (fixed scrambling; error about 1/n up to logarithms for smooth integrands). The density multiplies the
    weights, which are then divided by their sum.

    Parameters
    ----------
    law : Law
    n_nodes : int
        At least 2. On S² the largest product rule with at most that many nodes; beyond, rounded up to a power of
        two.

    Returns
    -------
    Quadrature

    Raises
    ------
    TypeError, ValueError
        If n_nodes is too small or the density vanishes at all nodes.

    Examples
    --------
    >>> rule = quadrature(Uniform(dim=3), 200)
    >>> rule.degree, bool(abs(rule.weights @ rule.nodes[:, 2] ** 2 - 1 / 3) < 1e-15)
    (19, True)
    """
    n_nodes = checks.integer(n_nodes, "n_nodes", low=2)
    degree: int | None
    if law.dim == 2:
        angle = 2 * np.pi * np.arange(n_nodes) / n_nodes
        nodes, weights, degree = np.stack([np.cos(angle), np.sin(angle)], axis=1), np.ones(n_nodes), n_nodes - 1
    elif law.dim == 3:
        # g heights are exact to degree 2g − 1, l longitudes to l − 1: take l = 2g.
        g = max(1, math.isqrt(n_nodes // 2))
        height, height_weight = special.roots_legendre(g)
        angle = np.pi * np.arange(2 * g) / g
        ring = np.sqrt((1 - height) * (1 + height))
        nodes = np.stack(
            [np.outer(ring, np.cos(angle)), np.outer(ring, np.sin(angle)), np.repeat(height[:, None], 2 * g, axis=1)],
            axis=2,
        ).reshape(-1, 3)
        weights, degree = np.repeat(height_weight, 2 * g), 2 * g - 1
    else:
        power = math.ceil(math.log2(n_nodes))
        cube = stats.qmc.Sobol(law.dim, scramble=True, rng=np.random.default_rng(0)).random_base2(power)
        nodes, weights, degree = stats.norm.ppf(np.clip(cube, 1e-12, 1 - 1e-12)), np.ones(2**power), None
    nodes = normalize(np.ascontiguousarray(nodes))
    weights = weights * law.density(nodes)
    if not weights.sum() > 0:
        raise ValueError("law must have a positive density at some node; raise n_nodes")
    return Quadrature(nodes=nodes, weights=weights / weights.sum(), degree=degree)
