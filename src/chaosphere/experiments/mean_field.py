"""The mean-field limit on the circle: two solvers, the convergence of each, and the law of pairs over the noise."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chaosphere.common import checks
from chaosphere.common.chebyshev import Function
from chaosphere.common.checks import Floats
from chaosphere.common.streams import STREAM_VERSION, Seed, root
from chaosphere.experiments.sizes import check_memory
from chaosphere.geometry.laws import Law, Mixture, VonMisesFisher
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.models.densities import CircleDensity, DensitySolution, Modes, UnresolvedDensityError, moments
from chaosphere.models.mean_field import MeanField
from chaosphere.models.sde import LimitSDE
from chaosphere.models.transformer import Transformer
from chaosphere.noise import activations
from chaosphere.noise.gaussian import GaussianField
from chaosphere.noise.mlp import MLP
from chaosphere.reporting import results
from chaosphere.reporting.results import Claim
from chaosphere.simulation.loop import simulate
from chaosphere.theory import two_point

N_PARTS = 4  # calls of `on_part`
N_MOMENTS = 4  # the Fourier modes 1 … 4 of the measure are compared
_MOST_MODES = 4096
_TOLERANCE = 1e-4  # of the noise's variance; with less left out, kinked activations would need thousands of modes
_KINKED = "relu"  # stands beside the chosen activation in the convergence of nodes
_ROUNDING = 1e-11  # root-mean-square errors below are left out of fits
_SPECTRAL = -4.0  # an exponent in the nodes below this shows more than algebraic convergence of low order
_N_HORIZONS, _N_PATHS = 3, 24  # the run that is drawn: its length, and the tokens in it


def start_law() -> Law:
    """Return the initial law of this experiment: two bumps of unequal mass and width, 3/8 of a turn apart."""
    first = VonMisesFisher(mean_direction=(1.0, 0.0), concentration=2.0)
    second = VonMisesFisher(mean_direction=(-(0.5**0.5), 0.5**0.5), concentration=4.0)
    return Mixture(components=(first, second), proportions=(0.6, 0.4))


def run(
    *,
    rng: Seed,
    activation: str = "tanh",
    bias_std: float = 0.3,
    beta: float = 1.0,
    value_scale: float = 1.0,
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
    on_part: Callable[[], object] | None = None,
) -> Any:
    """Solve the mean-field equation on the circle by density and by nodes, and measure what is known of both.

    From `start_law`: (a) Fourier modes 1 … 4 of the density against those of n_modes nodes under the same noise, at one
    step and against the nodes at the finest step; (b) the mass; (c) transformers on n nodes against 4 times the most,
    with the activation and with relu; (d) without attention, pairs over the noise against the pair equation
    (`pair_law`). One more run, three times as long, is for the picture.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
    activation : str
    bias_std : float
        σ_U.
    beta, value_scale : float
        Of attention; δ = 0 leaves it out.
    horizon : float
        T of (a) to (d).
    n_steps : sequence of int
        At least two increasing numbers that divide the last.
    refinement : int
        The finest step of the nodes is the smallest of the others over this.
    n_modes : int
        Of the density, to begin with; more where `UnresolvedDensityError` asks for them.
    n_nodes : sequence of int
        At least two increasing numbers.
    width, depth : int
        Of the transformers of (c).
    n_replicas, n_pair_replicas : int
        Independent noises of (a) to (c), and of (d); at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that is written at the end; one that holds another study is refused at the start.
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
        If an argument is out of range.
    UnresolvedDensityError
        If 4096 modes are not enough.

    Examples
    --------
    >>> data = run(rng=0, horizon=0.1, n_steps=(2, 4), n_modes=64, n_nodes=(8, 16), width=4, depth=4, n_replicas=2,
    ...            n_pair_replicas=2)
    >>> data["gap"].shape, float(data["mass_error"])
    ((2, 2), 0.0)
    """
    xarray = checks.extra("xarray", "io")
    n_steps, n_nodes = _increasing(n_steps, "n_steps"), _increasing(n_nodes, "n_nodes")
    for count in n_steps:
        if n_steps[-1] % count:
            raise ValueError(f"n_steps must divide the last, {n_steps[-1]}; got {count}")
    checks.integer(refinement, "refinement", low=1)
    checks.integer(n_modes, "n_modes", low=2 * N_MOMENTS)
    checks.integer(n_replicas, "n_replicas", low=2)
    checks.integer(n_pair_replicas, "n_replicas", low=2)
    checks.integer(width, "width", low=1)
    check_memory(
        n_tokens=max(4 * n_nodes[-1] * n_replicas, n_modes * n_replicas, 128 * n_pair_replicas),
        dim=2,
        n_layer_numbers=5 * width * n_replicas,
        n_results=_N_HORIZONS * n_steps[-2] * 721,
    )
    law, sequence = start_law(), root(rng)
    mlp = MLP(width=width, activation=activation, bias_std=bias_std)
    attention = None if value_scale == 0 else SoftmaxAttention(beta=beta, value_scale=value_scale)
    field = GaussianField(kernel=mlp.kernel(2), tolerance=_TOLERANCE)
    fine = LimitSDE(attention=attention, field=field, horizon=horizon, n_steps=n_steps[-1] * refinement, scheme="heun")
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
        lambda: _solvers(fine, law, n_steps, n_modes, **noises),
        lambda: _convergence_of_nodes(network, law, n_nodes, **noises),
        lambda: pair_law(
            replace(fine.coarsen(refinement), attention=None),
            law,
            functions=functions,
            times=pair_times,
            rng=sequence,
            n_nodes=128,
            n_replicas=n_pair_replicas,
            n_threads=n_threads,
        ),
        lambda: _picture(drawn, law, n_modes, rng=sequence, n_threads=n_threads),
    ]
    identity = results.identity(
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
        },
        sequence,
    )
    with results.held(store, identity) as (path, _):
        variables: dict[str, Any] = {}
        for part in parts:
            variables |= part()
            if on_part is not None:
                on_part()
        drift = "no attention" if attention is None else f"β = {beta:g}, δ = {value_scale:g}"
        dataset = xarray.Dataset(
            variables,
            coords={
                "n_steps": list(n_steps),
                "n_nodes": list(n_nodes),
                "function": list(functions),
                "pair_time": pair_times,
            },
            attrs={
                "title": (
                    f"Mean-field limit on the circle: {activation}, σ_U = {bias_std:g}, {drift}, T = {horizon:g}, "
                    f"{n_replicas} and {n_pair_replicas} replicas"
                ),
                "refinement": refinement,
                "entropy": str(sequence.entropy),
                "spawn_key": str(sequence.spawn_key),
                "stream_version": STREAM_VERSION,
                "parameters": json.dumps({"width": width, "depth": depth, "horizon": horizon}),
                "identity": identity,
            },
        )
        if path is not None:
            results.save(dataset, path)
        return dataset


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
    >>> field = GaussianField(kernel=MLP(width=1, activation="erf").kernel(3))
    >>> model = LimitSDE(attention=None, field=field, horizon=0.5, n_steps=10, scheme="heun")
    >>> found = pair_law(model, Uniform(dim=3), functions={"u²": np.square}, times=[0.5], rng=0, n_nodes=50,
    ...                  n_replicas=100)
    >>> low, expected, high = (found[key][1][0, 0] for key in ("pair_low", "pair_expected", "pair_high"))
    >>> bool(low < expected < high)
    True
    """
    checks.integer(n_replicas, "n_replicas", low=2)
    if not isinstance(model, LimitSDE) or model.attention is not None or model.field is None:
        raise ValueError(f"model must be a LimitSDE with a field and without attention, got {model!r}")
    limit = MeanField(model=model, law=law, n_nodes=n_nodes)
    p = limit.weights

    def means(_: float, x: Floats) -> Floats:
        """Shape (n_functions, R); one replica's cosines at a time."""
        cosines = (np.clip(y @ y.T, -1, 1) for y in x)
        return np.array([[p @ f(u) @ p for f in functions.values()] for u in cosines]).T

    start = np.tile(limit.start(), (n_replicas, 1, 1))
    sol = simulate(limit, start, rng=rng, save_at=times, observe={"pairs": means}, n_threads=n_threads)
    values = sol.observables["pairs"].T  # (R, n_functions, n_times)
    # A mean of f lies in the range of f.
    grid = np.cos(np.linspace(0, np.pi, 1001))
    rows = []
    for f, row in zip(functions.values(), values.swapaxes(0, 1), strict=True):
        reach = np.concatenate([f(grid), row.ravel()])
        rows.append(results.mean_interval(row, at_least=float(reach.min()), at_most=float(reach.max())))
    mean, low, high = (np.stack(part) for part in zip(*rows, strict=True))
    # Symmetric rules have few distinct cosines.
    cosines, where = np.unique(np.clip(limit.nodes @ limit.nodes.T, -1, 1).round(12), return_inverse=True)
    u0 = (cosines, np.bincount(where.ravel(), np.outer(p, p).ravel()))
    expected = [two_point.expectation(model.field.kernel, f, sol.times, u0=u0) for f in functions.values()]
    arrays = {"mean": mean, "low": low, "high": high, "expected": np.array(expected)}
    return {f"pair_{name}": (("function", "pair_time"), array) for name, array in arrays.items()}


def claims(dataset: Any) -> list[Claim]:
    """Return orders in the step, the mass error, exponents in the nodes, and pairs at the last time."""
    steps, refinement = dataset["n_steps"].values, int(dataset.attrs["refinement"])
    step = 1 / steps
    # Of nested steps under one noise: the mean square of the difference goes with the difference of the steps.
    effective = step - step[-1] / refinement
    found = [
        _slope("order in the step: density − nodes, one noise and step", step, dataset["gap"].values, 1.0),
        _slope(
            "order in the step: density − nodes at the finest step", effective, dataset["density_error"].values, 0.5
        ),
    ]
    mass = float(dataset["mass_error"])
    found.append(Claim(quantity="largest |mass − 1| of the density", measured=mass, low=mass, high=mass, expected=0.0))
    nodes = dataset["n_nodes"].values.astype(np.float64)
    for name in dataset["activation"].values:
        row = dataset.sel(activation=name)
        error = row["node_error"].values
        good = np.flatnonzero(np.sqrt(error.mean(axis=0)) > _ROUNDING)
        if bool(row["is_kinked"]):
            # Fewer nodes do not resolve the bumps of the initial law.
            label = f"{name}: exponent of the error from {nodes[-4:][0]:g} nodes on"
            found.append(_slope(label, nodes[-4:], error[:, -4:], -2.0))
        elif len(good) >= 2:
            last = good[-2:]
            label = f"{name}: exponent of the error from {nodes[last[0]]:g} to {nodes[last[1]]:g} nodes, at most"
            found.append(_slope(label, nodes[last], error[:, last], _SPECTRAL, is_bound=True))
    for name in dataset["function"].values:
        row = dataset.sel(function=name).isel(pair_time=-1)
        found.append(
            Claim(
                quantity=f"pairs over the noise: {name}",
                measured=float(row["pair_mean"]),
                low=float(row["pair_low"]),
                high=float(row["pair_high"]),
                expected=float(row["pair_expected"]),
                # An interval must tell the change since the start from none.
                relevant=abs(float(row["pair_expected"] - dataset["pair_expected"].sel(function=name)[0])),
            )
        )
    return found


def table(dataset: Any) -> str:
    """Return errors and claims as text."""
    lines = [dataset.attrs["title"], "", f"{'steps':>8}{'same step':>14}{'finest step':>14}   density − nodes"]
    rows = zip(dataset["n_steps"].values, _rms(dataset["gap"]), _rms(dataset["density_error"]), strict=True)
    lines += [f"{count:8d}{gap:14.2e}{error:14.2e}" for count, gap, error in rows]
    names = dataset["activation"].values
    lines += ["", f"{'nodes':>8}" + "".join(f"{name:>14}" for name in names) + "   error"]
    errors = [_rms(dataset["node_error"].sel(activation=name)) for name in names]
    for count, *row in zip(dataset["n_nodes"].values, *errors, strict=True):
        lines.append(f"{count:8d}" + "".join(f"{error:14.2e}" for error in row))
    return "\n".join([*lines, "", results.format_claims(claims(dataset))])


def _solvers(
    fine: LimitSDE,
    law: Law,
    n_steps: Sequence[int],
    n_modes: int,
    **noises: Any,
) -> dict[str, Any]:
    limit = _moments_of_nodes(fine, law, n_modes, **noises)
    gaps, errors, mass_error = [], [], 0.0
    for count in n_steps:
        model = fine.coarsen(fine.n_steps // count)
        modes = _resolved(model, law, n_modes, **noises).modes[-1]
        mass_error = max(mass_error, float(np.abs(modes[:, 0] - 1).max()))
        found = modes[:, 1 : N_MOMENTS + 1]
        gaps.append(_mean_square(found - _moments_of_nodes(model, law, n_modes, **noises)))
        errors.append(_mean_square(found - limit))
    dims = ("replica", "n_steps")
    return {
        "gap": (dims, np.stack(gaps, axis=1)),
        "density_error": (dims, np.stack(errors, axis=1)),
        "mass_error": ((), mass_error),
    }


def _convergence_of_nodes(network: Transformer, law: Law, n_nodes: Sequence[int], **noises: Any) -> dict[str, Any]:
    assert network.mlp is not None
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


def _picture(model: LimitSDE, law: Law, n_modes: int, *, rng: Seed, n_threads: int | None) -> dict[str, Any]:
    frames = np.linspace(0, model.horizon, model.n_steps + 1)
    angles = np.linspace(-np.pi, np.pi, 721)
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
            if n_modes >= _MOST_MODES:
                raise
            n_modes = min(error.n_modes, _MOST_MODES)


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


def _rms(mean_squares: Any) -> Floats:
    return np.asarray(np.sqrt(mean_squares.mean("replica").values))


def _slope(quantity: str, x: Floats, mean_squares: Floats, expected: float, *, is_bound: bool = False) -> Claim:
    slope, low, high = results.log_slope(x, mean_squares, np.ones(len(x)))
    return Claim(quantity=quantity, measured=slope, low=low, high=high, expected=expected, is_bound=is_bound)


def _increasing(values: Sequence[int], name: str) -> tuple[int, ...]:
    counts = tuple(checks.integer(value, name, low=2) for value in values)
    if len(counts) < 2 or any(a >= b for a, b in pairwise(counts)):
        raise ValueError(f"{name} must be at least two increasing integers, got {list(values)}")
    return counts
