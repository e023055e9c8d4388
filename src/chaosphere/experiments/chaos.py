"""Propagation of chaos: how fast N tokens forget that they are finitely many.

A case is a model with an initial law. In every replica, systems of N tokens of a ladder run in lockstep with the
mean-field limit under the same layers: quadrature nodes carry the measure μ_t; every token X^i has a passive partner
X̄^i with the same start, moved by μ_t; and N passive points on the circle, 4N beyond, a quadrature of the initial law of
their own, stand for μ_t in the transport distance (their own error keeps a fixed proportion at most, so that exponents
are not touched).

With tokens of the user's there is no law: all M of them are the reference, and systems are drawn from them without
replacement. The variance is then proportional to 1/N − 1/M instead of 1/N, and errors are fitted against the effective
number 1/(1/N − 1/M), which leaves no bias from the finite reference.
"""

from __future__ import annotations

import json
import math
import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chaosphere import measures
from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import Noise, Seed, Stream, root
from chaosphere.experiments.cases import CHECKED, POWERS, QUANTITIES, Case
from chaosphere.experiments.sizes import check_memory
from chaosphere.geometry.sphere import sample_uniform
from chaosphere.models.mean_field import MeanField
from chaosphere.models.transformer import Transformer
from chaosphere.noise import activations
from chaosphere.reporting import results
from chaosphere.reporting.results import Claim
from chaosphere.simulation.identity import describe
from chaosphere.simulation.loop import trajectory

ERRORS = {
    "energy": "energy, RMS",
    "mean direction": "mean direction, RMS",
    "coupled particles": "E max_t |X − X̄|²",
    "transport": "E sup_t W2²",
}
_TRANSPORT_TIMES = 3  # from 0 to T, at which W2 is taken


def run(
    cases: Sequence[Case],
    *,
    rng: Seed,
    n_replicas: int = 8,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: Callable[[], object] | None = None,
) -> Any:
    """Measure the errors of N tokens against the mean-field limit under the same layers.

    Per case and N, averaged over replicas and over the disjoint systems of a replica: the squares of the difference of
    the energies E_β at time T and of the mean vectors at time T; (1/N) Σ max_t |X^i − X̄^i|²; and max_t W2²(μ^N, μ) over
    times 0, T/2 and T (for d = 2 with the length of arc, else with the chord).

    Parameters
    ----------
    cases : sequence of Case
        From `rates`, `regimes`, `depths`, `own_tokens`, or one's own; with different names.
    rng : int, SeedSequence or Generator
        Replica r has its own tokens and layers, the same for every number of replicas.
    n_replicas : int
        At least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file written after every replica; replicas of the same study found in it are not computed again.
    on_step : callable, optional
        Called after every layer of every case and replica.

    Returns
    -------
    xarray.Dataset
        mean_square (case, quantity, replica, n_tokens), not-a-number where not measured; error with error_low and
        error_high (case, quantity, n_tokens), exponent with its ends (case, quantity): 99 % intervals; node_error
        (case, quantity), the nodes' own, from half as many under the same noise; seconds (case, replica).

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.
    ImportError
        If xarray is not installed, or POT where W2 is asked for with d >= 3.

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
    xarray = checks.extra("xarray", "io")
    n_replicas = checks.integer(n_replicas, "n_replicas", low=2)
    n_threads = checks.threads(n_threads)
    cases = list(cases)
    if not cases or len({case.name for case in cases}) != len(cases):
        raise ValueError(f"cases must have different names, at least one; got {[case.name for case in cases]}")
    _check_memory(cases)
    if any(case.dim > 2 and case.n_transport for case in cases):
        checks.extra("ot", "transport")
    sequence = root(rng)
    study = identity(cases, sequence)
    with results.held(store, study) as (path, stored):
        done = [] if stored is None else _stored(stored, study)
        for replica in range(len(done), n_replicas):
            own = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica))
            keys = [sequence if case.is_conditional else own for case in cases]
            done.append(
                [
                    _replica(case, tokens=own, layers=key, n_threads=n_threads, on_step=on_step)
                    for case, key in zip(cases, keys, strict=True)
                ]
            )
            if path is not None and len(done) >= 2:
                results.save(_dataset(xarray, done, cases, study), path)
    return _dataset(xarray, done[:n_replicas], cases, study)


def identity(cases: Sequence[Case], rng: Seed) -> str:
    """Return what decides the numbers of a study, as JSON; replicas and threads do not."""
    return results.identity({"cases": [describe(case) for case in cases]}, root(rng))


def seconds(cases: Sequence[Case], *, n_threads: int | None = None) -> float:
    """Estimate how long one replica of all cases takes, to a factor of about two, from a timed step of each.

    Parameters
    ----------
    cases : sequence of Case
    n_threads : int, optional
    """
    n_threads, total = checks.threads(n_threads), 0.0
    _check_memory(cases)
    for case in cases:
        n = min(2048, case.n_reference, max(2**22 // case.dim, 2))
        x = sample_uniform(n, case.dim, rng=0) if case.x0 is None else case.x0[:n]
        steps = trajectory(case.model, x, rng=0, n_threads=n_threads)
        next(steps)
        begin = time.perf_counter()
        next(steps)
        per_token = (time.perf_counter() - begin) / n
        # The cost of a token is that in systems of n: less in smaller ones, about as much in larger ones by fast sums.
        total += per_token * case.n_moved * case.model.depth
        if case.dim > 2:
            sizes = zip(case.tokens, case.n_systems("transport"), strict=True)
            total += _TRANSPORT_TIMES * sum(0.4 * s * (size / 512) ** 2.3 for size, s in sizes)
    return total


def _check_memory(cases: Sequence[Case]) -> None:
    for case in cases:
        width = 0 if case.model.mlp is None else case.model.mlp.width
        check_memory(n_tokens=case.n_moved, dim=case.dim, n_layer_numbers=width * (2 * case.dim + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """One replica of one case: squares (quantity, n_tokens), squares of the nodes' own errors (quantity,)."""

    squares: Floats
    node_squares: Floats
    seconds: float


def _replica(
    case: Case, *, tokens: Seed, layers: Seed, n_threads: int, on_step: Callable[[], object] | None
) -> _Measured:
    """Run systems, limit and half-resolved limit in lockstep and take the errors."""
    begin = time.perf_counter()
    x = _shuffled(case.x0, tokens) if case.law is None else case.law.sample(case.n_reference, rng=tokens)
    counts = case.n_systems("energy")
    systems = [x[: s * n].reshape(s, n, -1) for n, s in zip(case.tokens, counts, strict=True)]
    whole: Transformer | MeanField = case.model
    start, target_weights = x, {}
    weights, n_nodes = None, 0
    runs = [trajectory(case.model, system, rng=layers, shared_noise=True, n_threads=n_threads) for system in systems]
    if case.law is not None:
        whole = MeanField(model=case.model, law=case.law, n_nodes=case.n_nodes)
        half = MeanField(model=case.model, law=case.law, n_nodes=case.n_nodes // 2)
        targets = case.targets()
        start = whole.start(np.concatenate([x, *(points for points, _ in targets.values())]))
        target_weights = {n: of_points for n, (_, of_points) in targets.items()}
        weights, n_nodes = whole.weights, len(whole.weights)
        del targets
        runs.append(trajectory(half, half.start(x[:CHECKED]), rng=layers, n_threads=n_threads))
    runs.insert(0, trajectory(whole, start, rng=layers, n_threads=n_threads))

    paths = [np.zeros(system.shape[:2]) for system in systems]
    n_partners, node_path = len(x), np.zeros(min(CHECKED, len(x)))
    transport = {n: np.zeros(s) for n, s in zip(case.tokens, case.n_systems("transport"), strict=True) if s}
    moments = set(np.linspace(0, case.model.depth, _TRANSPORT_TIMES).round().astype(int))
    del x, start, systems  # the runs hold what they need, and nothing here holds more: a third of all memory
    states: list[Tokens] = []
    for step in range(case.model.depth + 1):
        states.clear()
        states += [next(run)[1] for run in runs]
        _follow(paths, states[1:], states[0][n_nodes : n_nodes + n_partners])
        if case.law is not None:
            _follow([node_path], [states[-1][-len(node_path) :]], states[0][n_nodes : n_nodes + n_partners])
        if step in moments and transport:
            _transport(case, target_weights, states, n_nodes + n_partners, transport)
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
    return _Measured(squares=squares, node_squares=node_squares, seconds=time.perf_counter() - begin)


def _follow(paths: list[Floats], states: Sequence[Tokens], partners: Tokens) -> None:
    """Raise the largest distances |X − X̄|² so far to the present ones; the first partners are those of each state."""
    for path, state in zip(paths, states, strict=False):
        apart = np.subtract(state, partners[: path.size].reshape(state.shape), dtype=np.float64)
        np.maximum(path, np.einsum("...d,...d->...", apart, apart), out=path)


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


def _stored(dataset: Any, identity: str) -> list[list[_Measured]]:
    found = []
    ladders = [np.isin(dataset["n_tokens"].values, case["tokens"]) for case in json.loads(identity)["cases"]]
    for replica in range(dataset.sizes["replica"]):
        row = dataset.isel(replica=replica)
        found.append(
            [
                _Measured(
                    squares=row["mean_square"].values[k][:, ladder],
                    node_squares=row["node_mean_square"].values[k],
                    seconds=float(row["seconds"].values[k]),
                )
                for k, ladder in enumerate(ladders)
            ]
        )
    return found


def _dataset(xarray: Any, done: Sequence[Sequence[_Measured]], cases: Sequence[Case], identity: str) -> Any:
    """Label the replicas and add what follows from them."""
    ladder = sorted({n for case in cases for n in case.tokens})
    shape = (len(cases), len(QUANTITIES))
    squares = np.full((*shape, len(done), len(ladder)), np.nan)
    error = np.full((3, *shape, len(ladder)), np.nan)
    exponent, centre = np.full((3, *shape), np.nan), np.full((2, *shape), np.nan)
    bound = np.full((3, len(cases)), np.nan)
    n_effective, theorem_rate = np.full((2, len(cases), len(ladder)), np.nan)
    for c, case in enumerate(cases):
        columns = np.searchsorted(ladder, case.tokens)
        rows = np.stack([replica[c].squares for replica in done])
        squares[c][:, :, columns] = rows.transpose(1, 0, 2)
        n_effective[c, columns] = case.n_effective
        theorem_rate[c, columns] = case.theorem_rate()
        for q, (quantity, power) in enumerate(POWERS.items()):
            is_taken = np.isfinite(rows[:, q]).all(axis=0)
            values, at = rows[:, q][:, is_taken], columns[is_taken]
            if not values.any():
                error[:, c, q, at] = 0  # without attention tokens and partners are one
                continue
            error[:, c, q, at] = np.stack(results.root_mean_square(values)) ** power
            if is_taken.sum() < 2:
                continue
            x, n_systems = case.n_effective[is_taken], np.array(case.n_systems(quantity), dtype=np.float64)[is_taken]
            log_factor = case.log_factor(quantity)[is_taken]
            fitted = np.array(results.log_slope(x, values / log_factor ** (2 / power), n_systems))
            exponent[:, c, q] = power * fitted
            level = np.average(np.log(error[0, c, q, at] / log_factor), weights=n_systems)
            centre[:, c, q] = np.average(np.log(x), weights=n_systems), level
            if quantity == "transport":
                scaled = values / case.theorem_rate()[is_taken]
                bound[:, c] = power * np.array(results.log_slope(x, scaled, n_systems))
    node_squares = np.stack([[m.node_squares for m in replica] for replica in done], axis=2)
    per_case, by = ("case", "quantity"), ("case", "quantity", "n_tokens")
    powers = np.array(list(POWERS.values()))
    return xarray.Dataset(
        {
            "mean_square": (("case", "quantity", "replica", "n_tokens"), squares),
            "node_mean_square": (("case", "quantity", "replica"), node_squares),
            "seconds": (("case", "replica"), np.array([[m.seconds for m in replica] for replica in done]).T),
            **{f"error{end}": (by, error[k]) for k, end in enumerate(("", "_low", "_high"))},
            **{f"exponent{end}": (per_case, exponent[k]) for k, end in enumerate(("", "_low", "_high"))},
            **{f"over_theorem{end}": (("case",), bound[k]) for k, end in enumerate(("", "_low", "_high"))},
            "node_error": (per_case, node_squares.mean(axis=2) ** (powers / 2)),
            "centre": (("end", *per_case), centre),
            "n_effective": (("case", "n_tokens"), n_effective),
            "expected": (
                per_case,
                [[case.expected(q) if case.is_asymptotic else np.nan for q in QUANTITIES] for case in cases],
            ),
            "theorem_rate": (("case", "n_tokens"), theorem_rate),
            "pairs": (("case",), [case.pairs * len(done) for case in cases]),
        },
        coords={
            "case": [case.name for case in cases],
            "dim": ("case", [case.dim for case in cases]),
            "quantity": list(QUANTITIES),
            "power": ("quantity", powers),
            "n_tokens": ladder,
            "end": ["log n_effective", "log error"],
        },
        attrs={"title": _title(cases, len(done)), "identity": identity, "is_limit": int(cases[0].law is not None)},
    )


def _title(cases: Sequence[Case], n_replicas: int) -> str:
    """Say what the cases share."""
    case, model = cases[0], cases[0].model
    against = "the mean-field limit" if case.law is not None else f"M = {case.n_reference} tokens"
    parts = []
    if len({c.model.depth for c in cases}) == 1:
        parts += [f"L = {model.depth}"]
    parts += [f"T = {model.horizon:g}"]
    if model.attention is not None and model.attention.beta is not None:
        parts += [f"β = {model.attention.beta:g}"]
        if model.attention.value_scale is not None and len({c.model.attention for c in cases}) == 1:
            parts += [f"δ = {model.attention.value_scale:g}"]
    if model.mlp is not None:
        mlp = model.mlp
        parts += [f"{activations.get(mlp.activation).name}, m = {mlp.width}, σ_U = {mlp.bias_std:g}"]
    return f"Propagation of chaos against {against}, {n_replicas} replicas\n{', '.join(parts)}"


def claims(dataset: Any) -> list[Claim]:
    """Return the fitted exponents beside the expected ones, from the dataset of `run`.

    Where tokens do not interact they are their own partners: then the claim is that the coupled error is zero.
    """
    found = []
    for name in dataset["case"].values:
        case = dataset.sel(case=name)
        for quantity in QUANTITIES:
            row = case.sel(quantity=quantity)
            if not np.isfinite(row["error"]).any():
                continue
            expected = float(row["expected"])
            if not np.isfinite(row["exponent"]):
                # One N gives no exponent, and so no claim.
                if float(row["error"].max()) == 0:
                    found.append(
                        Claim(quantity=f"{name}: {ERRORS[quantity]}", measured=0.0, low=0.0, high=0.0, expected=0.0)
                    )
                continue
            has_log = quantity == "transport" and int(case["dim"]) == 3
            found.append(
                Claim(
                    quantity=f"{name}: exponent of {ERRORS[quantity]}{' / log N' if has_log else ''}",
                    measured=float(row["exponent"]),
                    low=float(row["exponent_low"]),
                    high=float(row["exponent_high"]),
                    expected=None if math.isnan(expected) else expected,
                )
            )
            if quantity == "transport" and not math.isnan(expected):
                found.append(
                    Claim(
                        quantity=f"{name}: exponent of E sup_t W2² / r_d(N), at most",
                        measured=float(case["over_theorem"]),
                        low=float(case["over_theorem_low"]),
                        high=float(case["over_theorem_high"]),
                        expected=0.0,
                        is_bound=True,
                    )
                )
    return found


def depth_claims(dataset: Any) -> list[Claim]:
    """Return the claims of `depths`: those of every depth, and that the error settles as the depth grows."""
    found = claims(dataset)
    for quantity in QUANTITIES[2:]:
        # Weighted by N^{power of the rate}, every N counts alike.
        values = dataset["mean_square"].sel(quantity=quantity) * dataset["n_tokens"]
        if not values.any():
            continue  # without attention tokens and partners are one
        deepest, before = (values.isel(case=k).mean("n_tokens").values for k in (-1, -2))
        ratio, low, high = results.ratio_of_means(deepest, before)
        names = dataset["case"].values
        found.append(
            Claim(
                quantity=f"{ERRORS[quantity]}, {names[-1]} over {names[-2]}",
                measured=ratio,
                low=low,
                high=high,
                expected=1.0,
            )
        )
    return found


def table(dataset: Any, found: Sequence[Claim]) -> str:
    """Return errors per N, exponents and the cost as text, from the dataset of `run` and its claims."""
    lines = [dataset.attrs["title"]]
    for name in dataset["case"].values:
        case = dataset.sel(case=name)
        lines += ["", f"{name!s:>12}" + "".join(f"{ERRORS[q]:>30}" for q in QUANTITIES)]
        for n in dataset["n_tokens"].values[np.isfinite(case["n_effective"].values)]:
            cells = []
            for quantity in QUANTITIES:
                cell = case.sel(quantity=quantity, n_tokens=n)
                value, low, high = (float(cell[f"error{end}"]) for end in ("", "_low", "_high"))
                cells.append("" if math.isnan(value) else f"{value:.2e} [{low:.1e}, {high:.1e}]")
            lines.append(f"{f'N = {n}':>12}" + "".join(f"{cell:>30}" for cell in cells))
        if dataset.attrs["is_limit"]:
            nodes = [float(case["node_error"].sel(quantity=q)) for q in QUANTITIES]
            lines.append(f"{'nodes':>12}" + "".join("" if math.isnan(e) else f"{e:30.1e}" for e in nodes))
    if dataset.attrs["is_limit"]:
        lines += ["", "nodes: error of the limit itself, from half as many nodes under the same noise"]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds = float(dataset["seconds"].sum())
    lines += [
        "",
        results.format_claims(found),
        "",
        f"cost: {float(dataset['pairs'].sum()):.2g} pair interactions (by fast sums where they win), {seconds:.0f} s; "
        f"at most {memory:.2f} GiB",
    ]
    return "\n".join(lines)
