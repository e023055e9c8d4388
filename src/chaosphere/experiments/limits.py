"""The three limits at once: many tokens, many layers, wide layers, taken in either order.

Networks of N tokens, depth L and width m run under the noise of one limit: the mean-field equation on the circle,
carried by quadrature nodes. Each is coupled with it by the paper's coupling at its own tokens, and N = ∞ stands for the
network of depth L and width m whose tokens are the nodes. D(N, L, m) = E sup_t (1/N) Σ |X^i − X̄^i|², X̄^i the token
with the same start in the limit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.streams import Noise, Seed, root
from chaosphere.experiments.cases import start_law
from chaosphere.geometry.laws import quadrature
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.noise.mlp import MLP
from chaosphere.reporting import results
from chaosphere.reporting.results import Claim
from chaosphere.simulation.identity import describe
from chaosphere.theory.coupling import System, deep_wide

TOKENS, DEPTHS, WIDTHS, N_NODES = (8, 16, 32), (4, 8, 16), (16, 32, 64), 48
_REFINEMENT = 4  # steps of the limit per layer of the deepest network


def run(
    mlp: MLP,
    *,
    rng: Seed,
    attention: SoftmaxAttention,
    tokens: Sequence[int] = TOKENS,
    depths: Sequence[int] = DEPTHS,
    widths: Sequence[int] = WIDTHS,
    horizon: float = 1.0,
    concentration: float = 1.0,
    n_nodes: int = N_NODES,
    n_replicas: int = 12,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: Callable[[], object] | None = None,
) -> Any:
    """Measure D(N, L, m) over a grid that holds the three limits, on the circle.

    Parameters
    ----------
    mlp : MLP
        Activation and standard deviations; its width is not used.
    rng : int, SeedSequence or Generator
    attention : SoftmaxAttention
    tokens, depths, widths : sequence of int
        N, L and m; increasing, at least two each. Every depth divides the largest.
    horizon : float
    concentration : float
        Of the initial law; see `chaos.start_law`.
    n_nodes : int
        Nodes that stand for N = ∞.
    n_replicas : int
        At least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file written after every replica; replicas of the same study found in it are not computed again.
    on_step : callable, optional
        Called after every replica.

    Returns
    -------
    xarray.Dataset
        mean_square (replica, n_tokens, depth, width): the last of each axis is its limit (inf; for the depth the
        limit's own number of steps).

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Notes
    -----
    O((n_nodes + N)³) per layer of every network.

    Examples
    --------
    >>> import chaosphere as cs
    >>> data = run(cs.MLP(width=1, activation="tanh"), rng=0, attention=cs.SoftmaxAttention(), tokens=[4, 8],
    ...            depths=[2, 4], widths=[4, 8], n_nodes=16, n_replicas=2)
    >>> data["mean_square"].shape
    (2, 3, 3, 3)
    """
    xarray = checks.extra("xarray", "io")
    n_replicas = checks.integer(n_replicas, "n_replicas", low=2)
    n_nodes = checks.integer(n_nodes, "n_nodes", low=4)
    horizon = checks.number(horizon, "horizon", above=0)
    tokens, depths, widths = (
        checks.ladder(values, name) for values, name in ((tokens, "tokens"), (depths, "depths"), (widths, "widths"))
    )
    for depth in depths:
        if depths[-1] % depth:
            raise ValueError(f"depths must divide the largest, {depths[-1]}; got {depth}")
    n_threads = checks.threads(n_threads)
    sequence = root(rng)
    study = identity(
        mlp,
        rng=sequence,
        attention=attention,
        tokens=tokens,
        depths=depths,
        widths=widths,
        horizon=horizon,
        concentration=concentration,
        n_nodes=n_nodes,
    )
    law = start_law(2, concentration)
    rule = quadrature(law, n_nodes)
    with results.held(store, study) as (path, stored):
        done: list[Floats] = [] if stored is None else list(stored["mean_square"].values)
        for replica in range(len(done), n_replicas):
            key = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica))
            x = law.sample(tokens[-1], rng=key)
            whole = System(
                points=np.concatenate([rule.nodes, x]),
                n_nodes=n_nodes,
                weights=np.concatenate([rule.weights, np.zeros(len(x))]),
            )
            errors, _ = deep_wide(
                attention,
                mlp,
                [*(System(points=x[:n]) for n in tokens), whole],
                horizon=horizon,
                depths=depths,
                widths=widths,
                fine_depth=_REFINEMENT * depths[-1],
                noise=Noise(key),
                n_threads=n_threads,
            )
            done.append(errors)
            if path is not None and len(done) >= 2:
                results.save(_dataset(xarray, done, study), path)
            if on_step is not None:
                on_step()
    return _dataset(xarray, done[:n_replicas], study)


def identity(
    mlp: MLP,
    *,
    rng: Seed,
    attention: SoftmaxAttention,
    tokens: Sequence[int] = TOKENS,
    depths: Sequence[int] = DEPTHS,
    widths: Sequence[int] = WIDTHS,
    horizon: float = 1.0,
    concentration: float = 1.0,
    n_nodes: int = N_NODES,
) -> str:
    """Return what decides the numbers of a study, as JSON; parameters as those of `run`."""
    return results.identity(
        {
            "mlp": describe(mlp),
            "attention": describe(attention),
            "tokens": tokens,
            "depths": depths,
            "widths": widths,
            "horizon": horizon,
            "concentration": concentration,
            "n_nodes": n_nodes,
            "refinement": _REFINEMENT,
        },
        root(rng),
    )


def claims(dataset: Any) -> list[Claim]:
    """Return the exponent of D along each axis and along the diagonal, and whether the limits commute.

    L, m → ∞ first leaves D(N, ∞, ∞); N → ∞ first leaves D(∞, L, m). Either vanishes at its rate, and D(N, L, m) is at
    most their sum, so that no order is special: the errors of N and of the layers are independent to leading order,
    their squares add at each time, and the supremum of a sum is at most that of the suprema.
    """
    values = dataset["mean_square"].values
    n = dataset["n_tokens"].values[:-1]
    # The limit is solved with finitely many steps under the same noise: the gap has size 1/L − 1/L_fine.
    depths = 1 / (1 / dataset["depth"].values[:-1] - 1 / dataset["depth"].values[-1])
    widths = dataset["width"].values[:-1]
    steps = min(len(n), len(depths), len(widths))
    diagonal = np.stack([values[:, -2 - k, -2 - k, -2 - k] for k in reversed(range(steps))], axis=1)
    found = []
    for name, x, along in (
        ("L, m → ∞ first: exponent of D(N, ∞, ∞) in N", n, values[:, :-1, -1, -1]),
        ("N → ∞ first: exponent of D(∞, L, ∞) in L", depths, values[:, -1, :-1, -1]),
        ("N → ∞ first: exponent of D(∞, ∞, m) in m", widths, values[:, -1, -1, :-1]),
        ("all at once: exponent of D(N, L, m) in N, L, m together", n[-steps:], diagonal),
    ):
        slope, low, high = results.log_slope(np.asarray(x, dtype=np.float64), along, np.ones(len(x)))
        found.append(Claim(quantity=name, measured=2 * slope, low=2 * low, high=2 * high, expected=-1.0))
    corner, tokens_only, layers_only = values[:, -2, -2, -2], values[:, -2, -1, -1], values[:, -1, -2, -2]
    ratio, low, high = results.ratio_of_means(corner, tokens_only + layers_only)
    name = "D(N, L, m) over D(N, ∞, ∞) + D(∞, L, m), at the largest"
    found.append(Claim(quantity=name, measured=ratio, low=low, high=high, expected=1.0, is_bound=True))
    return found


def table(dataset: Any) -> str:
    """Return D over the grid, and the claims, as text."""
    mean = dataset["mean_square"].mean("replica")
    labels = {name: _labels(dataset, name) for name in ("n_tokens", "depth", "width")}
    lines = [dataset.attrs["title"]]
    for i, n in enumerate(labels["n_tokens"]):
        lines += ["", f"{f'D, N = {n}':>12}" + "".join(f"{f'm = {m}':>12}" for m in labels["width"])]
        for j, depth in enumerate(labels["depth"]):
            cells = "".join(f"{float(value):12.3e}" for value in mean.values[i, j])
            lines.append(f"{f'L = {depth}':>12}" + cells)
    return "\n".join([*lines, "", results.format_claims(claims(dataset))])


def _labels(dataset: Any, name: str) -> list[str]:
    return [f"{int(value)}" for value in dataset[name].values[:-1]] + ["∞"]


def _dataset(xarray: Any, done: Sequence[Floats], identity: str) -> Any:
    study = json.loads(identity)
    attention = study["attention"]
    parts = [study["mlp"]["activation"], f"T = {study['horizon']:g}"]
    parts += [f"β = {attention['beta']:g}, δ = {attention['value_scale']:g}", f"{study['n_nodes']} nodes"]
    return xarray.Dataset(
        {"mean_square": (("replica", "n_tokens", "depth", "width"), np.stack(done))},
        coords={
            "n_tokens": [*map(float, study["tokens"]), np.inf],
            "depth": [*study["depths"], _REFINEMENT * study["depths"][-1]],
            "width": [*map(float, study["widths"]), np.inf],
        },
        attrs={
            "title": f"The limits in N, L and m on the circle, {len(done)} replicas\n{', '.join(parts)}",
            "identity": identity,
        },
    )
