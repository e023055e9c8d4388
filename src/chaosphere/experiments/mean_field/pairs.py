"""Pairs of the mean field, averaged over the noise, beside the pair equation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chaosphere import stats
from chaosphere.common import checks, messages
from chaosphere.common.chebyshev import Function
from chaosphere.common.checks import Floats
from chaosphere.common.streams import Seed
from chaosphere.geometry.laws import Law
from chaosphere.models.mean_field import MeanField
from chaosphere.models.sde import LimitSDE
from chaosphere.noise.gaussian import GaussianField
from chaosphere.simulation.loop import simulate
from chaosphere.theory import two_point


def pair_law(
    model: LimitSDE,
    law: Law,
    *,
    functions: Mapping[str, Function],
    times: ArrayLike,
    rng: Seed,
    n_nodes: int = 128,
    n_replicas: int = 1000,
    n_threads: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Compare pairs of the mean field, averaged over the noise, with the pair equation.

    Without attention two tokens see the common noise alone, so that

    E ∬ f(⟨x, y⟩) dμ_t(x) dμ_t(y) = ∫ E[f(u_t) | u_0] dν(u_0),   ν the law of ⟨x, y⟩ under μ_0 ⊗ μ_0:

    the conditional law of the limit, on the left, has the pair equation's mean, on the right.

    Parameters
    ----------
    model : LimitSDE
        Without attention and temperature, with a field.
    law : Law
        μ_0, of the field's dimension.
    functions : mapping of str to callable
        Each f, elementwise on arrays of cosines.
    times : array_like
        Increasing in [0, T].
    rng : int, SeedSequence or Generator
    n_nodes : int
        See `chaosphere.laws.quadrature`; both sides take the same nodes.
    n_replicas : int
        Independent noises, at least 2.
    n_threads : int, optional
    checkpoint : path, optional
        File that keeps the state of the run; see `simulate`.

    Returns
    -------
    dict
        pair_mean, pair_low, pair_high (the left side with its 99 % interval over replicas) and pair_expected
        (the right side), each (dimensions, array of shape (n_functions, n_times)).

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    O(n² R n_times) evaluations of each f beside the run; memory O(n²). The step of the model leaves a bias of its weak
    order.

    Examples
    --------
    >>> from chaosphere.geometry.laws import Uniform
    >>> from chaosphere.noise.gaussian import GaussianField
    >>> from chaosphere.noise.mlp import MLP
    >>> field = GaussianField(kernel=MLP(width=1, activation="erf").kernel(3))
    >>> model = LimitSDE(attention=None, field=field, horizon=0.5, n_steps=10, scheme="heun")
    >>> arrays = pair_law(model, Uniform(dim=3), functions={"u²": np.square}, times=[0.5], rng=0, n_nodes=50,
    ...                   n_replicas=100)
    >>> low, expected, high = (arrays[key][1][0, 0] for key in ("pair_low", "pair_expected", "pair_high"))
    >>> bool(low < expected < high)
    True
    """
    checks.integer(n_replicas, "n_replicas", low=2)
    if not isinstance(model, LimitSDE) or model.attention is not None or not isinstance(model.field, GaussianField):
        raise ValueError(
            f"model must be a LimitSDE with a GaussianField and without attention, got {messages.shown(model)}"
        )
    limit = MeanField(model=model, law=law, n_nodes=n_nodes)
    p = limit.weights

    def means(_: float, x: Floats) -> Floats:
        """Shape (n_functions, R); one replica's cosines at a time."""
        cosines = (np.clip(y @ y.T, -1, 1) for y in x)
        return np.array([[p @ f(u) @ p for f in functions.values()] for u in cosines]).T

    start = np.tile(limit.start(), (n_replicas, 1, 1))
    sol = simulate(
        limit, start, rng=rng, save_at=times, observe={"pairs": means}, n_threads=n_threads, checkpoint=checkpoint
    )
    values = sol.observables["pairs"].T  # (R, n_functions, n_times)
    # A mean of f lies in the range of f.
    grid = np.cos(np.linspace(0, np.pi, 1001))
    rows = []
    for f, row in zip(functions.values(), values.swapaxes(0, 1), strict=True):
        reach = np.concatenate([f(grid), row.ravel()])
        rows.append(stats.mean_interval(row, at_least=float(reach.min()), at_most=float(reach.max())))
    mean, low, high = (np.stack(part) for part in zip(*rows, strict=True))
    # Symmetric rules have few distinct cosines.
    cosines, where = np.unique(np.clip(limit.nodes @ limit.nodes.T, -1, 1).round(12), return_inverse=True)
    u0 = (cosines, np.bincount(where.ravel(), np.outer(p, p).ravel()))
    expected = [two_point.expectation(model.field.kernel, f, sol.times, u0=u0) for f in functions.values()]
    arrays = {"mean": mean, "low": low, "high": high, "expected": np.array(expected)}
    return {f"pair_{name}": (("function", "pair_time"), array) for name, array in arrays.items()}
