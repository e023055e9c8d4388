"""Levels of `estimate`: systems of several numbers of tokens and steps that run together under one noise."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Draws, Noise, Seed, Stream
from chaosphere.geometry.laws import Law
from chaosphere.measures.observables import Observable, sees_radii, value_of, with_threads
from chaosphere.models.protocol import (
    Cost,
    Model,
    ModelPlan,
    StepContext,
    coarsened,
    in_steps,
    is_antithetic,
    resolved,
)

COARSEST_STEP = 1 / 8
_MULTIPLICATIONS = 16  # that take about as long as a pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The models of all levels in the number of steps, from the coarsest on, each of twice the steps of the one before.

    Attributes
    ----------
    model : Model
    n_steps : int
        Of the coarsest.
    last : int or None
        The finest level; None where there is none.
    """

    model: Model
    n_steps: int
    last: int | None

    @classmethod
    def of(cls, model: Model) -> Ladder:
        """Return the ladder of a model; one that cannot be coarsened is the only one of its own."""
        n_steps, last = model.n_steps, 0
        while n_steps % 2 == 0 and 2 * model.horizon / n_steps <= COARSEST_STEP and _pair(model, n_steps) is not None:
            n_steps, last = n_steps // 2, last + 1
        is_limit = in_steps(model, 2 * model.n_steps) is not None and _pair(model, 2 * model.n_steps) is not None
        return cls(model=model, n_steps=n_steps, last=None if is_limit else last)

    def at(self, level: int) -> tuple[Model, ...]:
        """Return the model in the steps of a level, and for all but the coarsest that in half of them as well."""
        pair = _pair(self.model, self.n_steps << level) if level > 0 else None
        return (_taken(self.model, self.n_steps) or self.model,) if pair is None else pair


def _pair(model: Model, n_steps: int) -> tuple[Model, Model] | None:
    """Return a model in a number of steps, and in half of them under the same noise; None where it has no such."""
    fine = _taken(model, n_steps)
    coarse = None if fine is None or _taken(model, n_steps // 2) is None else coarsened(fine, 2)
    return None if fine is None or coarse is None else (fine, coarse)


def _taken(model: Model, n_steps: int) -> Model | None:
    """Return a model in other steps, in fewer ones unless it solves an equation; None where it cannot be taken so."""
    if (equation := in_steps(model, n_steps)) is not None:
        return equation
    return model if n_steps == model.n_steps else coarsened(model, model.n_steps // n_steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The coupled systems of one level.

    Attributes
    ----------
    models : tuple of Model
        The finer one in steps, and the coarser one where there is one.
    n_tokens : int
        Of the finer systems.
    has_halves : bool
        Whether each half of the tokens is a system of its own, too.
    """

    models: tuple[Model, ...]
    n_tokens: int
    has_halves: bool

    @property
    def runs(self) -> list[tuple[Model, bool]]:
        """The models that run, and whether under the noise with each two steps exchanged.

        The finer model runs under both, where their mean is nearer to the coarser one than either.
        """
        fine, *coarser = self.models
        twin = [(fine, True)] if coarser and is_antithetic(fine) else []
        return [(fine, False), *twin, *((one, False) for one in coarser)]

    @property
    def blocks(self) -> list[slice]:
        """Rows of the systems: for each run all tokens, then those at even and at odd places."""
        n, half = self.n_tokens, self.n_tokens // 2
        sizes = ([n, half, half] if self.has_halves else [n]) * len(self.runs)
        return [slice(end - size, end) for end, size in zip(np.cumsum(sizes).tolist(), sizes, strict=True)]

    def arranged(self, x: Tokens) -> Tokens:
        """Return the tokens of all systems, shape (..., n_rows, d), from those of the finest one."""
        blocks = [x, x[..., ::2, :], x[..., 1::2, :]] if self.has_halves else [x]
        return np.concatenate(blocks * len(self.runs), axis=-2)

    def differences(self, values: Floats) -> Floats:
        """Return a sample of the level's difference for each row of values of its systems, shape (R, n_systems)."""
        if self.has_halves:
            by_run = values.reshape(len(values), len(self.runs), 3)
            values = by_run[..., 0] - by_run[..., 1:].mean(axis=-1)
        n_coarse = len(self.models) - 1
        fine = values[:, : values.shape[1] - n_coarse].mean(axis=1)
        return np.asarray(fine - values[:, -1] if n_coarse else fine)


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelLaw:
    """The law of the tokens of all systems of a level, as an ensemble draws them."""

    law: Law
    level: Level

    @property
    def dim(self) -> int:
        """Dimension d of the surrounding space."""
        return self.law.dim

    def sample(self, n_tokens: int, *, rng: Seed, n_replicas: int | None = None) -> Floats:
        """Return the tokens of all systems."""
        return self.level.arranged(self.law.sample(self.level.n_tokens, rng=rng, n_replicas=n_replicas))

    def density(self, x: Floats) -> Floats:
        """Return that of the law."""
        return self.law.density(x)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SystemValues:
    """An observable in each of the systems of a level."""

    function: Observable
    level: Level
    n_threads: int | None = None

    def __call__(self, time: float, x: Tokens) -> Floats:
        """Return the values, shape (R, n_systems)."""
        return self._values(time, x, radii=None)

    def _values(self, time: float, x: Tokens, *, radii: Tokens | None) -> Floats:
        function = self.function if self.n_threads is None else with_threads(self.function, self.n_threads)
        columns = []
        for rows in self.level.blocks:
            tokens, own = x[:, rows], None if radii is None else radii[:, rows]
            value = np.asarray(value_of(function, time, tokens=tokens, radii=own))
            if value.shape != (len(x),) or value.dtype.kind not in "biuf":
                raise ValueError(
                    f"observable must return one real number for each replica: for tokens {tokens.shape} shape "
                    f"({len(x)},), got {value.dtype} of shape {value.shape}"
                )
            columns.append(value)
        return np.stack(columns, axis=-1).astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RadiusSystemValues(SystemValues):
    """An observable of radii in each of the systems of a level."""

    def of_state(self, time: float, tokens: Tokens, radii: Tokens) -> Floats:
        """Return the values, shape (R, n_systems)."""
        return self._values(time, tokens, radii=radii)


def system_values(function: Observable, level: Level) -> SystemValues:
    """Return an observable in each of the systems of a level."""
    kind = RadiusSystemValues if sees_radii(function) else SystemValues
    return kind(function=function, level=level)


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelModel:
    """The systems of a level as one model, whose tokens are those of the systems one after the other."""

    level: Level

    @property
    def n_steps(self) -> int:
        """Steps of the coarsest system."""
        return self.level.models[-1].n_steps

    @property
    def horizon(self) -> float:
        """Time that all systems span."""
        return self.level.models[0].horizon

    def work(self, dim: int) -> float:
        """Return about how long a sample takes in dimension d, in pairs."""
        shape = Shape(n_tokens=self.level.blocks[-1].stop, dim=dim)
        return sum(system.work for system in self.plan(shape).systems)

    def has_noise(self, dim: int) -> bool:
        """Whether runs from the same tokens of dimension d differ; those of a plan without a cost may do so."""
        cost = self.plan(Shape(n_tokens=self.level.blocks[-1].stop, dim=dim)).cost
        return cost.normals > 0 or cost == Cost()

    def plan(self, shape: Shape, weights: Floats | None = None) -> LevelPlan:
        """Return the plan for the tokens of all systems."""
        return LevelPlan(self, shape)


class LevelPlan(ModelPlan):
    """The systems of a level, each by the plan of its model.

    Parameters
    ----------
    model : LevelModel
    shape : Shape
    """

    def __init__(self, model: LevelModel, shape: Shape) -> None:
        level = model.level
        self.systems: list[System] = []
        kinds = [None, 0, 1] if level.has_halves else [None]
        kinds_of_runs = [(*run, half) for run in level.runs for half in kinds]
        for (one, is_exchanged, half), rows in zip(kinds_of_runs, level.blocks, strict=True):
            self.systems.append(
                System(
                    model=one,
                    plan=one.plan(dataclasses.replace(shape, n_tokens=rows.stop - rows.start)),
                    rows=rows,
                    half=half,
                    is_exchanged=is_exchanged,
                    n_steps=one.n_steps // model.n_steps,
                )
            )
        plans = [system.plan for system in self.systems]
        self.has_radius, self.is_ordered = plans[0].has_radius, plans[0].is_ordered
        self.max_fused_steps = model.n_steps
        # A step's random numbers are drawn anew for each system.
        self.cost = Cost(
            pairs=sum(system.n_steps * system.plan.cost.pairs for system in self.systems),
            normals=sum(system.n_steps * system.plan.cost.normals for system in self.systems),
            bytes=max(plan.cost.bytes for plan in plans),
        )

    def start(self, x: Tokens) -> Tokens:
        """Return the states of all systems; see `ModelPlan`."""
        return np.concatenate([system.plan.start(x[..., system.rows, :]) for system in self.systems], axis=-2)

    def tokens(self, state: Tokens) -> Tokens:
        """Return the tokens of all systems; see `ModelPlan`."""
        return np.concatenate([system.plan.tokens(state[..., system.rows, :]) for system in self.systems], axis=-2)

    def advance(self, x: Tokens, steps: range, context: StepContext) -> Tokens:
        """Return the states of all systems after some steps; see `ModelPlan`."""
        return np.concatenate([system.advance(x, steps, context) for system in self.systems], axis=1)

    def describe(self) -> Any:
        """Return the models of the systems with every automatic choice made."""
        return [resolved(system.model, system.plan) for system in self.systems]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class System:
    """One of the systems of a level.

    Attributes
    ----------
    model : Model
    plan : ModelPlan
    rows : slice
        Its tokens among those of all systems.
    half : int or None
        0 for the tokens at even places of a larger system, 1 for those at odd ones.
    is_exchanged : bool
        Whether each two steps take the noise of one another.
    n_steps : int
        Steps in one of the coarsest system.
    """

    model: Model
    plan: ModelPlan
    rows: slice
    half: int | None
    is_exchanged: bool
    n_steps: int

    @property
    def work(self) -> float:
        """About the time of all its steps, in pairs."""
        n_tokens = self.rows.stop - self.rows.start
        noise = n_tokens * (1 + self.plan.cost.normals) / _MULTIPLICATIONS
        return float(self.model.n_steps * (self.plan.cost.pairs + noise))

    def advance(self, x: Tokens, steps: range, context: StepContext) -> Tokens:
        """Return its state after some steps of the coarsest system, from that of all systems."""
        if self.half is not None or self.is_exchanged:
            noise = cast(Noise, _NoiseOfSystem(context.noise, self, dim=x.shape[2]))
            context = dataclasses.replace(context, noise=noise)
        state = np.ascontiguousarray(x[:, self.rows])
        first, stop = steps.start * self.n_steps, steps.stop * self.n_steps
        for start in range(first, stop, self.plan.max_fused_steps):
            state = self.plan.advance(state, range(start, min(start + self.plan.max_fused_steps, stop)), context)
        return state


class _NoiseOfSystem:
    """The noise of a run, for one of its systems: that of other steps, and of each token's own for half of them."""

    def __init__(self, noise: Noise, system: System, *, dim: int) -> None:
        self.noise, self.system, self.dim = noise, system, dim
        self.roots, self.n_replicas = noise.roots, noise.n_replicas
        self.is_shared, self.n_threads = noise.is_shared, noise.n_threads

    def _step(self, step: int) -> int:
        return step ^ 1 if self.system.is_exchanged else step

    def draws(self, stream: Stream, step: int) -> Draws:
        draws, half = self.noise.draws(stream, self._step(step)), self.system.half
        if half is None or stream is not Stream.IDIOSYNCRATIC:
            return draws
        return _DrawsOfHalf(keys=draws.keys, step=draws.step, n_threads=draws.n_threads, half=half, dim=self.dim)

    def at(self, stream: Stream, step: int) -> list[np.random.Generator]:
        return self.noise.at(stream, self._step(step))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class _DrawsOfHalf(Draws):
    """Those of every second token, among the normals of all tokens (N, dim)."""

    half: int = 0
    dim: int = 1

    def part(self, first: int, *, size: int) -> NDArray[np.float64]:
        both = Draws.part(self, 2 * first, size=2 * size)
        return np.ascontiguousarray(both.reshape(len(both), -1, self.dim)[:, self.half :: 2]).reshape(len(both), size)
