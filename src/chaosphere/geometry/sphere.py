"""Points on the unit sphere: samples, normalisation, and the step of every model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from chaosphere import kernels
from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.contexts import contextmanager
from chaosphere.common.streams import Noise, Seed, Stream
from chaosphere.kernels import sphere as kernel

# SciPy's sampler takes 1 − ⟨m, x⟩ as a difference of numbers near 1: up to this concentration, times d − 1, it keeps
# ten digits of it. On S² it divides a logarithm near 0 by c: from the second number on with a relative 1e-13.
CONCENTRATED, _DIFFUSE = 1e5, 1e-3


def sample_uniform(n_tokens: int, dim: int, *, rng: Seed, n_replicas: int | None = None) -> Floats:
    """Draw i.i.d. tokens uniformly on the sphere S^{d-1}.

    Parameters
    ----------
    n_tokens, dim : int
        N >= 1 tokens in R^d, d >= 2.
    rng : int, SeedSequence or Generator
        The first N tokens of a larger sample with the same seed are the same.
    n_replicas : int, optional
        Number R of independent samples; replica r is the same for every R, replica 0 the sample without replicas.

    Returns
    -------
    ndarray of float64, shape (N, d) or (R, N, d)
        Points of the sphere; with n_replicas there is a first axis.

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer or too small, or rng is not a seed.

    See Also
    --------
    chaosphere.sample_von_mises_fisher : Draw a cluster of tokens.
    chaosphere.normalize : Bring points onto the sphere.
    chaosphere.laws.Uniform : The uniform law.
    chaosphere.laws.Uniform.sample : Uniform tokens.

    Notes
    -----
    O(N d): normalised Gaussian vectors.

    Examples
    --------
    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(1000, 3, rng=0)
    >>> x.shape, float(abs((x**2).sum(axis=1) - 1).max()) < 1e-14
    ((1000, 3), True)
    """
    n_tokens, dim = checks.integer(n_tokens, "n_tokens", low=1), checks.integer(dim, "dim", low=2)

    def draw(generator: np.random.Generator) -> Floats:
        return generator.standard_normal((n_tokens, dim))

    return normalize(sample_replicas(draw, (n_tokens, dim), rng=rng, n_replicas=n_replicas))


def sample_von_mises_fisher(
    n_tokens: int, mean_direction: NDArray[Any], *, concentration: float, rng: Seed, n_replicas: int | None = None
) -> Floats:
    """Draw i.i.d. tokens from the von Mises–Fisher law, density proportional to e^{c ⟨m, x⟩}.

    Parameters
    ----------
    n_tokens : int
        N >= 1.
    mean_direction : array_like, shape (d,)
        Unit vector m.
    concentration : float
        c > 0; c → 0 is the uniform law.
    rng : int, SeedSequence or Generator
        The same int gives the same sample.
    n_replicas : int, optional
        As in `sample_uniform`.

    Returns
    -------
    ndarray of float64, shape (N, d) or (R, N, d)
        Points of the sphere; with n_replicas there is a first axis.

    Raises
    ------
    TypeError, ValueError
        If a size, the mean direction (not on the sphere) or the concentration is out of range.

    See Also
    --------
    chaosphere.sample_uniform : Draw uniform tokens.
    chaosphere.normalize : Bring points onto the sphere.
    chaosphere.laws.VonMisesFisher : A cluster around a point.
    chaosphere.laws.VonMisesFisher.sample : Tokens of a cluster.

    Notes
    -----
    Drawn by `scipy.stats.vonmises_fisher`. For c > 1e5 (d − 1), and for c < 1e-3 on S², where its rounding shows, the
    height 1 − ⟨m, x⟩ is drawn itself: by its quantile function on S², else by rejection from its limit, a gamma law.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> north = np.array([0.0, 0.0, 1.0])
    >>> x = cs.sample_von_mises_fisher(2000, north, concentration=50.0, rng=1)
    >>> x.mean(axis=0).round(2) + 0.0
    array([-0.01,  0.  ,  0.98])
    """
    n_tokens = checks.integer(n_tokens, "n_tokens", low=1)
    concentration = checks.number(concentration, "concentration", above=0)
    direction = checks.tokens(np.array(checks.array(mean_direction, "mean_direction"))[None], "mean_direction")[0, 0]
    dim = len(direction)
    is_by_height = dim > 2 and (concentration > CONCENTRATED * (dim - 1) or (dim == 3 and concentration < _DIFFUSE))
    law = None if is_by_height else scipy.stats.vonmises_fisher(direction, concentration)

    def draw(generator: np.random.Generator) -> Floats:
        if law is None:
            return _by_height(generator, n_tokens, direction=direction, c=concentration)
        return np.asarray(law.rvs(n_tokens, random_state=generator))

    return normalize(sample_replicas(draw, (n_tokens, dim), rng=rng, n_replicas=n_replicas))


def sample_replicas(
    draw: Callable[[np.random.Generator], Floats], shape: tuple[int, int], *, rng: Seed, n_replicas: int | None
) -> Floats:
    """Return what `draw` draws with the generator of each replica: points of a shape (N, d), or (R, N, d) of it.

    Raises
    ------
    TypeError, ValueError
        If n_replicas is no integer >= 1, the sample would not fit into memory, or rng is not a seed.
    """
    n_copies = count_replicas(n_replicas)
    checks.sample_size(*shape, n_copies)
    x = np.stack([draw(generator) for generator in Noise(rng, n_replicas=n_copies).at(Stream.TOKENS, 0)])
    return x[0] if n_replicas is None else x


def count_replicas(n_replicas: int | None) -> int:
    """Return R, checked: 1 where there is no axis of replicas."""
    return 1 if n_replicas is None else checks.integer(n_replicas, "n_replicas", low=1)


def _by_height(generator: np.random.Generator, n_tokens: int, *, direction: Floats, c: float) -> Floats:
    """Draw from the von Mises–Fisher law by g = 1 − ⟨m, x⟩, which has density ∝ e^{−cg} (g(2 − g))^{(d−3)/2}."""
    dim = len(direction)
    if dim == 3:
        gap = -np.log1p(generator.random(n_tokens) * math.expm1(-2 * c)) / c
    else:
        gap = np.empty(0)
        while len(gap) < n_tokens:
            trial = generator.gamma(0.5 * (dim - 1), size=n_tokens) / c
            accepted = generator.random(n_tokens) < np.maximum(1 - 0.5 * trial, 0) ** (0.5 * (dim - 3))
            gap = np.concatenate([gap, trial[accepted]])
    gap = np.minimum(gap[:n_tokens], 2)[:, None]
    m = normalize(direction[None])[0]
    side = generator.standard_normal((n_tokens, dim))
    side = normalize(side - np.outer(side @ m, m))
    return np.asarray((1 - gap) * m + np.sqrt(gap * (2 - gap)) * side)


def normalize(x: Tokens) -> Tokens:
    """Return x / |x|, row by row, immune to overflow of the squares.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Rows of any positive length.

    Returns
    -------
    ndarray
        Of the shape and dtype of x.

    Raises
    ------
    TypeError
        If x is not a float64 or float32 array.
    ValueError
        If a row is zero or not finite.

    See Also
    --------
    chaosphere.sample_uniform : Draw uniform tokens.
    chaosphere.sample_von_mises_fisher : Draw a cluster of tokens.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> cs.normalize(np.array([[3.0, 4.0], [0.0, 1e300]]))
    array([[0.6, 0.8],
           [0. , 1. ]])
    """
    x = checks.floating(x, "x")
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise ValueError(f"x must have shape (n_tokens, dim) or (n_replicas, n_tokens, dim), none 0, got {x.shape}")
    out, bad = kernel.step(x if x.ndim == 3 else x[None], None, 0.0, kernels.abi.max_threads())
    if bad >= 0:
        raise ValueError(f"x must have rows of positive finite norm: row {bad % x.shape[-2]} is zero or not finite")
    return out if x.ndim == 3 else out[0]


class DegenerateTokenError(ArithmeticError):
    """A step brought a token to the origin or to a value that is not finite, where LN(v) = v/|v| has no meaning.

    Parameters
    ----------
    message : str
    place : (int, int, str), optional
        The replica, its token, and what of it is zero or not finite.
    """

    def __init__(self, message: str, *, place: tuple[int, int, str] | None = None) -> None:
        super().__init__(message)
        self.place = place

    @classmethod
    def at(cls, replica: int, token: int, *, what: str) -> DegenerateTokenError:
        """Return the error for one token."""
        return cls(f"token {token} of replica {replica}: {what} is zero or not finite", place=(replica, token, what))


@contextmanager
def counted_from(first: int) -> Iterator[None]:
    """Have errors within name a token by the number that it has among all, of which the first here is `first`."""
    try:
        yield
    except DegenerateTokenError as error:
        if error.place is None or first == 0:
            raise
        replica, token, what = error.place
        raise DegenerateTokenError.at(replica, first + token, what=what) from error


def layer_norm_step(x: Tokens, v: Tokens, alpha: float, n_threads: int, *, in_place: bool = False) -> Tokens:
    """Return LN(x + αv) for tokens (R, N, d) and directions of the same shape, written over v if in_place.

    The step of every model.

    Raises
    ------
    DegenerateTokenError
        If x + αv is zero or not finite at some token.
    """
    return raise_if_degenerate(*kernel.step(x, v, alpha, n_threads, v if in_place else None))


def directions(x: Tokens, n_threads: int, *, what: str = "x") -> Tokens:
    """Return x / |x| for vectors (R, N, d) of any length; `what` they are is for the error.

    Raises
    ------
    DegenerateTokenError
        If x is zero or not finite at some token.
    """
    return raise_if_degenerate(*kernel.step(x, None, 0.0, n_threads), what=what)


def raise_if_degenerate(x: Tokens, bad: int, *, what: str = "x + alpha v") -> Tokens:
    """Return tokens (R, N, d) that a kernel has moved, or raise for the one with flat index `bad` if that is not −1."""
    if bad >= 0:
        replica, token = divmod(bad, x.shape[1])
        raise DegenerateTokenError.at(replica, token, what=what)
    return x
