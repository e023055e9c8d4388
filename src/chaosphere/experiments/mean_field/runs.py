"""The mean-field limit on the circle: the runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.chebyshev import Function
from chaosphere.common.streams import STREAM_VERSION, Seed, root
from chaosphere.experiments.mean_field.pairs import pair_law
from chaosphere.experiments.mean_field.parts import N_ANGLES, N_MOMENTS, convergence_of_nodes, picture, solvers
from chaosphere.experiments.pieces import OnStep, checkpoint, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.geometry.laws import Law, Mixture, VonMisesFisher
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.models.sde import LimitSDE
from chaosphere.models.transformer import Transformer
from chaosphere.noise.gaussian import GaussianField
from chaosphere.noise.mlp import MLP
from chaosphere.reporting import netcdf

_PARTS = (  # in order, with the variables of each
    ("gap", "density_error", "mass_error"),
    ("node_error", "activation", "is_kinked"),
    ("pair_mean", "pair_low", "pair_high", "pair_expected"),
    ("density", "path", "frame", "angle"),
)
N_PARTS = len(_PARTS)  # calls of `on_part`
_TOLERANCE = 1e-4  # of the noise's variance; with less left out, kinked activations would need thousands of modes
_N_HORIZONS = 3  # the length of the run that is drawn
_Piece = dict[str, Any]  # one part: variables with their dimensions


def start_law() -> Law:
    """Return the initial law of this experiment: two bumps of unequal mass and width, 3/8 of a turn apart."""
    first = VonMisesFisher(mean_direction=(1.0, 0.0), concentration=2.0)
    second = VonMisesFisher(mean_direction=(-(0.5**0.5), 0.5**0.5), concentration=4.0)
    return Mixture(components=(first, second), proportions=(0.6, 0.4))


def run(
    *,
    rng: Seed,
    beta: float = 1.0,
    value_scale: float = 1.0,
    bias_std: float = 0.3,
    activation: str = "tanh",
    horizon: float = 0.5,
    n_steps: Sequence[int] = (16, 32, 64, 128),
    refinement: int = 8,
    n_modes: int = 256,
    n_nodes: Sequence[int] = (16, 32, 64, 128, 256, 512),
    width: int = 32,
    depth: int = 20,
    n_replicas: int = 16,
    n_pair_replicas: int = 1000,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_part: OnStep = None,
) -> Any:
    """Solve the mean-field equation on the circle by density and by nodes, and measure what is known of both.

    From `start_law`: (a) Fourier modes 1 … 4 of the density against those of n_modes nodes under the same noise, at one
    step and against the nodes at the finest step; (b) the mass; (c) transformers on n nodes against 4 times the most,
    with the activation and with relu; (d) without attention, pairs over the noise against the pair equation
    (`pair_law`). One more run, three times as long, is for the picture.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
    beta : float
        β of attention, QᵀK = βI, and of the energy; with β = 0 the energy has β = 1.
    value_scale : float
        V = δI: 1 attracts, 0 is off, -1 repels.
    bias_std : float
        σ_U, standard deviation of the inner biases.
    activation : str
        φ: relu, tanh, erf or another by name (an unknown name lists them).
    horizon : float
        T; the picture shows 3 T.
    n_steps : sequence of int
        Numbers of steps of the density: at least two increasing numbers that divide the last.
    refinement : int
        Steps of the nodes in the shortest step of the density.
    n_modes : int
        Number of Fourier modes of the density; more where they are needed.
    n_nodes : sequence of int
        Numbers of nodes whose error is measured: at least two increasing numbers.
    width : int
        m, hidden units of a layer in the test of the nodes.
    depth : int
        L, layers in the test of the nodes.
    n_replicas : int
        Independent noises, at least 2.
    n_pair_replicas : int
        Independent noises of the pairs, at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the four parts; those of the same study in it are not computed again.
        A checkpoint beside it keeps the pairs while they run.
    on_part : callable, optional
        Called after each of the four parts (a) with (b), (c), (d), picture.

    Returns
    -------
    xarray.Dataset
        Mean squares per replica: gap and density_error (replica, n_steps), node_error (activation, replica, n_nodes);
        mass_error, the largest |mass − 1|; pair_mean, pair_low, pair_high, pair_expected (function, pair_time); density
        (frame, angle) and path (frame, token), angles of passive tokens, for the picture.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.
    UnresolvedDensityError
        If 4096 modes are not enough.

    Examples
    --------
    >>> data = run(rng=0, horizon=0.1, n_steps=(2, 4), n_modes=64, n_nodes=(8, 16), width=4, depth=4, n_replicas=2,
    ...            n_pair_replicas=2)
    >>> data["gap"].shape, float(data["mass_error"])
    ((2, 2), 0.0)
    """
    n_steps, n_nodes = _increasing(n_steps, "n_steps"), _increasing(n_nodes, "n_nodes")
    for count in n_steps:
        if n_steps[-1] % count:
            raise ValueError(f"n_steps must divide the last, {n_steps[-1]}; got {count}")
    checks.integer(refinement, "refinement", low=1)
    checks.integer(n_modes, "n_modes", low=2 * N_MOMENTS)
    checks.integer(n_replicas, "n_replicas", low=2)
    checks.integer(n_pair_replicas, "n_pair_replicas", low=2)
    depth = checks.integer(depth, "depth", low=1)
    beta, value_scale = checks.number(beta, "beta"), checks.number(value_scale, "value_scale")
    checks.integer(width, "width", low=1)
    n_fine_steps = n_steps[-1] * refinement
    check_size(
        n_tokens=max(4 * n_nodes[-1] * n_replicas, n_modes * n_replicas, 128 * n_pair_replicas),
        dim=2,
        n_steps=max(n_fine_steps, depth),
        n_replicas=max(n_replicas, n_pair_replicas),
        n_layer_numbers=5 * width * n_replicas,
        n_results=_N_HORIZONS * n_steps[-2] * N_ANGLES,
    )
    law, sequence = start_law(), root(rng)
    mlp = MLP(width=width, activation=activation, bias_std=bias_std)
    attention = None if value_scale == 0 else SoftmaxAttention(beta=beta, value_scale=value_scale)
    field = GaussianField(kernel=mlp.kernel(2), tolerance=_TOLERANCE)
    fine = LimitSDE(attention=attention, field=field, horizon=horizon, n_steps=n_fine_steps, scheme="heun")
    network = Transformer(attention=attention, mlp=mlp, depth=depth, horizon=horizon)
    energy_beta = beta if beta > 0 else 1.0
    functions: dict[str, Function] = {
        "u": lambda u: u,
        "u²": np.square,
        f"energy, β = {energy_beta:g}": lambda u: -0.5 * np.exp(energy_beta) * np.expm1(energy_beta * (u - 1)),
    }
    pair_times = np.linspace(0, horizon, 9)
    noises: dict[str, Any] = {"rng": sequence, "n_replicas": n_replicas, "n_threads": n_threads}
    drawn = replace(
        fine.coarsen(fine.n_steps // n_steps[-2]),
        horizon=_N_HORIZONS * horizon,
        n_steps=_N_HORIZONS * n_steps[-2],
    )
    parts: list[Callable[[], dict[str, Any]]] = [
        lambda: solvers(fine, law, n_steps, n_modes, **noises),
        lambda: convergence_of_nodes(network, law, n_nodes, **noises),
        lambda: pair_law(
            replace(fine.coarsen(refinement), attention=None),
            law,
            functions=functions,
            times=pair_times,
            rng=sequence,
            n_nodes=128,
            n_replicas=n_pair_replicas,
            n_threads=n_threads,
            checkpoint=checkpoint(store),
        ),
        lambda: picture(drawn, law, n_modes, rng=sequence, n_threads=n_threads),
    ]
    identity = netcdf.identity(
        {
            "activation": activation,
            "bias_std": bias_std,
            "beta": beta,
            "value_scale": value_scale,
            "horizon": horizon,
            "n_steps": n_steps,
            "refinement": refinement,
            "n_modes": n_modes,
            "n_nodes": n_nodes,
            "width": width,
            "depth": depth,
            "n_replicas": n_replicas,
            "n_pair_replicas": n_pair_replicas,
            "tolerance": _TOLERANCE,
            "n_horizons": _N_HORIZONS,
        },
        sequence,
    )
    drift = "no attention" if attention is None else f"β = {beta:g}, δ = {value_scale:g}"
    title = (
        f"Mean-field limit on the circle: {activation}, σ_U = {bias_std:g}, {drift}, T = {horizon:g}, "
        f"{n_replicas} and {n_pair_replicas} replicas"
    )

    def to_dataset(pieces: Sequence[_Piece]) -> Any:
        return checks.extra("xarray", "io").Dataset(
            {name: variable for piece in pieces for name, variable in piece.items()},
            coords={
                "n_steps": list(n_steps),
                "n_nodes": list(n_nodes),
                "function": list(functions),
                "pair_time": pair_times,
            },
            attrs={
                "title": title,
                "refinement": refinement,
                "entropy": str(sequence.entropy),
                "spawn_key": str(sequence.spawn_key),
                "stream_version": STREAM_VERSION,
                "parameters": json.dumps({"width": width, "depth": depth, "horizon": horizon}),
                "identity": identity,
            },
        )

    return grow(
        lambda index: parts[index](),
        n_pieces=len(_PARTS),
        identity=identity,
        to_dataset=to_dataset,
        from_dataset=_from_dataset,
        store=store,
        on_step=on_part,
    )


def _from_dataset(dataset: Any) -> list[_Piece]:
    """Return the parts that are done, one after the other: those whose variables are there."""
    n_done = sum(_PARTS[index][0] in dataset for index in range(len(_PARTS)))
    return [{name: (dataset[name].dims, dataset[name].values) for name in names} for names in _PARTS[:n_done]]


def _increasing(values: Sequence[int], name: str) -> tuple[int, ...]:
    counts = tuple(checks.integer(value, name, low=2) for value in checks.sequence(values, name))
    if len(counts) < 2 or any(a >= b for a, b in pairwise(counts)):
        raise ValueError(f"{name} must be at least two increasing integers, got {list(values)}")
    return counts
