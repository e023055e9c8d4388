"""Growth of small differences along a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import overload

import numpy as np

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.common.arrays import PerReplica
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.pullback import NoDerivativeError
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise, Seed, Stream
from chaosphere.geometry.sphere import normalize
from chaosphere.models.protocol import Model, ModelPlan, StepContext, check_model, model_plan_of

_SEPARATION = 1e-7  # of copies, where a model has no derivative


@dataclass(frozen=True, slots=True, kw_only=True)
class LyapunovEstimate:
    """The mean of finite-time exponents over replicas, with Student's 99 % interval.

    Parameters
    ----------
    value : float
        The mean.
    low, high : float
        The ends; they hold the expectation of the finite-time exponent, not its limit for long times.
    per_replica : ndarray, shape (R,)
        The exponents. `chaosphere.stats.mean_interval(per_replica, confidence=…)` has another confidence.

    See Also
    --------
    chaosphere.measures.lyapunov_exponent : Exponent of a model along a run.

    Examples
    --------
    >>> import chaosphere as cs
    >>> model = cs.Transformer(attention=None, mlp=cs.MLP(width=8), depth=50, horizon=1.0)
    >>> x = cs.sample_uniform(1, 3, rng=0)
    >>> estimate = cs.measures.lyapunov_exponent(model, x, rng=0, n_replicas=20)
    >>> estimate.low < estimate.value < estimate.high, estimate.per_replica.shape
    (True, (20,))
    """

    value: float
    low: float
    high: float
    per_replica: Floats = field(repr=False)


@overload
def lyapunov_exponent(
    model: Model,
    x: Tokens,
    *,
    rng: Seed,
    separation: float | None = ...,
    n_replicas: None = ...,
    n_threads: int | None = ...,
) -> PerReplica: ...
@overload
def lyapunov_exponent(
    model: Model, x: Tokens, *, rng: Seed, separation: float | None = ..., n_replicas: int, n_threads: int | None = ...
) -> LyapunovEstimate: ...
def lyapunov_exponent(
    model: Model,
    x: Tokens,
    *,
    rng: Seed,
    separation: float | None = None,
    n_replicas: int | None = None,
    n_threads: int | None = None,
) -> PerReplica:
    """Return the finite-time top Lyapunov exponent of a model's flow along one path: growth of a tangent vector.

    A random tangent vector is carried along by the derivative of each step, and is brought back to length 1 after it.
    Where a part of the model has no derivative, or with a `separation`, a second copy of the tokens that far away takes
    the step under the same noise instead, and the difference is measured. For one token under noise alone the mean over
    replicas tends to λ1 of `CovarianceKernel.lyapunov_exponent` (arXiv:2604.26898, section on synchronization).

    Parameters
    ----------
    model : Transformer or another model
        Its flow is differentiated along the run from x.
    x : ndarray of float64, shape (N, d) or (R, N, d)
        Initial tokens.
    rng : int, SeedSequence or Generator
        The run is the one that `simulate` makes with this seed.
    separation : float, optional
        Length of the difference to a second copy, in [1e-12, 1e-3]; the exponent carries an error of its order, plus
        1e-16 / separation. Default: by derivatives, which have no such error; from the first step without one on, by
        differences of 1e-7.
    n_replicas : int, optional
        R >= 2 runs from the same tokens x, of shape (N, d), under independent noises; replica 0 has that of a call
        without it.
    n_threads : int, optional
        Default: all that OpenMP may use. Does not change a bit of the result.

    Returns
    -------
    float, or ndarray of shape (R,)
        (1/T) Σ log(growth).
    LyapunovEstimate
        With `n_replicas`: their mean with its 99 % interval.

    Raises
    ------
    TypeError, ValueError
        If x is not float64 tokens on the unit sphere, the model has radii, or separation or n_replicas is out of range.

    See Also
    --------
    chaosphere.CovarianceKernel.lyapunov_exponent : The exponent λ1 of two close tokens.
    chaosphere.gradient : Gradient of a function of the final tokens.
    chaosphere.measures.LyapunovEstimate : A mean exponent with its interval.
    chaosphere.measures.lyapunov_spectrum : More exponents than the top one.
    chaosphere.stats.mean_interval : Mean over replicas, with an interval.

    Notes
    -----
    With derivatives a step is evaluated two or three times, besides its derivative; with differences twice. For wide
    layers differences are faster.

    Examples
    --------
    The interval of the mean over 1 000 replicas of one token holds the exponent in theory:

    >>> import chaosphere as cs
    >>> mlp = cs.MLP(width=8, activation="tanh")
    >>> model = cs.Transformer(attention=None, mlp=mlp, depth=100, horizon=4.0)
    >>> x = cs.sample_uniform(1, 4, rng=0)
    >>> estimate = cs.measures.lyapunov_exponent(model, x, rng=0, n_replicas=1000)
    >>> estimate.low < mlp.kernel(4).lyapunov_exponent() < estimate.high
    True
    """
    separation, n_threads, here = _check(model, x, separation=separation, n_threads=n_threads)
    if n_replicas is not None:
        n_replicas = checks.integer(n_replicas, "n_replicas", low=2)
        if x.ndim != 2:
            raise ValueError(f"n_replicas is for x of shape (n_tokens, dim), one start for all, got shape {x.shape}")
        checks.sample_size(here.shape[1], here.shape[2], n_replicas)
        here = np.repeat(here, n_replicas, axis=0)
    noise = Noise(rng, n_replicas=len(here))
    tangent = np.stack([g.standard_normal(here.shape[1:]) for g in noise.at(Stream.TANGENT, 0)])
    growth = np.zeros(len(here))
    flow = _TangentFlow(_plan(model, here), StepContext(noise=noise, n_threads=n_threads), separation=separation)
    for index in range(model.n_steps):
        tangent -= (tangent * here).sum(axis=2, keepdims=True) * here
        tangent /= np.sqrt((tangent**2).sum(axis=(1, 2), keepdims=True))
        here, (tangent,), (before,) = flow.step(here, [tangent], index=index)
        growth += np.log(np.sqrt((tangent**2).sum(axis=(1, 2))) / before)
    exponent: Floats = growth / model.horizon
    if n_replicas is not None:
        value, low, high = stats.mean_interval(exponent)
        return LyapunovEstimate(value=value, low=low, high=high, per_replica=exponent)
    return exponent if x.ndim == 3 else float(exponent[0])


def lyapunov_spectrum(
    model: Model,
    x: Tokens,
    *,
    rng: Seed,
    n_exponents: int | None = None,
    separation: float | None = None,
    n_threads: int | None = None,
) -> Floats:
    """Return the finite-time Lyapunov exponents of a model's flow along one path: growth of tangent volumes.

    Orthonormal tangent vectors are carried along the run; after every step a QR factorisation makes them orthonormal
    again. The sum of the first k exponents is the growth of the
    k-dimensional volume between them. For one token under noise alone, of covariance κ, T times the exponents are
    jointly Gaussian in the limit of small steps, with means ½[(d−1−2i)κ′(1) − (d−1)κ(1)]T, i = 1 … d−1, and covariance
    T(κ(1) + κ′(1)δ_ij).

    Parameters
    ----------
    model : Transformer or another model
        Its flow is differentiated along the run from x.
    x : ndarray of float64, shape (N, d) or (R, N, d)
        Initial tokens.
    rng : int, SeedSequence or Generator
        The run is the one that `simulate` makes with this seed.
    n_exponents : int, optional
        How many, the largest first, in [1, N(d − 1)]. Default: all.
    separation : float, optional
        As in `lyapunov_exponent`; with it, or in steps without a derivative, exponents carry an error of its order,
        plus 1e-16 / separation, over the length of a step.
    n_threads : int, optional
        As in `lyapunov_exponent`.

    Returns
    -------
    ndarray of float64, shape (n_exponents,) or (R, n_exponents)
        (1/T) Σ log of the diagonal of the triangular factors. Over a short time they need not decrease.

    Raises
    ------
    TypeError, ValueError
        If x is not float64 tokens on the unit sphere, the model has radii, or separation or n_exponents is out of
        range.

    See Also
    --------
    chaosphere.CovarianceKernel.lyapunov_spectrum : All exponents of the noise.
    chaosphere.measures.lyapunov_exponent : Exponent of a model along a run.
    chaosphere.stats.mean_interval : Mean over replicas, with an interval.

    Notes
    -----
    With derivatives a step is evaluated two or three times, besides n_exponents derivatives; with differences
    1 + n_exponents times. For wide layers differences are faster.

    References
    ----------
    G. Benettin, L. Galgani, A. Giorgilli and J.-M. Strelcyn, Lyapunov characteristic exponents for smooth dynamical
    systems and for Hamiltonian systems, Meccanica 15 (1980), 9–30.

    Examples
    --------
    The intervals of the means over 200 replicas hold the spectrum in theory:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> kernel = cs.CovarianceKernel.from_spectrum([0.2, 0.5], dim=4)
    >>> model = cs.LimitSDE(
    ...     attention=None, field=cs.GaussianField(kernel=kernel), horizon=1.0, n_steps=50
    ... )
    >>> x = np.repeat(cs.sample_uniform(1, 4, rng=0)[None], 200, axis=0)
    >>> exponents = cs.measures.lyapunov_spectrum(model, x, rng=0)
    >>> mean, low, high = cs.stats.mean_interval(exponents)
    >>> theory = kernel.lyapunov_spectrum()
    >>> theory.round(12), (low < theory) & (theory < high)
    (array([-0.8, -1.3, -1.8]), array([ True,  True,  True]))
    """
    separation, n_threads, here = _check(model, x, separation=separation, n_threads=n_threads)
    n_replicas, n_tokens, dim = here.shape
    most = n_tokens * (dim - 1)
    n_exponents = most if n_exponents is None else checks.integer(n_exponents, "n_exponents", low=1, high=most)
    noise = Noise(rng, n_replicas=n_replicas)
    shape = (n_exponents, n_tokens, dim)
    tangents = np.stack([g.standard_normal(shape) for g in noise.at(Stream.TANGENT, 0)])
    tangents, _ = _orthonormal(tangents, here)
    growth = np.zeros((n_replicas, n_exponents))
    flow = _TangentFlow(_plan(model, here), StepContext(noise=noise, n_threads=n_threads), separation=separation)
    for index in range(model.n_steps):
        here, ends, _ = flow.step(here, [tangents[:, k] for k in range(n_exponents)], index=index)
        tangents, stretch = _orthonormal(np.stack(ends, axis=1) / flow.length, here)
        growth += np.log(stretch)
    exponents: Floats = growth / model.horizon
    return exponents if x.ndim == 3 else exponents[0]


class _TangentFlow:
    """Steps of a plan that carry tangent vectors along: by derivatives, or by copies at a distance.

    Attributes
    ----------
    length : float
        How long a unit tangent is at the start of the last step: 1, or about the distance.
    """

    def __init__(self, plan: ModelPlan, context: StepContext, *, separation: float | None) -> None:
        self.plan, self.context, self.separation = plan, context, separation
        self.length = 1.0

    def step(self, here: Tokens, tangents: list[Tokens], *, index: int) -> tuple[Tokens, list[Tokens], list[Floats]]:
        """Return the tokens after a step, unit tangents at its end, and the lengths (R,) that they had before it."""
        step = range(index, index + 1)
        if self.separation is None:
            try:
                recorder = self.plan.record(here, index, context=self.context, is_exact=True)
                ends = [recorder.push(tangent) for tangent in tangents]
            except NoDerivativeError:
                self.separation = _SEPARATION
            else:
                return recorder.state, ends, [np.ones(len(here))] * len(ends)
        self.length = self.separation
        starts = [normalize(here + self.separation * tangent) for tangent in tangents]
        after = self.plan.advance(here, step, self.context)
        ends = [self.plan.advance(there, step, self.context) - after for there in starts]
        return after, ends, [np.sqrt(((there - here) ** 2).sum(axis=(1, 2))) for there in starts]


def _orthonormal(vectors: Floats, at: Tokens) -> tuple[Floats, Floats]:
    """Return vectors (R, k, N, d), made tangent and orthonormal in their order, and by how much each was longer."""
    vectors = vectors - (vectors * at[:, None]).sum(axis=3, keepdims=True) * at[:, None]
    q, r = np.linalg.qr(vectors.reshape(*vectors.shape[:2], -1).swapaxes(1, 2))
    return q.swapaxes(1, 2).reshape(vectors.shape), np.abs(np.diagonal(r, axis1=1, axis2=2))


def _plan(model: Model, x: Tokens) -> ModelPlan:
    """Return the plan of a model, refused if tangent vectors at unit tokens do not tell how its states differ."""
    plan = model_plan_of(model, Shape.of(x))
    if plan.has_radius:
        raise ValueError(f"model must be one of unit tokens: {type(model).__name__} has radii, which differ as well")
    return plan


def _check(
    model: Model, x: Tokens, *, separation: float | None, n_threads: int | None
) -> tuple[float | None, int, Tokens]:
    """Return separation, threads and tokens (R, N, d)."""
    check_model(model)
    if separation is not None:
        separation = checks.number(separation, "separation", low=1e-12, high=1e-3)
    threads = checks.threads(n_threads)
    here = checks.tokens(x)
    if here.dtype != np.float64:
        raise TypeError(f"x must be float64: exponents would have the rounding of {here.dtype}")
    return separation, threads, here
