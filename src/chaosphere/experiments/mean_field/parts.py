"""The parts of the experiment on the mean-field limit on the circle: solvers, nodes, picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chaosphere.common.checks import Floats
from chaosphere.common.streams import Seed
from chaosphere.geometry.laws import Law
from chaosphere.interactions.circle import Modes
from chaosphere.models.densities import CircleDensity, DensitySolution, moments
from chaosphere.models.mean_field import MeanField
from chaosphere.models.resolution import UnresolvedDensityError
from chaosphere.models.sde import LimitSDE
from chaosphere.models.transformer import Transformer
from chaosphere.noise import activations
from chaosphere.noise.mlp import MLP
from chaosphere.simulation.loop import simulate

N_MOMENTS = 4  # the Fourier modes 1 … 4 of the measure are compared
N_ANGLES = 721  # of the density that is drawn
_MAX_MODES = 4096
_KINKED = "relu"  # stands beside the chosen activation in the convergence of nodes
_N_PATHS = 24  # tokens in the run that is drawn


def solvers(
    fine: LimitSDE,
    law: Law,
    n_steps: Sequence[int],
    n_modes: int,
    **noises: Any,
) -> dict[str, Any]:
    """Compare the modes of the density with those of the nodes, at one step and at the finest, and take its mass."""
    limit = _moments_of_nodes(fine, law, n_modes, **noises)
    gaps, errors, mass_error = [], [], 0.0
    for count in n_steps:
        model = fine.coarsen(fine.n_steps // count)
        modes = _resolved(model, law, n_modes, **noises).modes[-1]
        mass_error = max(mass_error, float(np.abs(modes[:, 0] - 1).max()))
        of_density = modes[:, 1 : N_MOMENTS + 1]
        gaps.append(_mean_square(of_density - _moments_of_nodes(model, law, n_modes, **noises)))
        errors.append(_mean_square(of_density - limit))
    dims = ("replica", "n_steps")
    return {
        "gap": (dims, np.stack(gaps, axis=1)),
        "density_error": (dims, np.stack(errors, axis=1)),
        "mass_error": ((), mass_error),
    }


def convergence_of_nodes(network: Transformer, law: Law, n_nodes: Sequence[int], **noises: Any) -> dict[str, Any]:
    """Compare the modes of transformers on few nodes with those on four times the most, for two activations."""
    assert isinstance(network.mlp, MLP)
    names = list(dict.fromkeys([network.mlp.activation, _KINKED]))
    errors = []
    for name in names:
        model = replace(network, mlp=replace(network.mlp, activation=name))
        exact = _moments_of_nodes(model, law, 4 * n_nodes[-1], **noises)
        row = [_mean_square(_moments_of_nodes(model, law, n, **noises) - exact) for n in n_nodes]
        errors.append(np.stack(row, axis=1))
    return {
        "activation": ("activation", names),
        "node_error": (("activation", "replica", "n_nodes"), np.stack(errors)),
        "is_kinked": ("activation", [bool(activations.get(name).kinks) for name in names]),
    }


def picture(model: LimitSDE, law: Law, n_modes: int, *, rng: Seed, n_threads: int | None) -> dict[str, Any]:
    """Return the density over time under one noise, and tokens that follow it."""
    frames = np.linspace(0, model.horizon, model.n_steps + 1)
    angles = np.linspace(-np.pi, np.pi, N_ANGLES)
    density = _resolved(model, law, n_modes, rng=rng, save_at=frames, n_threads=n_threads).density(angles)
    limit = MeanField(model=model, law=law, n_nodes=n_modes)
    start = limit.start(law.sample(_N_PATHS, rng=rng))
    x = simulate(limit, start, rng=rng, save_at=frames, n_threads=n_threads).states[:, -_N_PATHS:]
    return {
        "frame": ("frame", frames),
        "angle": ("angle", angles),
        "density": (("frame", "angle"), density),
        "path": (("frame", "token"), np.arctan2(x[..., 1], x[..., 0])),
    }


def _resolved(model: LimitSDE, law: Law, n_modes: int, **options: Any) -> DensitySolution:
    """Return the density with as many modes as it needs, at least n_modes."""
    while True:
        try:
            return CircleDensity(model=model, law=law, n_modes=n_modes).solve(**options)
        except UnresolvedDensityError as error:
            if n_modes >= _MAX_MODES:
                raise
            n_modes = min(error.n_modes, _MAX_MODES)


def _moments_of_nodes(
    model: LimitSDE | Transformer, law: Law, n_nodes: int, *, rng: Seed, n_replicas: int, n_threads: int | None
) -> Modes:
    """Return the modes 1 … 4 at the end, shape (R, 4)."""
    limit = MeanField(model=model, law=law, n_nodes=n_nodes)
    start = np.tile(limit.start(), (n_replicas, 1, 1))
    final = simulate(limit, start, rng=rng, n_threads=n_threads).final
    return moments(final, N_MOMENTS, weights=limit.weights)[:, 1:]


def _mean_square(difference: Modes) -> Floats:
    return np.asarray((np.abs(difference) ** 2).mean(axis=-1))
