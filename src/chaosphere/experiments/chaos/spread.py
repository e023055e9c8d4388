"""One replica of a case whose tokens are spread over ranks of MPI, none of which has all.

The initial tokens are those of one `Sample`, of which each rank draws rows. Of a size up to one block of it a rank runs
some of the systems; beyond, all ranks share each system. Coupled copies are functions of their start, the layers and
the limit: a rank moves those of its own tokens, in the blocks of the sample, with nodes of its own. So no token and no
copy depends on the number of ranks, and means over tokens are added along one tree. The transport distance is left out:
it needs all tokens in one place.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.ordered_sums import over_tokens
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Seed
from chaosphere.ensembles.ranks import Ranks
from chaosphere.experiments.cases import CHECKED, QUANTITIES, Case
from chaosphere.experiments.chaos.replica import Measured, follow
from chaosphere.experiments.pieces import OnStep
from chaosphere.geometry.sample import BLOCK, Sample
from chaosphere.measures import pairwise, statistics
from chaosphere.models.mean_field import MeanField
from chaosphere.simulation import partition
from chaosphere.simulation.steps import check_state, run_steps
from chaosphere.simulation.trajectory import trajectory


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpreadCase(Case):
    """A case of a law whose tokens ranks of MPI share; without the transport distance.

    Raises
    ------
    TypeError, ValueError
        Also if there is no law, or n_transport is not 0.
    """

    def __post_init__(self) -> None:
        """Check."""
        Case.__post_init__(self)
        if self.law is None or self.n_transport:
            raise ValueError("a case over ranks must have a law, and n_transport = 0")

    @classmethod
    def of(cls, case: Case) -> SpreadCase:
        """Return a case without its transport distance."""
        values = {field.name: getattr(case, field.name) for field in fields(case)}
        return cls(**values | {"n_transport": 0})


class _Systems:
    """The tokens of this rank in the systems of one size, which move as they are iterated over.

    Parameters
    ----------
    case : Case
    sample : Sample
        Of all sizes.
    size : int
        N.
    n_systems : int
    ranks : Ranks
    """

    def __init__(self, case: Case, sample: Sample, *, size: int, n_systems: int, ranks: Ranks) -> None:
        self.case, self.size, self.ranks = case, size, ranks
        rank, n_ranks = int(ranks.comm.Get_rank()), ranks.size
        is_shared = size > BLOCK
        share = slice(None) if is_shared else slice(n_systems * rank // n_ranks, n_systems * (rank + 1) // n_ranks)
        own = range(n_systems)[share]
        plan = case.model.plan(Shape(n_replicas=max(len(own), 1), n_tokens=size, dim=case.dim))
        self.over: partition.Rows | None = None
        first, stop = 0, size
        if is_shared:
            self.over = partition.rows(ranks.comm, size, block=plan.block, keeps_own=True)
            plan, first, stop = plan.distribute(self.over), self.over.first, self.over.stop
        self.plan = plan
        # Of each system, the rows of the sample.
        self.rows = [(k * size + first, k * size + stop) for k in own]
        parts = [sample.rows(*bounds) for bounds in self.rows]
        self.state: Tokens = np.stack(parts) if parts else np.empty((0, size, case.dim))
        self.path = np.zeros(self.state.shape[:2])

    def run(self, *, layers: Seed, n_threads: int) -> Iterator[None]:
        """Move the tokens by a step each time, once it has been asked for the start."""
        if not self.rows:  # fewer systems than ranks
            for _ in range(self.case.model.n_steps + 1):
                yield None
            return
        steps = run_steps(
            self.case.model,
            self.plan,
            self.plan.start(self.state),
            rng=layers,
            shared_noise=True,
            n_threads=n_threads,
            first_step=0,
            stops=None,
        )
        for step, state in steps:
            if step > 0:
                check_state(state, self.plan, step=step, model=self.case.model, last=None)
            self.state = self.plan.tokens(state)
            yield None

    def follow(self, copies: dict[int, Tokens]) -> None:
        """Raise the largest distances from the copies, by the blocks of the sample that these are of."""
        for system, (first, stop) in enumerate(self.rows):
            for block in range(first // BLOCK, -(-stop // BLOCK)):
                low, high = max(first, block * BLOCK), min(stop, (block + 1) * BLOCK)
                part = slice(low - first, high - first)
                own = copies[block][low - block * BLOCK : high - block * BLOCK]
                follow([self.path[system, part]], [self.state[system, part]], own)

    def squares(self, *, energy: float, mean: Floats, n_threads: int) -> tuple[float, float, float]:
        """Return the means over all systems of the squares of three errors, on every rank."""
        beta, y, over = self.case.beta, self.state, self.over
        paths = over_tokens(lambda first, stop: self.path[:, first:stop], self.path, over=over) / self.size
        of_systems = np.empty((3, len(y)))
        if len(y):
            of_systems[0] = (pairwise.energy_of(y, None, beta=beta, n_threads=n_threads, over=over) - energy) ** 2
            of_systems[1] = ((statistics.mean_of(y, None, over=over) - mean) ** 2).sum(axis=1)
            of_systems[2] = paths
        if over is None:
            of_systems = np.concatenate(self.ranks.comm.allgather(of_systems), axis=1)
        first, second, third = of_systems.mean(axis=1).tolist()
        return first, second, third


def measure(case: SpreadCase, ranks: Ranks, *, tokens: Seed, layers: Seed, n_threads: int, on_step: OnStep) -> Measured:
    """Run systems, limit and half-resolved limit in lockstep and take the errors, the same on every rank."""
    begin = time.perf_counter()
    assert case.law is not None
    sample = Sample(law=case.law, n_tokens=case.n_reference, rng=tokens)
    counts = zip(case.tokens, case.n_systems("energy"), strict=True)
    systems = [_Systems(case, sample, size=n, n_systems=s, ranks=ranks) for n, s in counts]
    limit = MeanField(model=case.model, law=case.law, n_nodes=case.n_nodes)
    half = MeanField(model=case.model, law=case.law, n_nodes=case.n_nodes // 2)
    touched = {block for size in systems for a, b in size.rows for block in range(a // BLOCK, -(-b // BLOCK))}
    if ranks.is_first:
        touched.add(0)  # for the nodes' own error
    n_nodes = len(limit.weights)

    def passive(of: MeanField, stop: int, *, first: int = 0) -> Iterator[tuple[float, Tokens]]:
        start = of.start(sample.rows(first, min(stop, case.n_reference)))
        return trajectory(of, start, rng=layers, n_threads=n_threads)

    nodes = trajectory(limit, limit.start(), rng=layers, n_threads=n_threads)
    copies = {block: passive(limit, (block + 1) * BLOCK, first=block * BLOCK) for block in sorted(touched)}
    checked = passive(half, CHECKED) if ranks.is_first else None
    runs = [size.run(layers=layers, n_threads=n_threads) for size in systems]
    node_path = np.zeros(min(CHECKED, case.n_reference))
    for step in range(case.model.n_steps + 1):
        for run in runs:
            next(run)
        at_nodes = next(nodes)[1]
        states = {block: next(run)[1][n_nodes:] for block, run in copies.items()}
        for size in systems:
            size.follow(states)
        if checked is not None:
            at_half = next(checked)[1]
            follow([node_path], [at_half[-len(node_path) :]], states[0])
        del states
        if step > 0 and on_step is not None:
            on_step()

    energy = float(pairwise.energy(at_nodes, case.beta, weights=limit.weights, n_threads=n_threads))
    mean = statistics.mean_vector(at_nodes, weights=limit.weights)
    squares = np.full((len(QUANTITIES), len(systems)), np.nan)
    for k, size in enumerate(systems):
        squares[:3, k] = size.squares(energy=energy, mean=mean, n_threads=n_threads)
    node_squares = np.full(len(QUANTITIES), np.nan)
    if checked is not None:
        at_half = at_half[: len(half.weights)]
        gap = pairwise.energy(at_half, case.beta, weights=half.weights, n_threads=n_threads) - energy
        shift = statistics.mean_vector(at_half, weights=half.weights) - mean
        node_squares[:3] = float(gap**2), float(shift @ shift), node_path.mean()
    answer: Any = ranks.comm.bcast(
        Measured(squares=squares, node_squares=node_squares, seconds=time.perf_counter() - begin)
    )
    measured: Measured = answer
    return measured
