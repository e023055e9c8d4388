"""Samples of the levels of `estimate`: each level is an ensemble that grows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.common.checks import Floats
from chaosphere.ensembles.levels import Ladder, Level, LevelModel, system_values
from chaosphere.ensembles.plan import Plan, make_plan
from chaosphere.ensembles.run import load_ensemble, run_plan
from chaosphere.ensembles.start import Initial
from chaosphere.ensembles.telescope import Index
from chaosphere.measures.observables import Observable
from chaosphere.models.protocol import Model

COARSEST_TOKENS = 64  # below, what a sample takes besides its pairs is most of its time
_VALUES = "values"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What `estimate` is asked, and how the runs are to be made.

    Attributes
    ----------
    model : Model
    initial : InitialTokens or InitialLaw
        Tokens, which all levels have, or a law, of which each has a number of its own.
    observable : callable
    root : SeedSequence
    folder : Path or None
        Of the stores of the levels.
    options : mapping
        Of the ensembles: executor, n_threads, progress.
    memory_limit : int or None
    """

    model: Model
    initial: Initial
    observable: Observable
    root: np.random.SeedSequence
    folder: Path | None
    options: Mapping[str, Any]
    memory_limit: int | None

    @property
    def finest(self) -> tuple[int | None, int | None]:
        """The last levels of tokens and of steps, None where there is none."""
        return None if self.initial.fixed is None else 0, Ladder.of(self.model).last

    def level(self, index: Index) -> Level:
        """Return the systems of a level."""
        a, b = index
        fixed = self.initial.fixed
        n_tokens = COARSEST_TOKENS << a if fixed is None else len(fixed)
        return Level(models=Ladder.of(self.model).at(b), n_tokens=n_tokens, has_halves=a > 0)

    def first_seed(self, index: Index) -> int:
        """Return the seed of the first sample of a level; the others follow."""
        key = (*self.root.spawn_key, *index)
        sequence = np.random.SeedSequence(self.root.entropy, spawn_key=key, pool_size=self.root.pool_size)
        return int(sequence.generate_state(1, np.uint64)[0] >> 2)


class LevelRuns:
    """The samples of a level: sample i is a function of the seed, the level and i alone.

    Parameters
    ----------
    question : Question
    index : tuple of int
    n_samples : int
        That will be asked for at least.

    Raises
    ------
    TypeError, ValueError
        As `ensemble`, before any run.
    """

    def __init__(self, question: Question, index: Index, *, n_samples: int) -> None:
        self.question, self.index, self.level = question, index, question.level(index)
        self.values = np.empty((0, len(self.level.blocks)))
        plan = self._plan(0, n_samples)
        (self.n_pairs,) = (cost.pairs * self.level.models[-1].n_steps for cost in plan.costs.values())
        model = LevelModel(level=self.level)
        self.work = model.work(plan.dim)
        self.is_random = question.initial.fixed is None or model.has_noise(plan.dim)

    def _plan(self, start: int, stop: int) -> Plan:
        question, level = self.question, self.level
        first, is_law = question.first_seed(self.index), question.initial.fixed is None
        return make_plan(
            LevelModel(level=level),
            question.initial.at_level(level),
            seeds=range(first + start, first + stop),
            observe={_VALUES: system_values(question.observable, level)},
            n_tokens=level.blocks[-1].stop if is_law else None,
            save_at=[question.model.horizon],
            memory_limit=question.memory_limit,
        )

    def extend(self, n_samples: int) -> None:
        """Run until there are this many samples.

        Raises
        ------
        ValueError
            If the observable is not finite in one of them.
        """
        if n_samples <= len(self.values):
            return
        self.values = self._stored(n_samples) if self.question.folder is not None else self._extended(n_samples)
        if not np.isfinite(self.values).all():
            at = int(np.flatnonzero(~np.isfinite(self.values).all(axis=1))[0])
            raise ValueError(
                f"observable must return finite numbers, got {self.values[at].tolist()} in sample {at} of the level of "
                f"{self.level.n_tokens} tokens and {self.level.models[0].n_steps} steps"
            )

    def _extended(self, n_samples: int) -> Floats:
        new = run_plan(self._plan(len(self.values), n_samples), **self._options())[_VALUES].values[:, 0]
        return np.concatenate([self.values, new])

    def _stored(self, n_samples: int) -> Floats:
        assert self.question.folder is not None
        path = self.question.folder / f"tokens-{self.index[0]}-steps-{self.index[1]}.zarr"
        # A call that was stopped, or had a smaller tolerance, may have left more.
        n_stored = load_ensemble(path).sizes["replica"] if path.exists() else 0
        plan = self._plan(0, max(n_samples, n_stored))
        values: Floats = run_plan(plan, store=path, **self._options())[_VALUES].values[:n_samples, 0]
        return values

    def _options(self) -> dict[str, Any]:
        return {**self.question.options, "memory_limit": self.question.memory_limit}

    @property
    def is_equal(self) -> bool:
        """Whether the samples are random, but those of the difference are all the same so far."""
        return self.is_random and not np.ptp(self.differences)

    @property
    def differences(self) -> Floats:
        """The samples of the level's difference."""
        return self.level.differences(self.values)
