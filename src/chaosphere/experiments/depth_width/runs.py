"""The deep-and-wide limit: the distance of networks of depth L and width m from it under the paper's coupling."""

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
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.geometry.sphere import sample_uniform
from chaosphere.interactions.protocol import check_interaction
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.noise.mlp import MLP
from chaosphere.reporting import netcdf
from chaosphere.simulation.identity import describe
from chaosphere.theory.coupling import System, deep_wide

_Piece = tuple[Floats, Floats]  # of a replica: against the limit, and against Gaussian layers of the same depth


def run(
    mlp: MLP,
    *,
    rng: Seed,
    attention: SoftmaxAttention | None = None,
    dim: int = 3,
    n_tokens: int = 32,
    horizon: float = 1.0,
    depths: Sequence[int] = (8, 16, 32, 64, 128),
    widths: Sequence[int] = (16, 32, 64, 128, 256),
    refinement: int = 4,
    n_replicas: int = 16,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Measure E sup_t (1/N) Σ |X^i − X̄^i|² over a grid of depths and widths.

    Parameters
    ----------
    mlp : MLP
        Activation and standard deviations; its width is not used.
    rng : int, SeedSequence or Generator
    attention : SoftmaxAttention, optional
    dim : int
        Dimension d of the tokens.
    n_tokens : int
        Number of tokens, which start i.i.d. uniform: at most some hundreds, or some thousands without widths.
    horizon : float
        T, time that the layers span.
    depths : sequence of int
        L: at least two, increasing; each divides the largest.
    widths : sequence of int
        m: at least two, increasing. With none at all there are Gaussian layers alone, and those of every depth are
        sums of the layers of the deepest network.
    refinement : int
        Steps of the limit per layer of the deepest network.
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
        mean_square (replica, depth, width), where the last depth is the number of steps of the limit and the last width
        is inf, for Gaussian layers; width_mean_square (replica, depth, finite_width), against the Gaussian layers of
        the same depth.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Examples
    --------
    >>> import chaosphere as cs
    >>> mlp = cs.MLP(width=1, activation="tanh")
    >>> data = run(mlp, rng=0, n_tokens=4, depths=[2, 4], widths=[4, 8], refinement=2, n_replicas=2)
    >>> data["mean_square"].shape
    (2, 3, 3)
    """
    check_mlp(mlp)
    check_interaction(attention, "attention")
    n_replicas = checks.integer(n_replicas, "n_replicas", low=2)
    refinement = checks.integer(refinement, "refinement", low=2)
    horizon = checks.number(horizon, "horizon", above=0)
    depths = checks.ladder(depths, "depths")
    widths = checks.sequence(widths, "widths")
    widths = checks.ladder(widths, "widths") if widths else ()
    for depth in depths:
        if depths[-1] % depth:
            raise ValueError(f"depths must divide the largest, {depths[-1]}; got {depth}")
    n_threads = checks.threads(n_threads)
    n_tokens, dim = checks.integer(n_tokens, "n_tokens", low=1), checks.integer(dim, "dim", low=2)
    n_networks, largest = (len(depths) + 1) * (len(widths) + 1), max(widths, default=0)
    # Layers of finite width are mapped by matrices over the tokens.
    n_matrices = 8 * n_tokens**2 if widths else 0
    check_size(
        n_tokens=n_networks * n_tokens,
        dim=dim,
        n_steps=refinement * depths[-1],
        n_replicas=n_replicas,
        n_layer_numbers=largest * (2 * dim + 1 + n_tokens) + n_matrices,
        n_results=n_replicas * n_networks,
    )
    sequence = root(rng)
    identity = netcdf.identity(
        {
            "mlp": describe(mlp),
            "attention": describe(attention),
            "dim": dim,
            "n_tokens": n_tokens,
            "horizon": horizon,
            "depths": depths,
            "widths": widths,
            "refinement": refinement,
        },
        sequence,
    )

    def measure(replica: int) -> _Piece:
        key = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica))
        errors, width_errors = deep_wide(
            attention,
            mlp,
            [System(points=sample_uniform(n_tokens, dim, rng=key))],
            horizon=horizon,
            depths=depths,
            widths=widths,
            fine_depth=refinement * depths[-1],
            noise=Noise(key),
            n_threads=n_threads,
        )
        return errors[0], width_errors[0]

    return grow(
        measure,
        n_pieces=n_replicas,
        identity=identity,
        to_dataset=lambda pieces: _to_dataset(pieces, identity=identity),
        from_dataset=_from_dataset,
        store=store,
        on_step=on_step,
        n_least=2,
    )


def _from_dataset(dataset: Any) -> list[_Piece]:
    return list(zip(dataset["mean_square"].values, dataset["width_mean_square"].values, strict=True))


def _to_dataset(pieces: Sequence[_Piece], *, identity: str) -> Any:
    study = json.loads(identity)
    attention = study["attention"]
    parts = [study["mlp"]["activation"], f"d = {study['dim']}", f"N = {study['n_tokens']}", f"T = {study['horizon']:g}"]
    parts += ["no attention" if attention is None else f"β = {attention['beta']:g}, δ = {attention['value_scale']:g}"]
    return checks.extra("xarray", "io").Dataset(
        {
            "mean_square": (("replica", "depth", "width"), np.stack([errors for errors, _ in pieces])),
            "width_mean_square": (("replica", "depth", "finite_width"), np.stack([errors for _, errors in pieces])),
        },
        coords={
            "depth": [*study["depths"], study["refinement"] * study["depths"][-1]],
            "width": [*map(float, study["widths"]), np.inf],
            "finite_width": list(study["widths"]),
        },
        attrs={
            "title": f"Deep-and-wide limit, {len(pieces)} replicas\n{', '.join(parts)}",
            "identity": identity,
        },
    )
