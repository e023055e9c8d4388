"""The plan of an ensemble: what will run, checked, cut into batches, and what it takes."""

from __future__ import annotations

import dataclasses
import functools
import math
import time as clock
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.errors import add_note
from chaosphere.common.shape import Shape
from chaosphere.ensembles.first_values import Shapes, check_condition, shapes_of
from chaosphere.ensembles.ranks import Ranks
from chaosphere.ensembles.start import Initial, Start, initial
from chaosphere.ensembles.store import Batch
from chaosphere.ensembles.sweep import (
    MEAN_SUFFIXES,
    N_TOKENS,
    RESERVED,
    check_names,
    models_at_points,
    parameter_values,
    parameters_at,
)
from chaosphere.geometry.laws import Law
from chaosphere.measures.observables import Observable, value_of
from chaosphere.models.protocol import Cost, Model, ModelPlan, radii_of, resolved, save_steps
from chaosphere.simulation.coalesce import check_coalesce, plan_of
from chaosphere.simulation.identity import describe
from chaosphere.simulation.observables import OF_CONDITION, check_radii, check_shared, observables
from chaosphere.simulation.trajectory import trajectory
from chaosphere.simulation.until import Condition, check_until

_TOKENS_PER_BATCH = 4096  # enough that the kernels, not Python, take the time; small enough to spread over workers
_MEMBER_BYTES = 100  # a seed, its text in the identity, its flag
_N_PROBED = 64  # tokens that show what an observable returns, where no process has all


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What `ensemble` will run, checked; `make_plan` makes it.

    Attributes
    ----------
    names : tuple of str
        Of the parameters.
    values : tuple of ndarray
        Of each parameter.
    models : dict
        The model at each parameter point, by its indices into `values`.
    descriptions : dict
        Of each model, with every automatic choice made.
    costs : dict
        Of a step of each model.
    initial : InitialTokens or InitialLaw
        The argument x0.
    n_tokens : dict
        Number of tokens at each point.
    dim : int
    seeds : tuple of int
    observe : dict of str to callable
    times : ndarray
        That the observables are recorded at.
    save_at : array_like or None
        Passed to `simulate`.
    shapes : dict of str to (shape, dtype)
        Of one value of each observable of one member.
    token_bytes : dict
        Estimate of the memory that the tokens of a batch take in a step at each point, on one process.
    ranks : Ranks or None
        Those that share the tokens of each run.
    until : callable or None
    coalesce : float or None
        Passed to `simulate`.
    """

    names: tuple[str, ...]
    values: tuple[np.ndarray[Any, Any], ...]
    models: dict[tuple[int, ...], Model]
    descriptions: dict[tuple[int, ...], Any]
    costs: dict[tuple[int, ...], Cost]
    initial: Initial
    n_tokens: dict[tuple[int, ...], int]
    dim: int
    seeds: tuple[int, ...]
    observe: dict[str, Observable]
    times: Floats
    save_at: Any
    shapes: Shapes
    token_bytes: dict[tuple[int, ...], int]
    ranks: Ranks | None = None
    until: Condition | None = None
    coalesce: float | None = None

    @property
    def n_members(self) -> int:
        """Number of runs: parameter points times replicas."""
        return len(self.models) * len(self.seeds)

    @property
    def batch_size(self) -> int:
        """Replicas of a batch at the points of the most tokens; a function of the numbers of tokens alone."""
        return self._batch_size(max(self.n_tokens.values()))

    def batch_size_at(self, point: tuple[int, ...]) -> int:
        """Return the replicas of a batch at a point: a multiple of `batch_size`."""
        size = self._batch_size(self.n_tokens[point])
        return size - size % self.batch_size

    def _batch_size(self, n_tokens: int) -> int:
        return 1 if self.coalesce is not None else _batch_size(n_tokens)  # clusters are those of one system

    @property
    def batches(self) -> list[Batch]:
        """The batches, in the order in which they are started."""
        n_replicas = len(self.seeds)
        sizes = {point: self.batch_size_at(point) for point in self.models}
        return [
            (point, slice(start, min(start + size, n_replicas)))
            for point, size in sizes.items()
            for start in range(0, n_replicas, size)
        ]

    def start(self, batch: Batch) -> Start:
        """Return the initial tokens of a batch."""
        point, replicas = batch
        own = self.initial.part(replicas)
        return Start(initial=own, n_tokens=self.n_tokens[point], seeds=list(self.seeds[replicas]))

    @property
    def n_pairs(self) -> float:
        """Pair interactions over all runs."""
        return len(self.seeds) * sum(model.n_steps * self.costs[point].pairs for point, model in self.models.items())

    @property
    def result_bytes(self) -> int:
        """Size of the results."""
        per_time = sum(math.prod(shape) * dtype.itemsize for shape, dtype in self.shapes.values())
        return self.n_members * len(self.times) * per_time

    @property
    def batch_bytes(self) -> int:
        """Estimate of the memory of one running batch: tokens, workspaces, parameters of a layer, and its results."""
        own = self.result_bytes // self.n_members
        per_point = []
        for point, tokens in self.token_bytes.items():
            n_replicas = min(self.batch_size_at(point), len(self.seeds))
            per_point.append(tokens + self.costs[point].bytes + 2 * own * n_replicas)
        return max(per_point)

    def memory(self, n_workers: int) -> int:
        """Estimate of the bytes that results, their means and this many running batches take together."""
        return 2 * self.result_bytes + n_workers * self.batch_bytes + _MEMBER_BYTES * self.n_members

    def check_memory(self, n_workers: int, limit: int | None) -> None:
        """Raise ValueError if the estimate for this machine passes the limit in bytes; None is the machine's memory."""
        _check_bytes(self.memory(n_workers), n_members=self.n_members, limit=limit)

    def seconds(self, *, n_workers: int = 1, n_threads: int | None = None) -> float:
        """Estimate how long the runs take, from up to half a second of steps and of observing at four of the points.

        NaN where steps take as long as the tokens need: one may be a run.
        """
        if any(cost.is_least for cost in self.costs.values()):
            return math.nan
        points, per_run = list(self.models), []
        for index in np.unique(np.linspace(0, len(points) - 1, 4).astype(int)):
            point = points[index]
            start = self.start((point, slice(0, min(self.batch_size_at(point), len(self.seeds)))))
            model, x = self.models[point], start.tokens()
            steps = trajectory(model, x, rng=start.seeds, n_threads=n_threads)
            next(steps)
            step = _median_seconds(functools.partial(next, steps), min(model.n_steps, 1000))
            once = _median_seconds(functools.partial(self._observe, x, plan=model.plan(Shape.of(x))), 1000)
            per_run.append((step * model.n_steps + once * len(self.times)) / len(start.seeds))
        return float(np.mean(per_run)) * self.n_members / n_workers

    def _observe(self, x: Tokens, *, plan: ModelPlan) -> None:
        for function in self.observe.values():
            value_of(function, 0.0, tokens=x, radii=radii_of(plan, plan.start(x)))


def make_plan(
    model: Model | Callable[..., Model],
    x0: Law | Tokens,
    *,
    seeds: Sequence[int],
    observe: Mapping[str, Observable],
    sweep: Mapping[str, Sequence[Any]] | None = None,
    n_tokens: int | None = None,
    save_at: Any = None,
    until: Condition | None = None,
    coalesce: float | None = None,
    memory_limit: int | None = None,
    ranks: Ranks | None = None,
) -> Plan:
    """Check the arguments of `ensemble`, and return the plan; parameters and errors as there.

    With `ranks` these share the tokens of each run, those of a law alone, and an observable must be a sum over tokens.
    """
    checks.check_sequence(seeds, "seeds")
    try:
        n_seeds = len(seeds)  # not a list yet: a range may be too long
    except TypeError as error:
        raise TypeError(
            f"seeds must be a sequence of integers, such as range(5), got {messages.shown(seeds)}"
        ) from error
    if not isinstance(sweep, Mapping | None):
        raise TypeError(f"sweep must be a mapping of parameters' names to their values, got {messages.shown(sweep)}")
    # Lists: an iterator has its values once.
    sweep = {name: checks.sequence(raw, f"sweep[{name!r}]") for name, raw in (sweep or {}).items()}
    values = tuple(parameter_values(raw, f"sweep[{name!r}]") for name, raw in sweep.items())
    check_names(sweep, observe if isinstance(observe, Mapping) else ())
    observe = observables(observe)
    check_until(until)
    coalesce = check_coalesce(coalesce)
    if ranks is not None and (until is not None or coalesce is not None):
        raise ValueError("until and coalesce must be None where ranks share the tokens of a run: they need all of them")
    if not observe:
        raise ValueError("observe must hold at least one observable: nothing else is kept")
    n_members = math.prod(map(len, values)) * n_seeds
    # Before they are listed.
    _check_bytes(n_members * (_MEMBER_BYTES + 8 * len(observe)), n_members=n_members, limit=memory_limit)
    seeds = tuple(checks.integer(seed, "seeds", low=0, high=2**63) for seed in seeds)
    if not seeds or len(set(seeds)) < len(seeds) or max(seeds) >= 2**63:
        raise ValueError(f"seeds must be distinct integers below 2**63, at least one, got {list(seeds)[:10]}")
    models = models_at_points(model, sweep)
    start = initial(x0)
    if N_TOKENS in sweep:
        if n_tokens is not None or start.fixed is not None:
            raise ValueError("sweep['n_tokens'] needs a law as x0, and n_tokens left out")
        for value in sweep[N_TOKENS]:
            checks.integer(value, "sweep['n_tokens']", low=1)
    sizes = [int(n) for n in sweep[N_TOKENS]] if N_TOKENS in sweep else [n_tokens]
    (first, dim), *_ = [start.shape(n, n_replicas=len(seeds)) for n in sizes]
    n_tokens_at = {point: parameters_at(sweep, point).get(N_TOKENS, first) for point in models}
    grids = {(model.horizon, model.n_steps) for model in models.values()}
    if save_at is None and len(grids) == 1:
        n_numbers = len(observe) * (min(grids)[1] + 1)
        _check_bytes(n_members * (_MEMBER_BYTES + 8 * n_numbers), n_members=n_members, limit=memory_limit)
    shapes = {
        n: Shape(n_replicas=1 if coalesce else min(_batch_size(n), len(seeds)), n_tokens=n, dim=dim, dtype=start.dtype)
        for n in dict.fromkeys(n_tokens_at.values())
    }
    if ranks is None:
        _check_bytes(max(map(_token_bytes, shapes.values())), n_members=n_members, limit=memory_limit)
    else:
        check_shared(observe)
    plans = {
        point: _plan_of(model, shapes[n_tokens_at[point]], parameters=parameters_at(sweep, point), coalesce=coalesce)
        for point, model in models.items()
    }
    for model_plan in plans.values():
        check_radii(observe, has_radius=model_plan.has_radius)
    token_bytes = {}
    for point, model_plan in plans.items():
        shape = shapes[n_tokens_at[point]]
        token_bytes[point] = _token_bytes(shape) if ranks is None else ranks.token_bytes(shape, block=model_plan.block)
        if ranks is not None:
            ranks.check(model_plan, shape.n_tokens)
    plan = Plan(
        names=tuple(sweep),
        values=values,
        models=models,
        descriptions={point: describe(resolved(model, plans[point])) for point, model in models.items()},
        costs={point: plan.cost for point, plan in plans.items()},
        initial=start,
        n_tokens=n_tokens_at,
        dim=dim,
        seeds=seeds,
        observe=observe,
        times=_times(save_at, [(model, plans[point].is_dense) for point, model in models.items()]),
        save_at=save_at,
        shapes={},
        token_bytes=token_bytes,
        ranks=ranks,
        until=until,
        coalesce=coalesce,
    )
    n_here = 1 if ranks is None else ranks.n_here
    plan.check_memory(n_here, memory_limit)  # before the first tokens are drawn, to see what the observables return
    points = {n_tokens: point for point, n_tokens in n_tokens_at.items()}
    starts = {n: (_first_tokens(plan, point), plans[point]) for n, point in points.items()}
    time = float(plan.times[0])
    if until is not None:
        check_condition(until, time, starts=starts)
    plan = dataclasses.replace(plan, shapes=shapes_of(observe, time, starts=starts))
    n_axes = {name: len(shape) for name, (shape, _) in plan.shapes.items()}
    others = () if until is None else OF_CONDITION
    checks.dataset_names(n_axes, others=(*RESERVED, *sweep, *others), suffixes=MEAN_SUFFIXES)
    return plan


def _batch_size(n_tokens: int) -> int:
    return max(1, _TOKENS_PER_BATCH // n_tokens)


def _plan_of(model: Model, shape: Shape, *, parameters: Mapping[str, Any], coalesce: float | None) -> ModelPlan:
    """Return the plan of a model; errors name the point of the sweep."""
    try:
        return plan_of(model, shape, coalesce=coalesce)
    except Exception as error:
        add_note(error, f"while planning the runs with {parameters or 'no swept parameter'}")
        raise


def _token_bytes(shape: Shape) -> int:
    """Estimate of the memory that a batch of tokens takes in a step.

    Tokens before, between and after; blocks of keys, values, queries and double sums, padded by up to 24 tokens.
    """
    return 12 * shape.n_replicas * (shape.n_tokens + 24) * (shape.dim + 1) * 8


def _times(save_at: Any, models: Iterable[tuple[Model, bool]]) -> Floats:
    """Return the times that all models record; each is with whether it is dense."""
    grids = {(model.horizon, model.n_steps, is_dense): model for model, is_dense in models}
    if save_at is None:
        sizes = {(horizon, n_steps) for horizon, n_steps, _ in grids}
        if len(sizes) > 1:
            raise ValueError("save_at must be given where the models differ in horizon or number of steps")
        [(horizon, n_steps)] = sizes
        return np.linspace(0, horizon, n_steps + 1)
    times, *others = (save_steps(save_at, model, is_dense=dense)[0] for (*_, dense), model in grids.items())
    for other in others:
        if (differs := times != other).any():
            at = int(np.flatnonzero(differs)[0])
            raise ValueError(
                "save_at must hold times that every model reaches after a whole number of its steps, where the models "
                f"differ in them: save_at[{at}] = {np.asarray(save_at)[at]} is that of {times[at]:g} in one and of "
                f"{other[at]:g} in another"
            )
    return times


def _first_tokens(plan: Plan, point: tuple[int, ...]) -> Tokens:
    """Return tokens of one replica at the start: some of them where no process has all."""
    start = plan.start((point, slice(0, 1)))
    if plan.ranks is not None:
        start = dataclasses.replace(start, n_tokens=min(start.n_tokens, _N_PROBED))
    return start.tokens()


def _check_bytes(n_bytes: int, *, n_members: int, limit: int | None) -> None:
    if limit is None:
        limit, kind = checks.machine_memory(), "this machine's memory"
    else:
        limit, kind = checks.integer(limit, "memory_limit", low=1), "memory_limit"
    if n_bytes > limit:
        raise ValueError(
            f"memory_limit: {n_members} runs would take about {n_bytes / 1e9:.3g} GB here, more than "
            f"{limit / 1e9:.3g} GB ({kind}); take fewer tokens, or observe less or at fewer times (save_at)"
        )


def _median_seconds(function: Callable[[], object], most: int) -> float:
    """Time a call, repeated for a quarter of a second or `most` times."""
    spent: list[float] = []
    while len(spent) < most and sum(spent) < 0.25:
        began = clock.perf_counter()
        function()
        spent.append(clock.perf_counter() - began)
    return float(np.median(spent))
