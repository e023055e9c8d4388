"""The deep-and-wide limit: the distance of networks of depth L and width m from it under the paper's coupling."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.streams import Noise, Seed, root
from chaosphere.experiments.sizes import check_memory
from chaosphere.geometry.sphere import sample_uniform
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.noise.mlp import MLP
from chaosphere.reporting import results
from chaosphere.reporting.results import Claim
from chaosphere.simulation.identity import describe
from chaosphere.theory.coupling import System, deep_wide

DEFAULT_DEPTHS = (8, 16, 32, 64, 128)
DEFAULT_WIDTHS = (16, 32, 64, 128, 256)


def run(
    mlp: MLP,
    *,
    rng: Seed,
    attention: SoftmaxAttention | None = None,
    dim: int = 3,
    n_tokens: int = 32,
    horizon: float = 1.0,
    depths: Sequence[int] = DEFAULT_DEPTHS,
    widths: Sequence[int] = DEFAULT_WIDTHS,
    refinement: int = 4,
    n_replicas: int = 16,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: Callable[[], object] | None = None,
) -> Any:
    """Measure E sup_t (1/N) Σ |X^i − X̄^i|² over a grid of depths and widths.

    Parameters
    ----------
    mlp : MLP
        Activation and standard deviations; its width is not used.
    rng : int, SeedSequence or Generator
    attention : SoftmaxAttention, optional
    dim, n_tokens : int
        Tokens start i.i.d. uniform.
    horizon : float
    depths, widths : sequence of int
        Increasing; at least two each. Every depth divides the largest. No widths: Gaussian layers only, the network of
        every depth built from the layers of the deepest; N may then be large.
    refinement : int
        The limit is solved with this many times the largest depth.
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
        mean_square (replica, depth, width), width inf for Gaussian layers, the last depth that of the limit's grid;
        width_mean_square (replica, depth, finite_width) against the Gaussian layers of the same depth; rms with its
        interval; the exponents as attributes of `claims`.

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
    xarray = checks.extra("xarray", "io")
    n_replicas = checks.integer(n_replicas, "n_replicas", low=2)
    refinement = checks.integer(refinement, "refinement", low=2)
    horizon = checks.number(horizon, "horizon", above=0)
    depths = checks.ladder(depths, "depths")
    widths = checks.ladder(widths, "widths") if len(widths) else ()
    for depth in depths:
        if depths[-1] % depth:
            raise ValueError(f"depths must divide the largest, {depths[-1]}; got {depth}")
    n_threads = checks.threads(n_threads)
    n_tokens, dim = checks.integer(n_tokens, "n_tokens", low=1), checks.integer(dim, "dim", low=2)
    n_networks, largest = (len(depths) + 1) * (len(widths) + 1), max(widths, default=0)
    # Layers of finite width are mapped by matrices over the tokens.
    n_matrices = 8 * n_tokens**2 if widths else 0
    check_memory(
        n_tokens=n_networks * n_tokens, dim=dim, n_layer_numbers=largest * (2 * dim + 1 + n_tokens) + n_matrices
    )
    sequence = root(rng)
    identity = results.identity(
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
    with results.held(store, identity) as (path, stored):
        done: list[tuple[Floats, Floats]] = []
        if stored is not None:
            done = list(zip(stored["mean_square"].values, stored["width_mean_square"].values, strict=True))
        for replica in range(len(done), n_replicas):
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
            done.append((errors[0], width_errors[0]))
            if path is not None and len(done) >= 2:
                results.save(_dataset(xarray, done, depths, widths, refinement, identity), path)
            if on_step is not None:
                on_step()
    return _dataset(xarray, done[:n_replicas], depths, widths, refinement, identity)


def claims(dataset: Any) -> list[Claim]:
    """Return the exponents in L and in m of the mean square beside those of the theorem, log L / L + 1/m."""
    # The limit is solved with finitely many steps under the same noise: the gap has size 1/L − 1/L_fine.
    depths = 1 / (1 / dataset["depth"].values[:-1] - 1 / dataset["depth"].values[-1])
    widths = dataset["finite_width"].values.astype(np.float64)
    ladders = [("depth L, Gaussian layers (m = ∞)", depths, dataset["mean_square"].values[:, :-1, -1])]
    if len(widths):
        name = f"width m, depth {int(dataset['depth'].values[-1])} (L = ∞)"
        ladders.append((name, widths, dataset["width_mean_square"].values[:, -1, :]))
    found = []
    for name, x, values in ladders:
        slope, low, high = results.log_slope(x, values, np.ones(len(x)))
        # The fit is of root-mean-squares; the theorem speaks of mean squares.
        found.append(
            Claim(
                quantity=f"exponent of the mean square in {name}",
                measured=2 * slope,
                low=2 * low,
                high=2 * high,
                expected=-1.0,
            )
        )
    if not len(widths):
        return found
    ratio, low, high = _commutation(dataset)
    found.append(
        Claim(
            quantity="error at largest (L, m) over the sum of its two limits' errors",
            measured=ratio,
            low=low,
            high=high,
            expected=1.0,
        )
    )
    return found


def table(dataset: Any) -> str:
    """Return the grid of mean squares and the exponents as text."""
    mean = dataset["mean_square"].mean("replica").values
    widths = ["m = ∞" if np.isinf(w) else f"m = {int(w)}" for w in dataset["width"].values]
    lines = [dataset.attrs["title"], "", f"{'E sup_t (1/N) Σ |X − X̄|²':>28}" + "".join(f"{w:>12}" for w in widths)]
    for depth, row in zip(dataset["depth"].values, mean, strict=True):
        lines.append(f"{f'L = {depth}':>28}" + "".join(f"{value:12.3e}" for value in row))
    return "\n".join([*lines, "", results.format_claims(claims(dataset))])


def _commutation(dataset: Any) -> tuple[float, float, float]:
    """Error at the largest finite (L, m) over that of (L, ∞) plus that of (∞, m), with a jackknife interval.

    Were the limits not to commute, the error would not vanish as the sum of the two does; independent errors give 1.
    """
    values = dataset["mean_square"].values
    corner, in_depth, in_width = values[:, -2, -2], values[:, -2, -1], values[:, -1, -2]
    return results.ratio_of_means(corner, in_depth + in_width)


def _dataset(
    xarray: Any,
    done: Sequence[tuple[Floats, Floats]],
    depths: tuple[int, ...],
    widths: tuple[int, ...],
    refinement: int,
    identity: str,
) -> Any:
    study = json.loads(identity)
    mean_squares = np.stack([errors for errors, _ in done])
    attention = study["attention"]
    parts = [study["mlp"]["activation"], f"d = {study['dim']}", f"N = {study['n_tokens']}", f"T = {study['horizon']:g}"]
    parts += ["no attention" if attention is None else f"β = {attention['beta']:g}, δ = {attention['value_scale']:g}"]
    return xarray.Dataset(
        {
            "mean_square": (("replica", "depth", "width"), mean_squares),
            "width_mean_square": (("replica", "depth", "finite_width"), np.stack([errors for _, errors in done])),
        },
        coords={
            "depth": [*depths, refinement * depths[-1]],
            "width": [*map(float, widths), np.inf],
            "finite_width": list(widths),
        },
        attrs={
            "title": f"Deep-and-wide limit, {len(done)} replicas\n{', '.join(parts)}",
            "identity": identity,
        },
    )
