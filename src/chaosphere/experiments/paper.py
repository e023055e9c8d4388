"""The table and the figures of arXiv:2604.26898."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chaosphere import measures
from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import STREAM_VERSION, Seed, root
from chaosphere.experiments.sizes import check_memory
from chaosphere.experiments.synchronization import pair_energy, theorem
from chaosphere.geometry.sphere import sample_uniform
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.models.transformer import Transformer
from chaosphere.noise.mlp import MLP
from chaosphere.reporting import results
from chaosphere.simulation.loop import Observable, simulate

ACTIVATIONS = ("relu", "sigmoid", "tanh", "silu")
DIMS = (5, 64, 128)
BIASES = (0.0, 0.1)
VALUE_SCALES = (1.0, 0.0, -1.0)
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
FIGURES = {2: "relu", 3: "silu", 4: "sigmoid", 5: "tanh", 6: None}
WIDTH = 2048  # the paper states it for figure 1 only
_FIGURE_1_LAYERS = (0, 50, 200, 500, 1000, 2000)


def table(
    *,
    dims: Sequence[int] = DIMS,
    bias_stds: Sequence[float] = BIASES,
    activations: Sequence[str] = ACTIVATIONS,
    store: str | os.PathLike[str] | None = None,
) -> Any:
    """Return κ(1), κ′(1), λ1 and λ̄ for σ_U = σ_W = σ: Table 1 with the default arguments.

    Parameters
    ----------
    dims : sequence of int
    bias_stds : sequence of float
        σ.
    activations : sequence of str
    store : path, optional
        NetCDF file that is written at the end; one that holds another study is refused at the start.

    Returns
    -------
    xarray.Dataset
        kappa, kappa_derivative, lyapunov_exponent, lambda_bar (activation, dim, bias_std).

    Examples
    --------
    >>> data = table(dims=[5], bias_stds=[0.0], activations=["relu"])
    >>> round(float(data["lyapunov_exponent"].item()), 12)
    -0.1
    """
    xarray = checks.extra("xarray", "io")
    names = ("kappa", "kappa_derivative", "lyapunov_exponent", "lambda_bar")
    dims = [checks.integer(dim, "dims", low=2) for dim in checks.distinct(dims, "dims")]
    bias_stds = [checks.number(bias, "bias_stds", low=0) for bias in checks.distinct(bias_stds, "bias_stds")]
    activations = checks.distinct(activations, "activations")
    identity = json.dumps({"activations": activations, "dims": dims, "bias_stds": bias_stds})
    with results.held(store, identity) as (path, _):
        values = np.empty((len(names), len(activations), len(dims), len(bias_stds)))
        for a, activation in enumerate(activations):
            for i, dim in enumerate(dims):
                for j, bias in enumerate(bias_stds):
                    kernel = MLP(width=1, activation=activation, bias_std=bias, output_bias_std=bias).kernel(dim)
                    values[:, a, i, j] = (
                        kernel(1.0),
                        kernel.derivative(1.0),
                        kernel.lyapunov_exponent(),
                        kernel.lambda_bar(),
                    )
        dataset = xarray.Dataset(
            {name: (("activation", "dim", "bias_std"), v) for name, v in zip(names, values, strict=True)},
            coords={"activation": list(activations), "dim": list(dims), "bias_std": list(bias_stds)},
            attrs={"identity": identity},
        )
        if path is not None:
            results.save(dataset, path)
        return dataset


def format_table(dataset: Any) -> str:
    """Return the rows of `table` as text, three digits each."""
    lines = [f"{'φ':>8}{'d':>5}{'σ':>6}{'κ(1)':>12}{'κ′(1)':>12}{'λ1':>12}{'λ̄':>13}"]
    for activation in dataset["activation"].values:
        for dim in dataset["dim"].values:
            for bias in dataset["bias_std"].values:
                row = dataset.sel(activation=activation, dim=dim, bias_std=bias)
                numbers = "".join(
                    f"{float(row[name]):12.2e}"
                    for name in ("kappa", "kappa_derivative", "lyapunov_exponent", "lambda_bar")
                )
                lines.append(f"{activation:>8}{dim:>5}{bias:>6g}{numbers}")
    return "\n".join(lines)


def figure_1(
    *,
    rng: Seed,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_run: Callable[[], object] | None = None,
) -> Any:
    """Run Figure 1: no attention, N = 64, d = 4, L = 2000, T = 20, m = 2048, relu and tanh without bias.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
    n_threads : int, optional
    store : path, optional
        NetCDF file that is written at the end; one that holds another study is refused at the start.
    on_run : callable, optional
        Called after each of the two runs.

    Returns
    -------
    xarray.Dataset
        x (activation, layer, token, coordinate).
    """
    xarray = checks.extra("xarray", "io")
    sequence = root(rng)
    identity = results.identity({"figure": 1, "width": WIDTH}, sequence)
    with results.held(store, identity) as (path, _):
        x = sample_uniform(64, 4, rng=sequence)
        states = []
        for activation in ("relu", "tanh"):
            model = Transformer(attention=None, mlp=MLP(width=WIDTH, activation=activation), depth=2000, horizon=20.0)
            times = np.array(_FIGURE_1_LAYERS) * 20.0 / 2000
            states.append(simulate(model, x, rng=sequence, save_at=times, n_threads=n_threads).states)
            if on_run is not None:
                on_run()
        dataset = xarray.Dataset(
            {"x": (("activation", "layer", "token", "coordinate"), np.stack(states))},
            coords={"activation": ["relu", "tanh"], "layer": list(_FIGURE_1_LAYERS)},
            attrs=_attributes(identity, sequence, f"Noise alone: d = 4, N = 64, L = 2000, T = 20, m = {WIDTH}"),
        )
        if path is not None:
            results.save(dataset, path)
        return dataset


def _cosine_quantiles(time: float, x: Tokens) -> Floats:
    """Quantiles of the pairwise cosines, all replicas together."""
    return np.quantile(measures.pairwise_cosines(x), QUANTILES)


def figure(
    number: int,
    *,
    rng: Seed,
    n_replicas: int = 1,
    dims: Sequence[int] = DIMS,
    depth: int = 150,
    width: int = WIDTH,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_run: Callable[[], object] | None = None,
) -> Any:
    """Run one of Figures 2 to 6: N = 64, T = 5, β = 1, i.i.d. uniform start; relu, silu, sigmoid, tanh, no MLP.

    Parameters
    ----------
    number : int
        2 … 6.
    rng : int, SeedSequence or Generator
    n_replicas : int
        Independent runs; the paper shows one.
    dims : sequence of int
    depth, width : int
        L = 150 in the paper; the width is not stated there.
    n_threads : int, optional
    store : path, optional
        NetCDF file that is written at the end; one that holds another study is refused at the start.
    on_run : callable, optional
        Called after each of the runs.

    Returns
    -------
    xarray.Dataset
        cosine (dim, bias_std, value_scale, time, quantile); energy (dim, bias_std, value_scale, time, replica);
        pair_equation and bound (dim, bias_std, time), NaN where they do not apply.
    """
    xarray = checks.extra("xarray", "io")
    if number not in FIGURES:
        raise ValueError(f"number must be one of 2 … 6, got {number}")
    n_replicas = checks.integer(n_replicas, "n_replicas", low=1)
    largest = max(dims)
    n_layer_numbers = n_replicas * width * (2 * largest + 1)
    check_memory(
        n_tokens=64 * n_replicas,
        dim=largest,
        n_layer_numbers=n_layer_numbers,
        n_results=n_replicas * (depth + 1) * len(dims) * len(BIASES) * len(VALUE_SCALES),
    )
    activation = FIGURES[number]
    biases = BIASES if activation is not None else (0.0,)
    horizon, n_tokens, beta = 5.0, 64, 1.0
    times = np.linspace(0, horizon, depth + 1)
    sequence = root(rng)
    parameters = {"figure": number, "n_replicas": n_replicas, "dims": list(dims), "depth": depth, "width": width}
    identity = results.identity(parameters, sequence)
    with results.held(store, identity) as (path, _):
        shape = (len(dims), len(biases))
        cosine = np.full((*shape, 3, depth + 1, len(QUANTILES)), np.nan)
        energy = np.full((*shape, 3, depth + 1, n_replicas), np.nan)
        exact, bound = np.full((*shape, depth + 1), np.nan), np.full((*shape, depth + 1), np.nan)
        observe: dict[str, Observable] = {"cosine": _cosine_quantiles, "energy": measures.Energy(beta=beta)}
        for i, dim in enumerate(dims):
            x = sample_uniform(n_tokens, dim, rng=sequence, n_replicas=n_replicas)
            for j, bias in enumerate(biases):
                mlp = None
                if activation is not None:
                    mlp = MLP(width=width, activation=activation, bias_std=bias, output_bias_std=bias)
                    kernel = mlp.kernel(dim)
                    exact[i, j] = pair_energy(kernel, times, beta=beta, n_tokens=n_tokens)
                for k, value_scale in enumerate(VALUE_SCALES):
                    attention = None if value_scale == 0 else SoftmaxAttention(beta=beta, value_scale=value_scale)
                    if attention is None and mlp is None:
                        cosine[i, j, k] = _cosine_quantiles(0.0, x)
                        energy[i, j, k] = measures.energy(x, beta)
                    else:
                        model = Transformer(attention=attention, mlp=mlp, depth=depth, horizon=horizon)
                        sol = simulate(model, x, rng=sequence, observe=observe, n_threads=n_threads)
                        cosine[i, j, k], energy[i, j, k] = sol.observables["cosine"], sol.observables["energy"]
                    if on_run is not None:
                        on_run()
                if mlp is not None and theorem(kernel, None)[0]:
                    bound[i, j] = energy[i, j, 1, 0].mean() * np.exp(kernel.dissipation_rate(beta) * times)
        case = ("dim", "bias_std", "value_scale")
        name = activation or "no MLP"
        title = f"{name}: N = 64, L = {depth}, T = 5, β = 1" + (f", m = {width}" if activation else "")
        dataset = xarray.Dataset(
            {
                "cosine": ((*case, "time", "quantile"), cosine),
                "energy": ((*case, "time", "replica"), energy),
                "pair_equation": (("dim", "bias_std", "time"), exact),
                "bound": (("dim", "bias_std", "time"), bound),
            },
            coords={
                "dim": list(dims),
                "bias_std": list(biases),
                "value_scale": list(VALUE_SCALES),
                "time": times,
                "quantile": list(QUANTILES),
            },
            attrs=_attributes(identity, sequence, title),
        )
        if path is not None:
            results.save(dataset, path)
        return dataset


def _attributes(identity: str, sequence: np.random.SeedSequence, title: str) -> dict[str, Any]:
    return {
        "title": title,
        "identity": identity,
        "entropy": str(sequence.entropy),
        "spawn_key": json.dumps(list(sequence.spawn_key)),
        "stream_version": STREAM_VERSION,
    }
