"""One replica of one case of the chaos experiment: systems, limit and half-resolved limit under the same layers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chaosphere import measures
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import Noise, Seed, Stream
from chaosphere.experiments.cases import CHECKED, QUANTITIES, Case
from chaosphere.experiments.pieces import OnStep
from chaosphere.models.mean_field import MeanField
from chaosphere.models.sde import LimitSDE
from chaosphere.models.transformer import Transformer
from chaosphere.simulation.trajectory import trajectory

TRANSPORT_TIMES = 3  # from 0 to T, at which W2 is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One replica of one case: squares (quantity, n_tokens), squares of the nodes' own errors (quantity,)."""

    squares: Floats
    node_squares: Floats
    seconds: float


def measure(case: Case, *, tokens: Seed, layers: Seed, n_threads: int, on_step: OnStep) -> Measured:
    """Run systems, limit and half-resolved limit in lockstep and take the errors."""
    begin = time.perf_counter()
    x = _shuffled(case.x0, tokens) if case.law is None else case.law.sample(case.n_reference, rng=tokens)
    counts = case.n_systems("energy")
    systems = [x[: s * n].reshape(s, n, -1) for n, s in zip(case.tokens, counts, strict=True)]
    reference: Transformer | LimitSDE | MeanField = case.model
    start, target_weights = x, {}
    weights, n_nodes = None, 0
    runs = [trajectory(case.model, system, rng=layers, shared_noise=True, n_threads=n_threads) for system in systems]
    if case.law is not None:
        reference = MeanField(model=case.model, law=case.law, n_nodes=case.n_nodes)
        half = MeanField(model=case.model, law=case.law, n_nodes=case.n_nodes // 2)
        targets = case.targets()
        start = reference.start(np.concatenate([x, *(points for points, _ in targets.values())]))
        target_weights = {n: of_points for n, (_, of_points) in targets.items()}
        weights, n_nodes = reference.weights, len(reference.weights)
        del targets
        runs.append(trajectory(half, half.start(x[:CHECKED]), rng=layers, n_threads=n_threads))
    runs.insert(0, trajectory(reference, start, rng=layers, n_threads=n_threads))

    paths = [np.zeros(system.shape[:2]) for system in systems]
    n_copies, node_path = len(x), np.zeros(min(CHECKED, len(x)))
    transport = {n: np.zeros(s) for n, s in zip(case.tokens, case.n_systems("transport"), strict=True) if s}
    moments = set(np.linspace(0, case.model.n_steps, TRANSPORT_TIMES).round().astype(int))
    del x, start, systems  # the runs hold what they need, and nothing here holds more: a third of all memory
    states: list[Tokens] = []
    for step in range(case.model.n_steps + 1):
        states.clear()
        states += [next(run)[1] for run in runs]
        follow(paths, states[1:], states[0][n_nodes : n_nodes + n_copies])
        if case.law is not None:
            follow([node_path], [states[-1][-len(node_path) :]], states[0][n_nodes : n_nodes + n_copies])
        if step in moments and transport:
            _transport(case, target_weights, states, n_nodes + n_copies, transport)
        if step > 0 and on_step is not None:
            on_step()

    limit = states[0] if weights is None else states[0][:n_nodes]
    energy = measures.energy(limit, case.beta, weights=weights, n_threads=n_threads)
    mean = measures.mean_vector(limit, weights=weights)
    final = states[1 : 1 + len(paths)]
    squares = np.full((len(QUANTITIES), len(final)), np.nan)
    squares[0] = [np.mean((measures.energy(y, case.beta, n_threads=n_threads) - energy) ** 2) for y in final]
    squares[1] = [np.mean(((measures.mean_vector(y) - mean) ** 2).sum(axis=1)) for y in final]
    squares[2] = [path.mean() for path in paths]
    squares[3, : len(transport)] = [values.mean() for values in transport.values()]
    node_squares = np.full(len(QUANTITIES), np.nan)
    if case.law is not None:
        nodes = states[-1][: len(half.weights)]
        gap = measures.energy(nodes, case.beta, weights=half.weights, n_threads=n_threads) - energy
        shift = measures.mean_vector(nodes, weights=half.weights) - mean
        node_squares[:3] = float(gap**2), float(shift @ shift), node_path.mean()
    return Measured(squares=squares, node_squares=node_squares, seconds=time.perf_counter() - begin)


def follow(paths: list[Floats], states: Sequence[Tokens], copies: Tokens) -> None:
    """Raise the largest distances |X − X̄|² so far to the present ones; the first copies belong to each state."""
    for path, state in zip(paths, states, strict=False):
        gap = np.subtract(state, copies[: path.size].reshape(state.shape), dtype=np.float64)
        np.maximum(path, np.einsum("...d,...d->...", gap, gap), out=path)


def _transport(
    case: Case,
    target_weights: dict[int, Floats],
    states: Sequence[Tokens],
    first: int,
    largest: dict[int, Floats],
) -> None:
    """Raise the largest W2² so far of every system to the present one."""
    distance = measures.circular_wasserstein2 if case.dim == 2 else measures.wasserstein2
    for n, system in zip(case.tokens, states[1:], strict=False):
        if n not in largest:
            continue
        weights = target_weights[n]
        points = states[0][first : first + len(weights)]
        first += len(weights)
        for k in range(len(largest[n])):
            largest[n][k] = max(largest[n][k], distance(system[k], points, y_weights=weights) ** 2)


def _shuffled(x0: Tokens | None, rng: Seed) -> Tokens:
    assert x0 is not None
    order = Noise(rng).at(Stream.SUBSAMPLE, 0)[0].permutation(len(x0))
    return np.ascontiguousarray(x0[order])
