"""Propagation of chaos: how fast N tokens forget that they are finitely many.

A ladder of systems of N tokens runs under the same layers as the mean-field limit, carried by quadrature nodes that
each token also follows passively, or as one large reference of M tokens, in lockstep. There the tokens of a system are
a part of the reference's, drawn without replacement, so each token has a partner with the same start
and the same noise. Sampling without replacement gives a variance proportional to 1/N − 1/M instead of 1/N: errors are
fitted against the effective number 1/(1/N − 1/M), which leaves no bias from the finite reference.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import checks, measures, results
from chaosphere.checks import Floats, Tokens
from chaosphere.laws import Uniform
from chaosphere.meanfield import MeanField
from chaosphere.results import Claim
from chaosphere.seeds import STREAM_VERSION, Noise, Seed, Stream, root
from chaosphere.simulate import describe, trajectory
from chaosphere.sphere import sample_uniform
from chaosphere.transformer import Transformer

QUANTITIES = ("energy", "mean direction", "coupled path")
DEFAULT_TOKENS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
_MOST_SYSTEMS = 8  # disjoint systems of one size per replica


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run will do.

    Attributes
    ----------
    tokens : tuple of int
        The ladder of N.
    n_systems : tuple of int
        Disjoint systems of each N in a replica.
    n_reference : int
        M, the tokens of the reference, or those that follow the nodes of the limit.
    n_nodes : int
        Nodes of the mean-field limit; 0 if the reference is a finite system.
    pairs : float
        Pair interactions of the whole run.
    """

    tokens: tuple[int, ...]
    n_systems: tuple[int, ...]
    n_reference: int
    n_nodes: int
    pairs: float

    @property
    def n_effective(self) -> Floats:
        """1/(1/N − 1/M) for each N; N itself against the limit."""
        n = np.array(self.tokens, dtype=np.float64)
        return n if self.n_nodes else np.asarray(1 / (1 / n - 1 / self.n_reference))


def plan(
    model: Transformer, tokens: Sequence[int] | None, *, x0: Tokens | None, n_replicas: int, n_nodes: int = 0
) -> Plan:
    """Return the sizes of a run; parameters and errors as in `run`."""
    n_replicas = checks.integer(n_replicas, "n_replicas", low=2)
    n_nodes = checks.integer(n_nodes, "n_nodes", low=0)
    if n_nodes and x0 is not None:
        raise ValueError("n_nodes must be 0 with x0: the law of its tokens is not known, all of them are the reference")
    if x0 is not None and x0.ndim != 2:
        raise ValueError(f"x0 must have shape (n_tokens, dim), got {x0.shape}")
    if tokens is None:
        tokens = DEFAULT_TOKENS if x0 is None else [64 * 2**k for k in range(30) if 128 * 2**k <= len(x0)]
    ladder = tuple(checks.integer(n, "tokens", low=2) for n in tokens)
    if len(ladder) < 2 or any(a >= b for a, b in itertools.pairwise(ladder)):
        raise ValueError(f"tokens must be at least two increasing numbers (a slope is fitted), got {list(ladder)}")
    n_reference = (ladder[-1] if n_nodes else 2 * ladder[-1]) if x0 is None else len(x0)
    if ladder[-1] >= n_reference and not n_nodes:
        raise ValueError(f"tokens must be < {n_reference}, the number of tokens in x0, got {ladder[-1]}")
    n_systems = tuple(min(n_reference // n, _MOST_SYSTEMS) for n in ladder)
    per_step = (n_reference + n_nodes) ** 2 + (n_nodes // 2) ** 2
    per_step += sum(s * n**2 for s, n in zip(n_systems, ladder, strict=True))
    return Plan(
        tokens=ladder,
        n_systems=n_systems,
        n_reference=n_reference,
        n_nodes=n_nodes,
        pairs=per_step * model.depth * n_replicas,
    )


def run(
    model: Transformer,
    *,
    rng: Seed,
    dim: int = 3,
    tokens: Sequence[int] | None = None,
    x0: Tokens | None = None,
    beta: float = 1.0,
    n_nodes: int = 0,
    n_replicas: int = 16,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: Callable[[], object] | None = None,
) -> Any:
    """Measure the errors of N tokens against a large reference under the same layers.

    Per N, the root-mean-square over replicas and over the disjoint systems of a replica, of the energy E_β at time T
    (difference from the reference's), the mean vector at time T (length of the difference), and the coupled path,
    sup_t ((1/N) Σ |X^i_t − X̄^i_t|²)^{1/2} with X̄ the same tokens inside the reference.

    Parameters
    ----------
    model : Transformer
    rng : int, SeedSequence or Generator
        Replica r has its own tokens and layers, the same for every number of replicas.
    dim : int
        d, when the start is uniform on the sphere.
    tokens : sequence of int, optional
        Increasing ladder of N; default 64, 128, …, 8192, or up to half of x0. The reference has twice the largest.
    x0 : ndarray of float64 or float32, shape (M, d), optional
        The user's own tokens on the unit sphere instead of the uniform law: all of them are the reference, and the
        systems are drawn from them without replacement.
    beta : float
        Of the energy, in (0, 700].
    n_nodes : int
        Compare with the mean-field limit of the uniform law, carried by about this many nodes, instead of a finite
        reference; its own error, from half as many nodes under the same noise, is reported.
    n_replicas : int
        At least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file written after every replica; replicas of the same study found in it are not computed again.
    on_step : callable, optional
        Called after every layer of every replica.

    Returns
    -------
    xarray.Dataset
        mean_square (quantity, replica, n_tokens); rms, rms_low, rms_high (quantity, n_tokens); slope, slope_low,
        slope_high, intercept (quantity); 99 % intervals; with nodes, node_error (quantity) of energy and mean.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.
    ImportError
        If xarray is not installed.

    Notes
    -----
    O(M² d) per layer and replica, `plan` gives the number of pairs; memory O(M d).

    Examples
    --------
    >>> import chaosphere as cs
    >>> model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=cs.MLP(width=8), depth=5, horizon=1.0)
    >>> data = run(model, rng=0, tokens=[16, 32], n_replicas=4)
    >>> data["mean_square"].shape
    (3, 4, 2)
    """
    xarray = checks.extra("xarray", "io")
    beta = checks.number(beta, "beta", above=0, high=700)
    sizes = plan(model, tokens, x0=x0, n_replicas=n_replicas, n_nodes=n_nodes)
    sequence = root(rng)
    if x0 is not None:
        checks.tokens(x0, "x0")
    if store is not None:
        results.require()
    identity = json.dumps(
        {
            "model": describe(model),
            "entropy": str(sequence.entropy),
            "spawn_key": str(sequence.spawn_key),
            "stream_version": STREAM_VERSION,
            "tokens": sizes.tokens,
            "start": {"law": "uniform", "dim": dim} if x0 is None else describe(x0),
            "beta": beta,
            "n_nodes": n_nodes,
        }
    )
    limits = (
        [MeanField(model=model, law=Uniform(dim=dim), n_nodes=n) for n in (n_nodes, n_nodes // 2)] if n_nodes else []
    )
    done = _stored(store, identity)
    for replica in range(len(done), n_replicas):
        key = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica))
        reference = sample_uniform(sizes.n_reference, dim, rng=key) if x0 is None else _shuffled(x0, key)
        done.append(_replica(model, limits, reference, sizes, beta=beta, rng=key, n_threads=n_threads, on_step=on_step))
        if store is not None and len(done) >= 2:
            results.save(_dataset(xarray, np.stack(done), sizes, identity, model), store)
    return _dataset(xarray, np.stack(done[:n_replicas]), sizes, identity, model)


def claims(dataset: Any) -> list[Claim]:
    """Return the fitted exponents beside the expected −1/2, from the dataset of `run`."""
    return [
        Claim(
            quantity=f"exponent of the {name} error in N",
            measured=float(dataset["slope"].sel(quantity=name)),
            low=float(dataset["slope_low"].sel(quantity=name)),
            high=float(dataset["slope_high"].sel(quantity=name)),
            expected=-0.5,
        )
        for name in QUANTITIES
    ]


def table(dataset: Any) -> str:
    """Return the errors per N and the slopes as text, from the dataset of `run`."""
    lines = [dataset.attrs["title"], "", f"{'N':>8} {'N_eff':>9}" + "".join(f"{name:>34}" for name in QUANTITIES)]
    for n in dataset["n_tokens"].values:
        row = dataset.sel(n_tokens=n)
        cells = (
            f"{float(cell['rms']):.3e} [{float(cell['rms_low']):.2e}, {float(cell['rms_high']):.2e}]"
            for cell in (row.sel(quantity=name) for name in QUANTITIES)
        )
        lines.append(f"{n:8d} {float(row['n_effective']):9.1f}" + "".join(f"{cell:>34}" for cell in cells))
    if dataset.attrs["n_nodes"]:
        errors = (f"{name} {float(dataset['node_error'].sel(quantity=name)):.1e}" for name in QUANTITIES[:2])
        lines += ["", f"error of the nodes, from half as many under the same noise: {', '.join(errors)}"]
    lines += ["", f"{'':>44} {'slope':>8}   {'99 % interval':^18} {'expected':>8}"]
    for claim in claims(dataset):
        interval = f"[{claim.low:7.3f}, {claim.high:7.3f}]"
        lines.append(f"{claim.quantity:>44} {claim.measured:8.3f}   {interval} {claim.expected:8.2f}   {claim.verdict}")
    return "\n".join(lines)


def _shuffled(x0: Tokens, rng: Seed) -> Tokens:
    order = Noise(rng).at(Stream.SUBSAMPLE, 0)[0].permutation(len(x0))
    return np.ascontiguousarray(x0[order])


def _stored(store: str | os.PathLike[str] | None, identity: str) -> list[Floats]:
    if store is None or not Path(store).exists():
        return []
    dataset = results.load(store)
    if dataset.attrs.get("identity") != identity:
        raise ValueError(
            f"store {store} holds another study (parameters or seed differ); remove it or name another file"
        )
    rows = dataset["mean_square"].transpose("replica", "quantity", "n_tokens").values
    nodes = dataset["node_mean_square"].transpose("replica", "quantity").values
    return list(np.concatenate([rows, nodes[:, :, None]], axis=2))


def _replica(
    model: Transformer,
    limits: Sequence[MeanField],
    reference: Tokens,
    sizes: Plan,
    *,
    beta: float,
    rng: Seed,
    n_threads: int | None,
    on_step: Callable[[], object] | None,
) -> Floats:
    """Return the mean squares (quantity, n_tokens) of one replica; last column: square errors of the nodes."""
    starts = [reference[: s * n].reshape(s, n, -1) for n, s in zip(sizes.tokens, sizes.n_systems, strict=True)]
    runs = [trajectory(model, x, rng=rng, shared_noise=True, n_threads=n_threads) for x in starts]
    whole: Transformer | MeanField = limits[0] if limits else model
    first = limits[0].start(reference) if limits else reference
    runs.insert(0, trajectory(whole, first, rng=rng, n_threads=n_threads))
    n_nodes = len(first) - len(reference)
    path = [np.zeros(s) for s in sizes.n_systems]
    states: list[Tokens] = []
    for step, moment in enumerate(zip(*runs, strict=True)):
        states = [tokens for _, tokens in moment]
        for k, x in enumerate(states[1:]):
            partners = states[0][n_nodes : n_nodes + x.shape[0] * x.shape[1]].reshape(x.shape)
            path[k] = np.maximum(path[k], ((x - partners) ** 2).sum(axis=2, dtype=np.float64).mean(axis=1))
        if step > 0 and on_step is not None:
            on_step()
    target = states[0][:n_nodes] if limits else states[0]
    weights = limits[0].weights if limits else None
    energy = measures.energy(target, beta, weights=weights, n_threads=n_threads)
    mean = measures.mean_vector(target, weights=weights)
    node_errors = [0.0, 0.0, 0.0]
    if limits:
        *_, (_, fewer) = trajectory(limits[1], limits[1].start(), rng=rng, n_threads=n_threads)
        gap = measures.energy(fewer, beta, weights=limits[1].weights, n_threads=n_threads) - energy
        shift = measures.mean_vector(fewer, weights=limits[1].weights) - mean
        node_errors = [float(gap**2), float(shift @ shift), np.nan]
    errors = [
        [np.mean((measures.energy(x, beta, n_threads=n_threads) - energy) ** 2) for x in states[1:]],
        [np.mean(((measures.mean_vector(x) - mean) ** 2).sum(axis=1)) for x in states[1:]],
        [np.mean(p) for p in path],
    ]
    return np.column_stack([errors, node_errors])


def _dataset(xarray: Any, rows: Floats, sizes: Plan, identity: str, model: Transformer) -> Any:
    """Label the results of `_replica`, stacked over replicas, and add what follows from them."""
    mean_squares, node_squares = rows[:, :, :-1], rows[:, :, -1]
    rms, low, high = results.root_mean_square(mean_squares)
    x, weights = sizes.n_effective, np.array(sizes.n_systems, dtype=np.float64)
    slopes = np.array([results.log_slope(x, mean_squares[:, q], weights) for q in range(len(QUANTITIES))])
    # The line goes through the weighted centre of the points.
    intercept = np.average(np.log(rms), axis=1, weights=weights) - slopes[:, 0] * np.average(np.log(x), weights=weights)
    by_n, by_quantity = ("quantity", "n_tokens"), ("quantity",)
    attention, mlp = model.attention, model.mlp
    reference = f"mean field, {sizes.n_nodes} nodes" if sizes.n_nodes else f"M = {sizes.n_reference}"
    parts = [reference, f"L = {model.depth}", f"T = {model.horizon:g}"]
    if attention is not None:
        parts += [f"β = {attention.beta:g}"] * (attention.beta is not None)
        parts += [f"δ = {attention.value_scale:g}"] * (attention.value_scale is not None)
    if mlp is not None:
        parts += [f"{describe(mlp.activation)}, m = {mlp.width}, σ_U = {mlp.bias_std:g}"]
    return xarray.Dataset(
        {
            "mean_square": (("quantity", "replica", "n_tokens"), mean_squares.transpose(1, 0, 2)),
            "node_mean_square": (("replica", "quantity"), node_squares),
            "node_error": (by_quantity, np.sqrt(node_squares.mean(axis=0))),
            "rms": (by_n, rms),
            "rms_low": (by_n, low),
            "rms_high": (by_n, high),
            "slope": (by_quantity, slopes[:, 0]),
            "slope_low": (by_quantity, slopes[:, 1]),
            "slope_high": (by_quantity, slopes[:, 2]),
            "intercept": (by_quantity, intercept),
        },
        coords={
            "quantity": list(QUANTITIES),
            "n_tokens": list(sizes.tokens),
            "n_effective": ("n_tokens", x),
            "n_systems": ("n_tokens", list(sizes.n_systems)),
        },
        attrs={
            "title": f"Propagation of chaos, {len(mean_squares)} replicas\n{', '.join(parts)}",
            "identity": identity,
            "expected_slope": -0.5,
            "n_reference": sizes.n_reference,
            "n_nodes": sizes.n_nodes,
        },
    )
