"""The mean-field limit on S² as a density, with common noise and noise of the tokens' own, in spherical harmonics.

About half of this file is docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats
from chaosphere.common.reprs import Brief, Row, short, span
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise, Seed, root
from chaosphere.geometry import sphere_grid
from chaosphere.geometry.law import Law, check_law, density_at
from chaosphere.geometry.sphere_grid import MAX_MODES, Modes, SphereGrid
from chaosphere.interactions.circle import PartitionError
from chaosphere.interactions.protocol import offered
from chaosphere.interactions.sphere import SphereDrift
from chaosphere.models.exponential import ExponentialStep
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
from chaosphere.noise.gaussian import GaussianField
from chaosphere.noise.protocol import Increment

_COARSE = 0.75  # share of the modes of the run that estimates the error
# Largest |v| n_modes of a substep. In the coarse run, whose substeps are twice as long, it is 3/2 of this, below the
# 2.8 that stability allows.
_COURANT = 1.8
_MAX_REPLICAS = 2**31


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SphereSolution(Brief):
    """Densities on S² over time, from `SphereDensity.solve`.

    Parameters
    ----------
    times : ndarray, shape (n_times,)
        Times of the densities.
    modes : ndarray of complex128, shape (n_times, K + 1, K + 1) or (n_times, R, K + 1, K + 1)
        m_{l,m} = ∫ conj(Y_{l,m}) dμ_t for degrees l = 0 … K and orders m = 0 … l, and 0 for m > l: m_{0,0} is the mass.
        Y_{l,m} are the complex spherical harmonics about the third axis with Condon and Shortley's phase, orthonormal
        for the uniform probability: √(4π) times those of `scipy.special.sph_harm_y`.
    coarse_modes : ndarray of complex128, shape (n_times, k + 1, k + 1) or (n_times, R, k + 1, k + 1)
        The same of a run under the same noise with k = ⌊3K/4⌋ and half of the substeps.

    See Also
    --------
    chaosphere.SphereDensity : The mean-field limit on S², solved for its density.
    chaosphere.SphereDensity.solve : Run from the initial law.
    chaosphere.measures.sphere_modes : Local maxima of these densities.

    Examples
    --------
    >>> import chaosphere as cs
    >>> model = cs.LimitSDE(attention=cs.SoftmaxAttention(), field=None, horizon=1.0, n_steps=10)
    >>> law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0, 0.0), concentration=1.0)
    >>> sol = cs.SphereDensity(model=model, law=law, n_modes=24).solve(rng=0)
    >>> sol.times, sol.modes.shape, bool(sol.errors[0] < 1e-4)
    (array([1.]), (1, 25, 25), True)
    """

    times: Floats
    modes: Modes
    coarse_modes: Modes

    def _rows(self) -> list[Row]:
        return [
            ("times", span(self.times)),
            ("n_modes", short(self.modes.shape[-1] - 1)),
            *([("n_replicas", short(self.modes.shape[1]))] if self.modes.ndim == 4 else []),
            ("largest error", f"{self.errors.max():.1e}"),
        ]

    @property
    def errors(self) -> Floats:
        """The largest difference of a mode from that of the coarse run: an estimate of the larger error, the latter's.

        Of shape (n_times,) or (n_times, R). The length of the steps of the noise is the same in both runs, and what
        it contributes is not in here.

        See Also
        --------
        chaosphere.SphereDensity.solve : Run from the initial law.

        Examples
        --------
        >>> import chaosphere as cs
        >>> model = cs.LimitSDE(
        ...     attention=cs.SoftmaxAttention(), field=None, horizon=1.0, n_steps=10
        ... )
        >>> law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0, 0.0), concentration=1.0)
        >>> sol = cs.SphereDensity(model=model, law=law, n_modes=24).solve(rng=0)
        >>> bool(sol.errors[0] < 1e-4)
        True
        """
        n = self.coarse_modes.shape[-1]
        return np.asarray(np.abs(self.modes[..., :n, :n] - self.coarse_modes).max(axis=(-2, -1)))

    @property
    def mean_vector(self) -> Floats:
        """The mean token ∫ x dμ_t, shape (n_times, 3) or (n_times, R, 3).

        See Also
        --------
        chaosphere.measures.mean_vector : The mean of tokens.
        chaosphere.SphereDensity.solve : Run from the initial law.

        Examples
        --------
        >>> import chaosphere as cs
        >>> model = cs.LimitSDE(
        ...     attention=None, field=None, horizon=1.0, n_steps=1, temperature=0.5
        ... )
        >>> law = cs.laws.VonMisesFisher(mean_direction=(0.0, 1.0, 0.0), concentration=1.0)
        >>> heat = cs.SphereDensity(model=model, law=law, n_modes=16)
        >>> heat.solve(rng=0, save_at=[0.0, 1.0]).mean_vector.round(6) + 0.0  # falls by e
        array([[0.      , 0.313035, 0.      ],
               [0.      , 0.115159, 0.      ]])
        """
        first = self.modes[..., 1, :2]
        ring = math.sqrt(2 / 3) * first[..., 1]
        return np.stack([-ring.real, ring.imag, first[..., 0].real / math.sqrt(3)], axis=-1)

    def density(self, x: ArrayLike) -> Floats:
        """Return the densities with respect to the uniform probability at points.

        Parameters
        ----------
        x : array_like, shape (n, 3)
            Unit vectors.

        Returns
        -------
        ndarray, shape (n_times, n) or (n_times, R, n)
            Densities at the points.

        Raises
        ------
        TypeError, ValueError
            If x is no list of unit vectors in R³.

        See Also
        --------
        chaosphere.SphereDensity.solve : Run from the initial law.

        Examples
        --------
        >>> import chaosphere as cs
        >>> model = cs.LimitSDE(
        ...     attention=cs.SoftmaxAttention(), field=None, horizon=1.0, n_steps=10
        ... )
        >>> law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0, 0.0), concentration=1.0)
        >>> limit = cs.SphereDensity(model=model, law=law, n_modes=24)
        >>> sol = limit.solve(rng=0, save_at=[0.0, 1.0])
        >>> sol.density([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]).round(3)
        array([[2.313, 0.313],
               [4.792, 0.128]])
        """
        points = checks.array(x, "x")
        if points.ndim != 2 or points.shape[1] != 3:
            raise ValueError(f"x must have shape (n, 3), got {points.shape}")
        checks.tokens(points, "x")
        rows = sphere_grid.packed(self.modes.reshape(-1, *self.modes.shape[-2:]))
        values = sphere_grid.values_at(rows, points, n_modes=self.modes.shape[-1] - 1)
        return values.reshape(*self.modes.shape[:-2], len(points))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SphereDensity(Brief):
    """The limiting equation for the law of infinitely many tokens on S² ⊂ R³, solved for its density.

    dρ + ∇·(ρ P (Attn(μ, x) dt + s ∘dW(x))) = τ Δρ dt   (arXiv:2604.26898, the mean-field limit)

    with ρ the density of μ with respect to the uniform probability. Unlike `AxisymmetricDensity` it serves common noise
    and laws without symmetry; unlike `MeanField` it serves the tokens' own noise (`temperature`), which is the
    diffusion τ Δ. Under one seed the common noise is that of `MeanField` and of tokens. It needs the extra "sphere".

    Parameters
    ----------
    model : LimitSDE
        On S², with QᵀK = βI and V = δI, or with another interaction that has a method `sphere_drift`. Its scheme is for
        tokens and is not used; its steps and their noise are.
    law : Law
        Initial law, of dim 3.
    n_modes : int
        Largest degree K of the spherical harmonics of the density, in [4, 1024].

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the field depends on the tokens' places (method "dense"), the interaction has no
        `sphere_drift`, or its drift may be so large that a step takes more than 2²⁴ substeps.

    See Also
    --------
    chaosphere.LimitSDE : The limit of deep and wide transformers.
    chaosphere.MeanField : The limit of infinitely many tokens, carried by nodes.
    chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.
    chaosphere.AxisymmetricDensity : The mean-field limit of densities that are symmetric about an axis.
    chaosphere.SphereSolution : The result of a run.
    chaosphere.UnresolvedDensityError : A density needs more modes.
    chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.
    chaosphere.SoftmaxAttention.sphere_drift : Drift of densities by softmax attention.
    chaosphere.UnnormalizedAttention.sphere_drift : Drift of densities by unnormalised attention.
    chaosphere.SinkhornAttention.sphere_drift : Drift of densities by doubly stochastic attention.
    chaosphere.PotentialInteraction.sphere_drift : Drift of densities along a potential.
    chaosphere.L2Attention.sphere_drift : Drift of densities by attention by distances.
    chaosphere.MultiHeadAttention.sphere_drift : Drift of densities by several heads.

    Notes
    -----
    In each step the noise increment ΔW is a fixed field, and ρ follows ∂_s ρ = −∇·(ρ P(h Attn + ΔW)) + h τ Δρ over unit
    time: a Stratonovich scheme of strong order ½, that of the schemes for tokens. From them it differs, under the same
    noise and step, by order 1 only. Within the step: modes up to degree K, products on the grid of Gauss and Legendre
    that sums polynomials up to degree 3K exactly (no aliasing of products of two functions of degree K), and an
    exponential Runge–Kutta method of order 4 (ETDRK4), which takes the diffusion exactly. Every step is divided into
    the least power of two of substeps, at least two, that keeps the largest |v| max(K, 128) at 1.8 or below in each.
    The tangential part of attention is δ ∇Z/(βZ), Z = ∫ e^{β⟨x,y⟩} dμ(y), whose modes are those of μ times I_{l+½}(β)
    up to a constant. The mode of degree 0 has slope 0: mass is conserved to the bit. A second run under the same noise,
    with three quarters of the modes and half of the substeps, estimates the error.

    Cost of a substep: sixteen transforms of O(K³) operations, by the ducc0 library; of a step, one evaluation of the
    field. Bitwise identical for any number of threads.

    Examples
    --------
    The mean token of the limit, beside that of `MeanField` under the same noise:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> kernel = cs.MLP(width=1, activation="tanh", bias_std=0.3).kernel(3)
    >>> field = cs.GaussianField(kernel=kernel.scaled(0.5))
    >>> attention = cs.SoftmaxAttention()
    >>> model = cs.LimitSDE(attention=attention, field=field, horizon=0.1, n_steps=20)
    >>> law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0, 0.0), concentration=1.0)
    >>> density = cs.SphereDensity(model=model, law=law, n_modes=32).solve(rng=0)
    >>> limit = cs.MeanField(model=model, law=law, n_nodes=400)
    >>> nodes = cs.simulate(limit, limit.start(), rng=0).final
    >>> mean = cs.measures.mean_vector(nodes, weights=limit.weights)
    >>> bool(np.abs(mean - density.mean_vector[-1]).max() < 1e-3)
    True
    """

    model: LimitSDE
    law: Law
    n_modes: int

    def __post_init__(self) -> None:
        """Check."""
        if not isinstance(self.model, LimitSDE):
            raise TypeError(f"model must be a LimitSDE, got {messages.shown(self.model)}")
        if check_law(self.law).dim != 3:
            raise ValueError(f"law must have dim 3, the sphere S²; got {self.law.dim}")
        checks.integers(self, "n_modes", low=4, high=MAX_MODES)
        drift = _drift(self.model, self.n_modes)
        if drift is not None:
            check_substeps(self._n_substeps(drift.max_speed * self._step_size), max_speed=drift.max_speed)
        check_field(self.model.field, dim=3, surface="the sphere S²", n_points=self.n_points)

    @property
    def _step_size(self) -> float:
        return self.model.horizon / self.model.n_steps

    def _n_substeps(self, displacement: float) -> float:
        """Return the substeps that a displacement within a step takes, as a number that is not rounded."""
        return displacement * max(self.n_modes, MIN_MODES) / _COURANT

    @property
    def n_points(self) -> int:
        """Points of the grid on which products are taken, somewhat more than 9K²/2.

        See Also
        --------
        chaosphere.SphereDensity.solve : Run from the initial law.

        Examples
        --------
        >>> import chaosphere as cs
        >>> model = cs.LimitSDE(attention=cs.SoftmaxAttention(), field=None, horizon=1.0, n_steps=10)
        >>> cs.SphereDensity(model=model, law=cs.laws.Uniform(dim=3), n_modes=32).n_points
        4900
        """
        return sphere_grid.n_points(3 * self.n_modes)

    def solve(
        self,
        *,
        rng: Seed,
        save_at: Any = None,
        n_replicas: int | None = None,
        start: SphereSolution | None = None,
        n_threads: int | None = None,
    ) -> SphereSolution:
        """Run from the initial law, or resume.

        Parameters
        ----------
        rng : int, SeedSequence or Generator
            As in `simulate`: the same int gives the same noise.
        save_at : array_like of float, optional
            Increasing times in [0, T]; as in `simulate`. Default: T alone.
        n_replicas : int, optional
            R runs from the same law under independent noise, those of the replicas of `simulate`.
        start : SphereSolution, optional
            Resume from its last time: with the same model, n_modes, n_replicas and int as rng the result is bitwise
            identical to that of a run that was not interrupted.
        n_threads : int, optional
            For the field and the transforms.

        Returns
        -------
        SphereSolution
            The densities at the saved times.

        Raises
        ------
        ImportError
            If ducc0 is missing, which the extra "sphere" installs.
        TypeError, ValueError
            If an argument is out of range; also if the partition function drowns in rounding, which takes a narrow
            cluster and β > 14.
        UnresolvedDensityError
            If, at the start or after a step, the modes of a degree above ¾ K together exceed 1e-6 of the largest
            degree's, those of a degree exceed what a probability has, or the density at a point of the grid falls below
            −1e-6 K times its largest value; also if the run with three quarters of the modes breaks down. It names a
            larger K.

        See Also
        --------
        chaosphere.SphereDensity.n_points : Points of the grid.
        chaosphere.SphereSolution : The result.
        chaosphere.SphereSolution.density : The densities at points.
        chaosphere.SphereSolution.errors : Estimates of the errors.
        chaosphere.SphereSolution.mean_vector : The mean token.
        chaosphere.UnresolvedDensityError : A density needs more modes.
        chaosphere.simulate : Run a model.

        Examples
        --------
        Common noise moves a uniform law away from uniformity, in each replica in another way:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> kernel = cs.MLP(width=1, activation="tanh", bias_std=0.3).kernel(3)
        >>> field = cs.GaussianField(kernel=kernel.scaled(0.3))
        >>> model = cs.LimitSDE(
        ...     attention=None, field=field, horizon=0.5, n_steps=5, temperature=0.1
        ... )
        >>> limit = cs.SphereDensity(model=model, law=cs.laws.Uniform(dim=3), n_modes=24)
        >>> sol = limit.solve(rng=0, n_replicas=2)
        >>> np.linalg.norm(sol.mean_vector[-1], axis=-1).round(3)
        array([0.015, 0.075])

        A run in two parts is bitwise identical:

        >>> first = limit.solve(rng=0, n_replicas=2, save_at=[0.2])
        >>> second = limit.solve(rng=0, n_replicas=2, start=first)
        >>> bool((second.modes == sol.modes).all())
        True
        """
        n_threads = checks.threads(n_threads)
        replicas = 1 if n_replicas is None else checks.integer(n_replicas, "n_replicas", low=1, high=_MAX_REPLICAS)
        times, steps = save_steps([self.model.horizon] if save_at is None else save_at, self.model)
        before = None if start is None else self._resumed(start, n_replicas, int(steps[0]))
        noise = Noise(root(rng), n_replicas=replicas)
        levels = [_Level(self, n_modes, n_threads=n_threads) for n_modes in (self.n_modes, self._n_coarse)]
        saved: list[list[Modes]] = []
        for step, states in self._run(levels, noise, before):
            saved += [states] * int((steps == step).sum())
            if step == steps[-1]:
                break
        fine, coarse = (
            sphere_grid.square(np.stack([states[k] for states in saved]), level.grid.n_modes)
            for k, level in enumerate(levels)
        )
        if n_replicas is None:
            fine, coarse = fine[:, 0], coarse[:, 0]
        return SphereSolution(times=times, modes=fine, coarse_modes=coarse)

    @property
    def _n_coarse(self) -> int:
        return int(_COARSE * self.n_modes)

    def _resumed(self, start: SphereSolution, n_replicas: int | None, first_saved: int) -> tuple[int, list[Modes]]:
        """Return the step and the states of the end of a run, checked."""
        if not isinstance(start, SphereSolution):
            raise TypeError(f"start must be a SphereSolution, got {messages.shown(start)}")
        states, rows = [], () if n_replicas is None else (n_replicas,)
        for modes, n_modes in ((start.modes, self.n_modes), (start.coarse_modes, self._n_coarse)):
            shape = (*rows, n_modes + 1, n_modes + 1)
            if modes.shape[1:] != shape:
                raise ValueError(f"start must have modes of shape {shape} at each time, got {modes.shape[1:]}")
            states.append(np.atleast_2d(sphere_grid.packed(modes[-1])))
        time = float(start.times[-1])
        if not 0 <= time <= self.model.horizon * (1 + 1e-12):
            raise ValueError(f"start must end within [0, {self.model.horizon:g}], got {time:g}")
        step = round(time / self._step_size)
        if abs(time - step * self._step_size) > 1e-9 * self.model.horizon:
            raise ValueError(f"start must end at a step of the model, a multiple of {self._step_size:g}, got {time:g}")
        if first_saved < step:
            raise ValueError(f"save_at must not be before the end of start, {time:g}")
        return step, states

    def _run(
        self, levels: list[_Level], noise: Noise, before: tuple[int, list[Modes]] | None
    ) -> Iterator[tuple[int, list[Modes]]]:
        """Yield the steps made and the modes (R, n) of the levels at the start and after every step."""
        field = None if self.model.field is None else _Field(self, noise, [level.grid for level in levels])
        if before is None:
            step, states = 0, [np.tile(level.initial(self.law), (noise.n_replicas, 1)) for level in levels]
        else:
            step, states = before
        for c in states[0]:
            self._check(levels[0].grid, c, step)
        yield step, states
        for index in range(step, self.model.n_steps):
            shakes: list[Any] = [np.zeros((noise.n_replicas, 1, 1))] * 2 if field is None else field.at(index)
            fastest = np.sqrt((shakes[0] ** 2).sum(axis=1)).max(axis=1) + levels[0].longest_way
            # Powers of two, so that few steps of the method are prepared.
            halvings = [max(1, math.ceil(math.log2(max(1.0, self._n_substeps(way))))) for way in fastest]
            states = [
                self._advanced(level, c, shakes[k], [2 ** (n - k) for n in halvings], index + 1)
                for k, (level, c) in enumerate(zip(levels, states, strict=True))
            ]
            for c in states[0]:
                self._check(levels[0].grid, c, index + 1)
            if not np.isfinite(states[1]).all():
                raise unresolved(
                    self.model, self.n_modes, step=index + 1, what="with three quarters of the modes it is lost"
                )
            yield index + 1, states

    def _advanced(self, level: _Level, states: Modes, shakes: Floats, n_substeps: list[int], step: int) -> Modes:
        """Return the modes (R, n) after a step."""
        try:
            with np.errstate(all="ignore"):  # of a density that is not resolved, which the checks see
                rows = zip(states, shakes, n_substeps, strict=True)
                return np.stack([level.advance(c, shake, n_substeps=count) for c, shake, count in rows])
        except PartitionError as error:
            raise without_partition(self.model, self.n_modes, step=step, error=error) from error

    def _check(self, grid: SphereGrid, c: Modes, step: int) -> None:
        sizes = sphere_grid.sizes(c, self.n_modes)
        largest, first = float(sizes.max()), 3 * self.n_modes // 4 + 1
        tail = float(sizes[first:].max()) / largest
        if not tail <= LARGEST_TAIL:
            factor = math.log(LARGEST_TAIL) / math.log(tail) if 0 < tail < 1 else math.inf
            what = f"modes above {first - 1} reach {tail:.1e} of the largest, more than {LARGEST_TAIL:g}"
            raise unresolved(self.model, self.n_modes, step=step, what=what, factor=math.ceil(min(max(factor, 2), 8)))
        # Of a probability Σ_m |m_{l,m}|² is a mean of (2l + 1) P_l.
        mode = float((sizes / np.sqrt(2 * np.arange(len(sizes)) + 1)).max())
        if not mode <= 1 + LARGEST_TAIL:
            raise unresolved(
                self.model,
                self.n_modes,
                step=step,
                what=f"a degree reaches {mode:.6g} times what a probability can have",
            )
        density = grid.values(c)
        if not density.min() >= -LARGEST_TAIL * self.n_modes * density.max():
            raise unresolved(self.model, self.n_modes, step=step, what=f"it falls to {density.min():.1e}")


class _Level:
    """The equation at one number of modes.

    Parameters
    ----------
    limit : SphereDensity
    n_modes, n_threads : int

    Attributes
    ----------
    longest_way : float
        Bound on the displacement by attention in a step.
    """

    def __init__(self, limit: SphereDensity, n_modes: int, *, n_threads: int) -> None:
        self.grid = SphereGrid(n_modes, n_exact=3 * n_modes, n_threads=n_threads)
        self.drift = _drift(limit.model, n_modes)
        self.step_size = limit.model.horizon / limit.model.n_steps
        self.longest_way = 0.0 if self.drift is None else self.step_size * self.drift.max_speed
        degree = np.arange(n_modes + 1.0)
        self._decay = -limit.model.temperature * self.step_size * degree * (degree + 1)
        self._of_mode = sphere_grid.degrees(n_modes)
        self._methods: dict[int, ExponentialStep] = {}

    def initial(self, law: Law) -> Modes:
        """Return the modes of a law."""
        density = density_at(law, self.grid.points)
        mass = float(self.grid.weights @ density)
        if not mass > 0:
            raise ValueError("law must have a positive density at some point of the grid; raise n_modes")
        modes = self.grid.modes(density / mass)
        modes[0] = 1.0
        return modes

    def advance(self, c: Modes, shake: Floats, *, n_substeps: int) -> Modes:
        """Return the modes after a step; shake (2, n) is the noise's part of the displacement."""
        grid, drift = self.grid, self.drift
        if n_substeps not in self._methods:
            self._methods[n_substeps] = ExponentialStep(self._decay / n_substeps, self._of_mode)
        method, displacement = self._methods[n_substeps], shake / n_substeps
        is_still = drift is None and not shake.any()

        def slope(c: Modes) -> Modes:
            if is_still:
                return np.zeros_like(c)
            way = displacement
            if drift is not None:
                way = drift(c, grid)
                way *= self.step_size / n_substeps
                way += displacement
            return grid.against_gradients(way * grid.values(c))

        for _ in range(n_substeps):
            c = method(c, slope)
        return c


class _Field:
    """The common noise on the grids, of a field of harmonics from its modes.

    Parameters
    ----------
    limit : SphereDensity
    noise : Noise
    grids : list of SphereGrid
    n_threads : int
    """

    def __init__(self, limit: SphereDensity, noise: Noise, grids: list[SphereGrid]) -> None:
        self.noise, self.grids = noise, grids
        n_threads = grids[0].n_threads
        shape = Shape(n_replicas=noise.n_replicas, n_tokens=limit.n_points, dim=3)
        self.plan = replace(limit.model, attention=None).plan(shape)
        assert isinstance(limit.model.field, GaussianField)
        degree = limit.model.field.plan(limit.n_points).degree
        self.own: SphereGrid | None = None
        if degree is not None:
            self.own = SphereGrid(degree, n_exact=2 * degree, n_threads=n_threads)
            self.wide = [SphereGrid(degree, n_exact=3 * grid.n_modes, n_threads=n_threads) for grid in grids]

    def at(self, index: int) -> list[Floats]:
        """Return the tangential parts (R, 2, n) of the noise of a step at the points of the grids."""
        increment = self.plan.increment(index, self.noise)
        assert increment is not None
        if self.own is None:
            values = [self._values(increment, grid) for grid in self.grids]
        else:
            modes = self.own.modes(self._values(increment, self.own))
            values = [wide.values(modes) for wide in self.wide]
        pairs = zip(values, self.grids, strict=True)
        return [np.einsum("rkn,ank->ran", components, grid.frame) for components, grid in pairs]

    def _values(self, increment: Increment, grid: SphereGrid) -> Floats:
        """Return the components (R, 3, n) of the field."""
        x = np.tile(grid.points, (self.noise.n_replicas, 1, 1))
        return np.ascontiguousarray(np.moveaxis(increment(x, n_threads=grid.n_threads), 2, 1))


def _drift(model: LimitSDE, n_modes: int) -> SphereDrift | None:
    """Return the drift by the interaction; ValueError if it is none of densities on S²."""
    if model.attention is None:
        return None
    drift: SphereDrift = offered(model.attention, "sphere_drift", name="model.attention")(n_modes)
    return drift
