"""The runs of a plan one after the other, the tokens of each spread over ranks of MPI."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.common.checks import Floats
from chaosphere.ensembles.plan import Plan
from chaosphere.ensembles.ranks import Ranks
from chaosphere.ensembles.store import Batch
from chaosphere.geometry.sample import Sample
from chaosphere.measures.observables import with_threads
from chaosphere.simulation.checkpoints import Checkpoint
from chaosphere.simulation.loop import simulate
from chaosphere.simulation.signals import Interrupted, StopRequest


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpreadRuns:
    """How the ranks run the batches of a plan; each has one.

    Attributes
    ----------
    plan : Plan
    ranks : Ranks
    n_threads : int
        Of each rank.
    checkpoints : Path or None
        Folder for the checkpoints of the run that is under way, one of each rank.
    """

    plan: Plan
    ranks: Ranks
    n_threads: int
    checkpoints: Path | None

    def checkpoint(self, batch: Batch) -> Path | None:
        """Return None: a run removes its checkpoints itself."""
        return None

    def results(self, batches: Sequence[Batch]) -> Iterator[tuple[Batch, dict[str, Floats]]]:
        """Yield the batches that the first rank names, with their results, on every rank; a stop ends all.

        Raises
        ------
        Interrupted
            If a signal to any rank stopped the runs.
        """
        comm = self.ranks.comm
        with StopRequest() as stop:
            for batch in comm.bcast(batches):
                yield batch, self._run(batch)
                if signals := [name for name in comm.allgather(stop.received and stop.received.name) if name]:
                    raise Interrupted(signals[0])

    def _run(self, batch: Batch) -> dict[str, Floats]:
        """Run the replicas of a batch one after the other."""
        plan, (point, _) = self.plan, batch
        start = plan.start(batch)
        if self.checkpoints is not None:
            self.checkpoints.mkdir(parents=True, exist_ok=True)  # those of another machine may be elsewhere
        rows: list[dict[str, Any]] = []
        for seed in start.seeds:
            path = None if self.checkpoints is None else self.checkpoints / f"{'-'.join(map(str, (*point, seed)))}.npz"
            solution = simulate(
                plan.models[point],
                Sample(law=start.initial.x0, n_tokens=start.n_tokens, rng=seed),
                rng=seed,
                save_at=plan.save_at,
                observe={name: with_threads(function, self.n_threads) for name, function in plan.observe.items()},
                n_threads=self.n_threads,
                save_states=False,
                checkpoint=None if path is None else Checkpoint(path=path),
                comm=self.ranks.comm,
            )
            rows.append(solution.observables)
        return {name: np.stack([row[name] for row in rows]) for name in plan.observe}
