"""The three limits at once: many tokens, many layers, wide layers, taken in either order.

Networks of N tokens, depth L and width m run under the noise of one limit: the mean-field equation on the circle,
whose measure is discretised by quadrature nodes. Each is coupled with it by the paper's coupling at its own tokens. At
N = ∞ the nodes are the tokens of the network of depth L and width m. D(N, L, m) = E sup_t (1/N) Σ |X^i − X̄^i|², where
X̄^i is the token with the same start in the limit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.streams import Noise, Seed, root
from chaosphere.experiments.arguments import check_mlp
from chaosphere.experiments.cases import CONCENTRATION, start_law
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.geometry.laws import quadrature
from chaosphere.interactions.protocol import Interaction, check_interaction
from chaosphere.noise.mlp import MLP
from chaosphere.reporting import netcdf
from chaosphere.simulation.identity import describe
from chaosphere.theory.coupling import System, deep_wide

TOKENS, DEPTHS, WIDTHS, N_NODES = (8, 16, 32), (4, 8, 16), (16, 32, 64), 48
_REFINEMENT = 4  # steps of the limit per layer of the deepest network


def run(
    mlp: MLP,
    *,
    rng: Seed,
    attention: Interaction,
    tokens: Sequence[int] = TOKENS,
    depths: Sequence[int] = DEPTHS,
    widths: Sequence[int] = WIDTHS,
    horizon: float = 1.0,
    concentration: float = CONCENTRATION,
    n_nodes: int = N_NODES,
    n_replicas: int = 12,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Measure D(N, L, m) over a grid that holds the three limits, on the circle.

    Parameters
    ----------
    mlp : MLP
        Activation and standard deviations; its width is not used.
    rng : int, SeedSequence or Generator
    attention : Interaction
        Of tokens on the circle.
    tokens, depths, widths : sequence of int
        N, L and m; increasing, at least two each. Every depth divides the largest.
    horizon : float
        T, time that the layers span.
    concentration : float
        Of the initial law; see `cases.start_law`.
    n_nodes : int
        Quadrature nodes that discretise the mean-field measure.
    n_replicas : int
        Independent draws of tokens and noise, at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the replicas; replicas of the same study in it are not computed again.
    on_step : callable, optional
        Called after every replica.

    Returns
    -------
    xarray.Dataset
        mean_square (replica, n_tokens, depth, width). The last of each axis is its limit: n_tokens and width are inf
        there, and the depth is the number of steps of the limit.

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
    check_mlp(mlp)
    check_interaction(attention, "attention")
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
    n_all = (n_nodes + sum(tokens) + tokens[-1]) * (len(depths) + 1) * (len(widths) + 1)
    check_size(
        n_tokens=n_all,
        dim=2,
        n_steps=_REFINEMENT * depths[-1],
        n_replicas=n_replicas,
        n_layer_numbers=8 * (n_nodes + tokens[-1]) ** 2 + widths[-1] * (5 + n_nodes + tokens[-1]),
    )
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

    def measure(replica: int) -> Floats:
        key = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica))
        x = law.sample(tokens[-1], rng=key)
        with_nodes = System(
            points=np.concatenate([rule.nodes, x]),
            n_nodes=n_nodes,
            weights=np.concatenate([rule.weights, np.zeros(len(x))]),
        )
        errors, _ = deep_wide(
            attention,
            mlp,
            [*(System(points=x[:n]) for n in tokens), with_nodes],
            horizon=horizon,
            depths=depths,
            widths=widths,
            fine_depth=_REFINEMENT * depths[-1],
            noise=Noise(key),
            n_threads=n_threads,
        )
        return errors

    return grow(
        measure,
        n_pieces=n_replicas,
        identity=study,
        to_dataset=lambda pieces: _to_dataset(pieces, identity=study),
        from_dataset=lambda dataset: list(dataset["mean_square"].values),
        store=store,
        on_step=on_step,
        n_least=2,
    )


def identity(
    mlp: MLP,
    *,
    rng: Seed,
    attention: Interaction,
    tokens: Sequence[int] = TOKENS,
    depths: Sequence[int] = DEPTHS,
    widths: Sequence[int] = WIDTHS,
    horizon: float = 1.0,
    concentration: float = CONCENTRATION,
    n_nodes: int = N_NODES,
) -> str:
    """Return what decides the numbers of a study, as JSON; parameters as those of `run`."""
    return netcdf.identity(
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


def _to_dataset(pieces: Sequence[Floats], *, identity: str) -> Any:
    study = json.loads(identity)
    attention = study["attention"]
    parts = [study["mlp"]["activation"], f"T = {study['horizon']:g}"]
    symbols = {"beta": "β", "value_scale": "δ"}
    numbers = [f"{symbol} = {attention[name]:g}" for name, symbol in symbols.items() if attention.get(name) is not None]
    parts += [attention["type"], *numbers, f"{study['n_nodes']} nodes"]
    return checks.extra("xarray", "io").Dataset(
        {"mean_square": (("replica", "n_tokens", "depth", "width"), np.stack(pieces))},
        coords={
            "n_tokens": [*map(float, study["tokens"]), np.inf],
            "depth": [*study["depths"], _REFINEMENT * study["depths"][-1]],
            "width": [*map(float, study["widths"]), np.inf],
        },
        attrs={
            "title": f"The limits in N, L and m on the circle, {len(pieces)} replicas\n{', '.join(parts)}",
            "identity": identity,
        },
    )
