"""Propagation of chaos: the runs."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from chaosphere.common import checks, messages
from chaosphere.common.streams import Seed, root
from chaosphere.ensembles.ranks import Ranks
from chaosphere.experiments.arguments import checked
from chaosphere.experiments.cases import Case
from chaosphere.experiments.chaos import own_noise, spread
from chaosphere.experiments.chaos.dataset import from_dataset, to_dataset
from chaosphere.experiments.chaos.replica import TRANSPORT_TIMES, Measured, measure
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.geometry.sphere import sample_uniform
from chaosphere.reporting import netcdf
from chaosphere.simulation.identity import describe
from chaosphere.simulation.trajectory import trajectory


def run(
    cases: Sequence[Case],
    *,
    rng: Seed,
    n_replicas: int = 12,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
    ranks: Ranks | None = None,
) -> Any:
    """Measure the errors of N tokens against the mean-field limit under the same layers.

    Per case and N, averaged over replicas and over the disjoint systems of a replica: the squares of the difference of
    the energies E_β at time T and of the mean vectors at time T; (1/N) Σ max_t |X^i − X̄^i|²; and max_t W2²(μ^N, μ) over
    times 0, T/2 and T (for d = 2 with the length of arc, else with the chord).

    Parameters
    ----------
    cases : sequence of Case
        From `rates`, `regimes`, `depths`, `own_tokens`, `own_noise.cases`, or one's own; with different names.
    rng : int, SeedSequence or Generator
        Replica r has its own tokens and layers, the same for every number of replicas.
    n_replicas : int
        Independent draws of tokens and layers, at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the replicas; replicas of the same study in it are not computed again.
    on_step : callable, optional
        Called after every layer of every case and replica, those in the file included.
    ranks : Ranks, optional
        Those that share the tokens of `spread.SpreadCase`; all make this call. The first has the file.

    Returns
    -------
    xarray.Dataset or None
        None on ranks other than the first.
        mean_square (case, quantity, replica, n_tokens), not-a-number where not measured; error with error_low and
        error_high (case, quantity, n_tokens), exponent with its ends (case, quantity): 99 % intervals; node_error
        (case, quantity), the nodes' own, from half as many under the same noise; seconds (case, replica).

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.
    ImportError
        If xarray is not installed, or POT where W2 is taken with d >= 3.

    Notes
    -----
    O(N² d + n_nodes N d) per layer and replica, `Case.pairs` gives the number of pairs; less by fast sums. Memory
    O(N d): on the circle, with W2, about 400 bytes per token of the largest N (3.9 GiB for 10 485 760). W2 for d >= 3
    takes about N^2.3: 0.4 s for N = 512, 2 s for N = 1 024.

    Examples
    --------
    >>> import chaosphere as cs
    >>> from chaosphere.experiments.cases import rates
    >>> model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=cs.MLP(width=8), depth=5, horizon=1.0)
    >>> data = run(rates(model, dims=[2], tokens=[16, 32], n_nodes=32), rng=0, n_replicas=4)
    >>> data["mean_square"].shape
    (1, 4, 4, 2)
    """
    n_replicas = checks.integer(n_replicas, "n_replicas", low=2)
    n_threads = checks.threads(n_threads)
    cases = checked(cases, Case)
    if ranks is not None and not isinstance(ranks, Ranks):
        raise TypeError(f"ranks must be Ranks or None, got {messages.shown(ranks)} ({type(ranks).__name__})")
    _check_size(cases, ranks, n_replicas=n_replicas)
    if any(case.dim > 2 and case.n_transport for case in cases):
        checks.extra("ot", "transport")
    sequence = root(rng)
    study = identity(cases, sequence)

    def measure_all(index: int) -> list[Measured]:
        own = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, index))
        keys = [sequence if case.is_conditional else own for case in cases]
        return [
            _measure(case, ranks, tokens=own, layers=key, n_threads=n_threads, on_step=on_step)
            for case, key in zip(cases, keys, strict=True)
        ]

    if ranks is not None and not ranks.is_first:
        ranks.take_part(measure_all)
        return None
    dataset = grow(
        measure_all if ranks is None else ranks.lead(measure_all),
        n_pieces=n_replicas,
        identity=study,
        to_dataset=lambda pieces: to_dataset(pieces, cases=cases, identity=study),
        from_dataset=from_dataset,
        store=store,
        on_step=on_step,
        n_inner_steps=sum(case.model.n_steps for case in cases),
        n_least=2,
    )
    if ranks is not None:
        ranks.dismiss()
    return dataset


def _measure(
    case: Case, ranks: Ranks | None, *, tokens: Seed, layers: Seed, n_threads: int, on_step: OnStep
) -> Measured:
    if isinstance(case, spread.SpreadCase):
        assert ranks is not None, "ranks"
        return spread.measure(case, ranks, tokens=tokens, layers=layers, n_threads=n_threads, on_step=on_step)
    if isinstance(case, own_noise.OwnNoiseCase):
        return own_noise.measure(case, tokens=tokens, layers=layers, n_threads=n_threads, on_step=on_step)
    return measure(case, tokens=tokens, layers=layers, n_threads=n_threads, on_step=on_step)


def identity(cases: Sequence[Case], rng: Seed) -> str:
    """Return what decides the numbers of a study, as JSON; replicas and threads do not."""
    facts = {"cases": [describe(case) for case in cases], "transport_times": TRANSPORT_TIMES}
    return netcdf.identity(facts, root(rng))


def seconds(cases: Sequence[Case], *, n_threads: int | None = None, ranks: Ranks | None = None) -> float:
    """Estimate how long one replica of all cases takes, to a factor of about two, from a timed step of each.

    Parameters
    ----------
    cases : sequence of Case
    n_threads : int, optional
    ranks : Ranks, optional
        As in `run`; each takes its share of the steps.
    """
    n_threads, total = checks.threads(n_threads), 0.0
    _check_size(cases, ranks, n_replicas=1)
    for case in cases:
        n = min(2048, case.n_reference, max(2**22 // case.dim, 2))
        x = sample_uniform(n, case.dim, rng=0) if case.x0 is None else case.x0[:n]
        steps = trajectory(case.model, x, rng=0, n_threads=n_threads)
        next(steps)
        begin = time.perf_counter()
        next(steps)
        per_token = (time.perf_counter() - begin) / n
        # The cost of a token is that in systems of n: less in smaller ones, about as much in larger ones by fast sums.
        total += per_token * case.n_moved * case.model.n_steps
        if case.dim > 2:
            sizes = zip(case.tokens, case.n_systems("transport"), strict=True)
            total += TRANSPORT_TIMES * sum(0.4 * s * (size / 512) ** 2.3 for size, s in sizes)
    return total if ranks is None else total / ranks.size


def _check_size(cases: Sequence[Case], ranks: Ranks | None, *, n_replicas: int) -> None:
    for case in cases:
        n_tokens = case.n_moved if ranks is None else case.n_moved * ranks.n_here // ranks.size
        several = {"n_steps": case.model.n_steps, "n_replicas": n_replicas, "n_layer_numbers": case.n_layer_numbers}
        check_size(n_tokens=n_tokens, dim=case.dim, **several)
