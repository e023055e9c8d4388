"""The mean-field limit on the circle as a density: a Fourier solver beside the nodes of `MeanField`.

About half of this file is docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief, Row, short, span
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise, Seed, root
from chaosphere.geometry.law import Law, check_law, density_at
from chaosphere.interactions.circle import MAX_MODES, CircleDrift, Modes, PartitionError, values
from chaosphere.interactions.protocol import offered
from chaosphere.models.protocol import save_steps
from chaosphere.models.resolution import (
    LARGEST_TAIL,
    MIN_MODES,
    check_field,
    check_substeps,
    unresolved,
    without_partition,
)
from chaosphere.models.sde import LimitSDE

# Largest |v| n_modes of a Runge–Kutta substep; stability alone would allow 2.8.
COURANT = 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DensitySolution(Brief):
    """Densities on the circle over time, from `CircleDensity.solve`.

    Parameters
    ----------
    times : ndarray, shape (n_times,)
        Times of the densities.
    modes : ndarray of complex128, shape (n_times, K + 1) or (n_times, R, K + 1)
        m_k = ∫ e^{−ikθ} dμ_t for k = 0 … K; m_0 is the mass.

    See Also
    --------
    chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.
    chaosphere.CircleDensity.solve : Run from the initial law.

    Examples
    --------
    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention()
    >>> model = cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=10)
    >>> law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.0)
    >>> sol = cs.CircleDensity(model=model, law=law, n_modes=32).solve(rng=0)
    >>> sol.times, sol.modes.shape
    (array([1.]), (1, 33))
    """

    times: Floats
    modes: Modes

    def _rows(self) -> list[Row]:
        return [
            ("times", span(self.times)),
            ("n_modes", short(self.modes.shape[-1] - 1)),
            *([("n_replicas", short(self.modes.shape[1]))] if self.modes.ndim == 3 else []),
        ]

    def density(self, angles: ArrayLike) -> Floats:
        """Return the densities with respect to the uniform probability, ρ(θ) = 1 + 2 Re Σ_{k>0} m_k e^{ikθ}.

        Parameters
        ----------
        angles : array_like, shape (n,)
            Angles θ, in radians, in [−1e6, 1e6].

        Returns
        -------
        ndarray, shape (n_times, n) or (n_times, R, n)
            Densities at the angles.

        Raises
        ------
        TypeError, ValueError
            If the angles are no list of finite numbers in that range.

        See Also
        --------
        chaosphere.CircleDensity.solve : Run from the initial law.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention()
        >>> model = cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=10)
        >>> law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.0)
        >>> limit = cs.CircleDensity(model=model, law=law, n_modes=32)
        >>> sol = limit.solve(rng=0, save_at=[0.0, 1.0])
        >>> sol.density([0.0, 3.14]).round(3)
        array([[2.147, 0.291],
               [3.331, 0.161]])
        """
        theta = checks.array(angles, "angles")
        if theta.ndim != 1 or not (np.abs(theta) <= 1e6).all():
            raise ValueError("angles must be a list of finite numbers, in [-1e6, 1e6]")
        waves = np.exp(1j * np.outer(np.arange(1, self.modes.shape[-1]), theta))
        return np.asarray(self.modes[..., :1].real + 2 * (self.modes[..., 1:] @ waves).real)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CircleDensity(Brief):
    """The limiting equation for the law of infinitely many tokens on S¹, solved for its density.

    dρ + ∂_θ(ρ v) = τ ∂²_θ ρ dt,   v = e_θ · (Attn(μ, e(θ)) dt + ∘dW(e(θ)))   (arXiv:2604.26898, the mean-field limit)

    with ρ the density of μ with respect to the uniform probability. `MeanField` carries the same measure by nodes;
    under one seed both are driven by the same noise, so that they differ by their numerical errors alone. Here the
    tokens' own noise (`temperature`) may be present too: it is the diffusion τ ∂²_θ.

    Parameters
    ----------
    model : LimitSDE
        On S¹, with QᵀK = βI and V = δI, or with another interaction that has a method `circle_drift`. Its scheme is for
        tokens and is not used; its steps and their noise are.
    law : Law
        Initial law, of dim 2.
    n_modes : int
        Fourier modes K >= 4 of the density.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the field depends on the tokens' places (method "dense"), the interaction has no
        `circle_drift`, or its drift may be so large that a step takes more than 2²⁴ substeps.

    See Also
    --------
    chaosphere.LimitSDE : The limit of deep and wide transformers.
    chaosphere.MeanField : The limit of infinitely many tokens, carried by nodes.
    chaosphere.measures.modes : Local maxima of a density on the circle.
    chaosphere.UnnormalizedAttention : Attention without the division by the partition sum.
    chaosphere.PotentialInteraction : Drift along the gradient of any potential of the cosine.
    chaosphere.SoftmaxAttention.circle_drift : Drift of densities by softmax attention.
    chaosphere.UnnormalizedAttention.circle_drift : Drift of densities by unnormalised attention.
    chaosphere.PotentialInteraction.circle_drift : Drift of densities along a potential.
    chaosphere.SinkhornAttention : Doubly stochastic attention.
    chaosphere.SinkhornAttention.circle_drift : Drift of densities by doubly stochastic attention.
    chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.
    chaosphere.DensitySolution : Densities on the circle over time.
    chaosphere.UnresolvedDensityError : A density needs more modes.
    chaosphere.AxisymmetricDensity : The mean-field limit of densities that are symmetric about an axis.
    chaosphere.SphereDensity : The mean-field limit on S², solved for its density.

    Notes
    -----
    In each step the noise increment ΔW is a fixed field, and ρ follows ∂_s ρ = −∂_θ(ρ e_θ·(h Attn + ΔW)) over unit time
    (diffusion by half a step before and after, exactly): a Stratonovich scheme of strong order ½, that of the schemes
    for tokens. From them it differs, under the same noise and step, by order 1 only. Within the step: Fourier modes
    −K … K, products on more than 3K points (no aliasing of products of two series of K modes), and classical
    Runge–Kutta substeps, the least power of two that keeps |v| max(K, 128) <= 2 in each. The tangential part of
    attention is δ Z′/(βZ), Z = Σ_k I_k(β) m_k e^{ikθ} with the modified Bessel functions I_k; of unnormalised attention
    it is δ Z′/β, and the bound of |v| that sets the substeps is δ e^β; of doubly stochastic attention it is δ Z′/(βZ)
    with Z of the measure a μ, where a Z = 1 is solved by iterations at the points. The mode of degree 0 has slope 0:
    mass is conserved to the bit.

    Cost of a substep: sixteen transforms of about 3K points; of a step, one evaluation of the field at those points.

    Examples
    --------
    The first Fourier mode of the limit, beside that of `MeanField` under the same noise:

    >>> import chaosphere as cs
    >>> mlp = cs.MLP(width=1, activation="tanh", bias_std=0.3)
    >>> field = cs.GaussianField(kernel=mlp.kernel(2))
    >>> attention = cs.SoftmaxAttention()
    >>> model = cs.LimitSDE(attention=attention, field=field, horizon=0.25, n_steps=50)
    >>> law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.0)
    >>> density = cs.CircleDensity(model=model, law=law, n_modes=128).solve(rng=0)
    >>> limit = cs.MeanField(model=model, law=law, n_nodes=128)
    >>> nodes = cs.simulate(limit, limit.start(), rng=0).final
    >>> mean = cs.measures.mean_vector(nodes, weights=limit.weights)
    >>> bool(abs(mean[0] - 1j * mean[1] - density.modes[-1, 1]) < 1e-2)
    True
    """

    model: LimitSDE
    law: Law
    n_modes: int

    def __post_init__(self) -> None:
        """Check."""
        if not isinstance(self.model, LimitSDE):
            raise TypeError(f"model must be a LimitSDE, got {messages.shown(self.model)}")
        if check_law(self.law).dim != 2:
            raise ValueError(f"law must have dim 2, the circle; got {self.law.dim}")
        checks.integers(self, "n_modes", low=4, high=MAX_MODES)
        self._drift()
        check_field(self.model.field, dim=2, surface="the circle", n_points=self.n_points)

    def _drift(self) -> CircleDrift | None:
        """Return the drift by the interaction; ValueError if it is none of densities on the circle."""
        attention = self.model.attention
        if attention is None:
            return None
        drift: CircleDrift = offered(attention, "circle_drift", name="model.attention")(self.n_modes)
        n_substeps = self.model.horizon / self.model.n_steps * drift.max_speed * self._waves / COURANT
        check_substeps(n_substeps, max_speed=drift.max_speed)
        return drift

    @property
    def _waves(self) -> int:
        """The number of modes that sets the substeps."""
        return max(self.n_modes, MIN_MODES)

    @property
    def n_points(self) -> int:
        """Points of the grid on which products are taken: the least number above 3K with a fast transform.

        See Also
        --------
        chaosphere.CircleDensity.solve : Run from the initial law.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention()
        >>> model = cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=10)
        >>> law = cs.laws.Uniform(dim=2)
        >>> cs.CircleDensity(model=model, law=law, n_modes=32).n_points
        100
        """
        return int(scipy.fft.next_fast_len(3 * self.n_modes + 1, real=True))

    def solve(
        self, *, rng: Seed, save_at: Any = None, n_replicas: int | None = None, n_threads: int | None = None
    ) -> DensitySolution:
        """Run from the initial law.

        Parameters
        ----------
        rng : int, SeedSequence or Generator
            As in `simulate`: the same int gives the same noise.
        save_at : array_like of float, optional
            Increasing times in [0, T]; as in `simulate`. Default: T alone.
        n_replicas : int, optional
            R runs from the same law under independent noise, those of the replicas of `simulate`.
        n_threads : int, optional
            For the field.

        Returns
        -------
        DensitySolution
            The densities at the saved times.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range; also if the partition function drowns in rounding, which takes a narrow
            cluster and β > 14.
        UnresolvedDensityError
            If, after the flow of a step, a mode above ¾ K exceeds 1e-6, a mode exceeds the mass or the density falls
            below −2e-6 K; it names a larger K.

        See Also
        --------
        chaosphere.CircleDensity.n_points : Points of the grid.
        chaosphere.DensitySolution : Densities on the circle over time.
        chaosphere.DensitySolution.density : The densities at angles.
        chaosphere.UnresolvedDensityError : A density needs more modes.
        chaosphere.simulate : Run a model.

        Examples
        --------
        Attention contracts a cluster:

        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention()
        >>> model = cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=10)
        >>> law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.0)
        >>> limit = cs.CircleDensity(model=model, law=law, n_modes=32)
        >>> density = limit.solve(rng=0, save_at=[0.0, 1.0])
        >>> abs(density.modes[:, 1]).round(3)  # the order parameter at both times
        array([0.446, 0.637])
        """
        n_threads = checks.threads(n_threads)
        replicas = 1 if n_replicas is None else checks.integer(n_replicas, "n_replicas", low=1)
        times, steps = save_steps([self.model.horizon] if save_at is None else save_at, self.model)
        noise = Noise(root(rng), n_replicas=replicas)
        saved: list[Modes] = []
        for step, modes in enumerate(self._run(noise, replicas, n_threads)):
            saved += [modes] * int((steps == step).sum())
            if step == steps[-1]:
                break
        stacked = np.stack(saved)
        return DensitySolution(times=times, modes=stacked[:, 0] if n_replicas is None else stacked)

    def _run(self, noise: Noise, n_replicas: int, n_threads: int) -> Iterator[Modes]:
        """Yield the modes (R, K + 1) at the start and after every step."""
        model = self.model
        plan = model.plan(Shape(n_replicas=n_replicas, n_tokens=self.n_points, dim=2))
        step_size = model.horizon / model.n_steps
        angle = 2 * np.pi * np.arange(self.n_points) / self.n_points
        points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        tangent = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
        grid = np.tile(points, (n_replicas, 1, 1))
        half_diffusion = np.exp(-0.5 * model.temperature * step_size * np.arange(self.n_modes + 1) ** 2)
        drift = self._drift()
        modes = np.tile(_initial_modes(self.law, points, self.n_modes), (n_replicas, 1))
        self._check(modes, 0)
        yield modes
        for index in range(model.n_steps):
            increment = plan.increment(index, noise)
            shake = np.zeros((n_replicas, self.n_points))
            if increment is not None:
                shake = np.einsum("rik,ik->ri", increment(grid, n_threads=n_threads), tangent)
            fastest = np.abs(shake).max(axis=1) + (0.0 if drift is None else step_size * drift.max_speed)
            # Powers of two, so that most replicas go together.
            halvings = np.ceil(np.log2(np.maximum(1, fastest * self._waves / COURANT)))
            modes = modes * half_diffusion
            try:
                for n_halvings in np.unique(halvings):
                    rows = halvings == n_halvings
                    modes[rows] = _flow(modes[rows], shake[rows], drift, step_size, 2 ** int(n_halvings))
            except PartitionError as error:
                raise without_partition(self.model, self.n_modes, step=index + 1, error=error) from error
            self._check(modes, index + 1)  # before the diffusion, which would hide what the flow has not resolved
            modes *= half_diffusion
            yield modes

    def _check(self, modes: Modes, step: int) -> None:
        tail = float(np.abs(modes[:, 3 * self.n_modes // 4 + 1 :]).max())
        if not tail <= LARGEST_TAIL:
            # Modes that fall geometrically reach the bound at this multiple; a steeper density needs still more.
            factor = math.log(LARGEST_TAIL) / math.log(tail) if 0 < tail < 1 else math.inf
            what = f"modes above {3 * self.n_modes // 4} reach {tail:.1e}, more than {LARGEST_TAIL:g}"
            raise unresolved(self.model, self.n_modes, step=step, what=what, factor=math.ceil(min(max(factor, 2), 8)))
        largest = float(np.abs(modes).max())
        if not largest <= 1 + LARGEST_TAIL:
            raise unresolved(
                self.model, self.n_modes, step=step, what=f"a mode reaches {largest:.6g}, more than the mass, 1"
            )
        least = float(values(modes, self.n_points).min())
        if not least >= -2 * self.n_modes * LARGEST_TAIL:  # what modes below the bound may take from a density of 0
            raise unresolved(self.model, self.n_modes, step=step, what=f"it falls to {least:.1e}")


def moments(x: Tokens, n_modes: int, *, weights: ArrayLike | None = None) -> Modes:
    """Return the Fourier modes ∫ e^{−ikθ} dμ, k = 0 … n_modes, of tokens on the circle.

    Parameters
    ----------
    x : ndarray, shape (..., N, 2)
    n_modes : int
    weights : array_like, shape (N,), optional
        With sum 1 (default 1/N).

    Returns
    -------
    ndarray of complex128, shape (..., n_modes + 1)

    Examples
    --------
    >>> moments(np.array([[0.0, 1.0]]), 2).round(12) + 0
    array([ 1.+0.j,  0.-1.j, -1.+0.j])
    """
    n_modes = checks.integer(n_modes, "n_modes", low=0, high=MAX_MODES)
    checks.plain(x, "x")
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        raise TypeError(f"x must be an array of floats, got {getattr(x, 'dtype', type(x).__name__)}")
    if x.ndim < 2 or x.shape[-1] != 2:
        raise ValueError(f"x must have dim 2, the circle; got shape {x.shape}")
    p = checks.weights(weights, x.shape[-2])
    if p is None:
        p = np.full(x.shape[-2], 1 / x.shape[-2])
    wave = x[..., 0] - 1j * x[..., 1]
    return np.stack([(wave**k) @ p for k in range(n_modes + 1)], axis=-1)


def _initial_modes(law: Law, points: Floats, n_modes: int) -> Modes:
    density = density_at(law, points)
    if not density.sum() > 0:
        raise ValueError("law must have a positive density at some point of the grid; raise n_modes")
    modes = scipy.fft.rfft(density / density.mean(), norm="forward")[: n_modes + 1]
    modes[0] = 1.0
    return np.asarray(modes)


def _flow(modes: Modes, shake: Floats, drift: CircleDrift | None, step_size: float, n_substeps: int) -> Modes:
    """Return the modes (R, K + 1) after unit time of ∂_s ρ = −∂_θ(ρ (h Attn + shake)) by classical Runge–Kutta."""
    n_points = shake.shape[1]
    minus_derivative = -1j * np.arange(modes.shape[1])

    def slope(state: Modes) -> Modes:
        velocity = shake if drift is None else shake + step_size * drift(state, n_points)
        flux = scipy.fft.rfft(velocity * values(state, n_points), axis=-1, norm="forward")
        return np.asarray(minus_derivative * flux[:, : modes.shape[1]])

    s = 1 / n_substeps
    for _ in range(n_substeps):
        k1 = slope(modes)
        k2 = slope(modes + 0.5 * s * k1)
        k3 = slope(modes + 0.5 * s * k2)
        k4 = slope(modes + s * k3)
        modes = modes + s / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return modes
