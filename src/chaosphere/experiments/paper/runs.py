"""The figures of arXiv:2604.26898: the runs."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chaosphere import measures
from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import STREAM_VERSION, Seed, root
from chaosphere.experiments.paper.exponents import BIASES, DIMS
from chaosphere.experiments.pieces import OnStep, checkpoint, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.experiments.synchronization import pair_energy, theorem
from chaosphere.geometry.sphere import sample_uniform
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.measures.observables import Observable
from chaosphere.models.transformer import Transformer
from chaosphere.noise.mlp import MLP
from chaosphere.reporting import netcdf
from chaosphere.simulation.loop import simulate
from chaosphere.simulation.solution import Solution
from chaosphere.theory import two_point

VALUE_SCALES = (1.0, 0.0, -1.0)
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
FIGURES = {2: "relu", 3: "silu", 4: "sigmoid", 5: "tanh", 6: None}
WIDTH = 2048  # the paper states it for figure 1 only
N_TOKENS = 64  # of every figure
BETA = 1.0  # of figures 2 to 6
_FIGURE_1_LAYERS = (0, 50, 200, 500, 1000, 2000)
# The figures show one run. Claims need many: of few tokens and narrow layers, which have the same law of pairs.
_N_SAMPLES, _N_SAMPLE_TOKENS, _SAMPLE_WIDTH = 32, 8, 8
_SAMPLES = {"replicas": _N_SAMPLES, "n_tokens": _N_SAMPLE_TOKENS, "width": _SAMPLE_WIDTH}
MOMENTS = ("mean cosine", "mean square of the cosine")  # of pairs, in figure 1
_AXES: dict[str, tuple[str, ...]] = {  # of the variables of figures 2 to 6
    "cosine": ("dim", "bias_std", "value_scale", "time", "quantile"),
    "energy": ("dim", "bias_std", "value_scale", "time", "replica"),
    "pair_equation": ("dim", "bias_std", "time"),
    "bound": ("dim", "bias_std", "time"),
    "sample_energy": ("dim", "bias_std", "time", "sample"),
    "layer_variance": ("dim", "bias_std"),
}
_OF_NOISE_ALONE = ("pair_equation", "bound", "sample_energy", "layer_variance")  # measured at δ = 0
_Piece = dict[str, Floats]  # one run of figures 2 to 6, by variable


def n_runs(number: int) -> int:
    """Return the number of runs of a figure, with the default arguments."""
    return 2 if number == 1 else len(_cases(number, DIMS))


def _cases(number: int, dims: Sequence[int]) -> list[tuple[int, float, float]]:
    """Return (d, σ, δ) of every run of a figure; without an MLP there is no bias."""
    biases = (0.0,) if FIGURES[number] is None else BIASES
    return list(itertools.product(dims, biases, VALUE_SCALES))


def figure_1(
    *,
    rng: Seed,
    width: int = WIDTH,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_run: OnStep = None,
) -> Any:
    """Run Figure 1: no attention, N = 64, d = 4, L = 2000, T = 20, relu and tanh without bias.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
    width : int
        m.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the runs; runs of the same figure in it are not repeated.
    on_run : callable, optional
        Called after each of the two runs.

    Returns
    -------
    xarray.Dataset
        x (activation, layer, token, coordinate). For the claims, over pairs at time T: the mean of ⟨x, y⟩ and of its
        square in independent runs, sample (activation, moment, sample), and expected, pair_equation (activation,
        moment).

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another figure.
    """
    sequence = root(rng)
    identity = netcdf.identity({"figure": 1, "width": width, "n_tokens": N_TOKENS, "samples": _SAMPLES}, sequence)
    activations = ("relu", "tanh")
    x = sample_uniform(N_TOKENS, 4, rng=sequence)
    axes = {
        "x": ("activation", "layer", "token", "coordinate"),
        "sample": ("activation", "moment", "sample"),
        "pair_equation": ("activation", "moment"),
    }

    def measure(index: int) -> _Piece:
        mlp = MLP(width=width, activation=activations[index])
        model = Transformer(attention=None, mlp=mlp, depth=2000, horizon=20.0)
        times = np.array(_FIGURE_1_LAYERS) * 20.0 / 2000
        states = simulate(model, x, rng=sequence, save_at=times, n_threads=n_threads).states
        sample = _sample(model, 4, rng=sequence, save_at=times[-1:], n_threads=n_threads).final
        cosines = np.stack([measures.pairwise_cosines(y) for y in sample])
        kernel = mlp.kernel(4)
        expected = [two_point.expectation(kernel, f, times[-1], u0="uniform") for f in (np.array, np.square)]
        moments = np.stack([cosines.mean(axis=1), np.square(cosines).mean(axis=1)])
        return {"x": states, "sample": moments, "pair_equation": np.array(expected)}

    def to_dataset(pieces: Sequence[_Piece]) -> Any:
        return checks.extra("xarray", "io").Dataset(
            {name: (dims, np.stack([piece[name] for piece in pieces])) for name, dims in axes.items()},
            coords={
                "activation": list(activations[: len(pieces)]),
                "layer": list(_FIGURE_1_LAYERS),
                "moment": list(MOMENTS),
            },
            attrs=_attributes(identity, sequence, f"Noise alone: d = 4, N = 64, L = 2000, T = 20, m = {width}"),
        )

    return grow(
        measure,
        n_pieces=n_runs(1),
        identity=identity,
        to_dataset=to_dataset,
        from_dataset=lambda dataset: [
            {name: dataset[name].values[k] for name in axes} for k in range(dataset.sizes["activation"])
        ],
        store=store,
        on_step=on_run,
    )


def _sample(model: Transformer, dim: int, *, rng: np.random.SeedSequence, **options: Any) -> Solution:
    """Run many replicas of few tokens through the same layers, but narrow ones: their covariance is the same."""
    assert isinstance(model.mlp, MLP)
    narrow = replace(model, mlp=replace(model.mlp, width=_SAMPLE_WIDTH))
    return simulate(narrow, _sample_tokens(dim, rng), rng=_of_sample(rng), **options)


def _sample_tokens(dim: int, rng: np.random.SeedSequence) -> Tokens:
    return sample_uniform(_N_SAMPLE_TOKENS, dim, rng=_of_sample(rng), n_replicas=_N_SAMPLES)


def _of_sample(rng: np.random.SeedSequence) -> np.random.SeedSequence:
    """Return the seed of the runs for the claims, which are independent of the one that is drawn."""
    return np.random.SeedSequence(rng.entropy, spawn_key=(*rng.spawn_key, 0))


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
    on_run: OnStep = None,
) -> Any:
    """Run one of Figures 2 to 6: N = 64, T = 5, β = 1, i.i.d. uniform start; relu, silu, sigmoid, tanh, no MLP.

    Parameters
    ----------
    number : int
        2 … 6.
    rng : int, SeedSequence or Generator
    n_replicas : int
        Independent runs, averaged in the energies (figures 2 to 6); the paper shows one.
    dims : sequence of int
        Dimensions d of the tokens.
    depth : int
        L.
    width : int
        m, which the paper does not state for these figures.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the runs; runs of the same figure in it are not repeated. A checkpoint beside
        it keeps the run that is under way.
    on_run : callable, optional
        Called after each of the runs.

    Returns
    -------
    xarray.Dataset
        cosine (dim, bias_std, value_scale, time, quantile); energy (dim, bias_std, value_scale, time, replica);
        pair_equation and bound (dim, bias_std, time), NaN where they do not apply. For the claims at δ = 0:
        sample_energy (dim, bias_std, time, sample), of independent runs, and layer_variance (dim, bias_std), how far a
        layer moves a token in the mean square.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another figure.
    """
    if number not in FIGURES:
        raise ValueError(f"number must be one of 2 … 6, got {number}")
    n_replicas = checks.integer(n_replicas, "n_replicas", low=1)
    dims = [checks.integer(dim, "dims", low=2) for dim in checks.distinct(dims, "dims")]
    largest = max(dims)
    n_layer_numbers = n_replicas * width * (2 * largest + 1)
    check_size(
        n_tokens=N_TOKENS * n_replicas,
        dim=largest,
        n_steps=depth,
        n_replicas=n_replicas,
        n_layer_numbers=n_layer_numbers,
        n_results=n_replicas * (depth + 1) * len(dims) * len(BIASES) * len(VALUE_SCALES),
    )
    activation, cases = FIGURES[number], _cases(number, dims)
    horizon = 5.0
    times = np.linspace(0, horizon, depth + 1)
    sequence = root(rng)
    parameters = {"figure": number, "n_replicas": n_replicas, "dims": list(dims), "depth": depth, "width": width}
    parameters |= {"n_tokens": N_TOKENS, "beta": BETA, "horizon": horizon, "value_scales": list(VALUE_SCALES)}
    identity = netcdf.identity(parameters | {"biases": list(BIASES), "samples": _SAMPLES}, sequence)
    energy = measures.Energy(beta=BETA)
    observe: dict[str, Observable] = {"cosine": _cosine_quantiles, "energy": energy}
    more_pairs = (1 - 1 / N_TOKENS) / (1 - 1 / _N_SAMPLE_TOKENS)  # of different tokens, among all

    def measure(index: int) -> _Piece:
        dim, bias, value_scale = cases[index]
        x = sample_uniform(N_TOKENS, dim, rng=sequence, n_replicas=n_replicas)
        attention = None if value_scale == 0 else SoftmaxAttention(beta=BETA, value_scale=value_scale)
        mlp = None
        if activation is not None:
            mlp = MLP(width=width, activation=activation, bias_std=bias, output_bias_std=bias)
        if attention is None and mlp is None:
            cosine = np.tile(_cosine_quantiles(0.0, x), (depth + 1, 1))
            start = energy(0.0, _sample_tokens(dim, sequence))
            return {
                "cosine": cosine,
                "energy": np.tile(energy(0.0, x), (depth + 1, 1)),
                "sample_energy": more_pairs * np.tile(start, (depth + 1, 1)),
                "layer_variance": np.array(0.0),
            }
        model = Transformer(attention=attention, mlp=mlp, depth=depth, horizon=horizon)
        file = checkpoint(store)
        sol = simulate(model, x, rng=sequence, observe=observe, n_threads=n_threads, checkpoint=file)
        piece = {"cosine": sol.observables["cosine"], "energy": sol.observables["energy"]}
        if mlp is not None and attention is None:
            kernel = mlp.kernel(dim)
            piece["pair_equation"] = pair_energy(kernel, times, beta=BETA, n_tokens=N_TOKENS)
            rate, _ = theorem(kernel, None, beta=BETA)
            if rate is not None:
                piece["bound"] = piece["energy"][0].mean() * np.exp(rate * times)
            sample = _sample(model, dim, rng=sequence, observe={"energy": energy}, n_threads=n_threads)
            piece["sample_energy"] = more_pairs * sample.observables["energy"]
            piece["layer_variance"] = np.array((dim - 1) * kernel(1.0) * horizon / depth)
        return piece

    def to_dataset(pieces: Sequence[_Piece]) -> Any:
        biases = list(dict.fromkeys(bias for _, bias, _ in cases))
        shape = (len(dims), len(biases), len(VALUE_SCALES))
        arrays = {
            "cosine": np.full((*shape, depth + 1, len(QUANTILES)), np.nan),
            "energy": np.full((*shape, depth + 1, n_replicas), np.nan),
            "pair_equation": np.full((*shape[:2], depth + 1), np.nan),
            "bound": np.full((*shape[:2], depth + 1), np.nan),
            "sample_energy": np.full((*shape[:2], depth + 1, _N_SAMPLES), np.nan),
            "layer_variance": np.full(shape[:2], np.nan),
        }
        for index, piece in enumerate(pieces):
            at = tuple(int(i) for i in np.unravel_index(index, shape))
            for name, values in piece.items():
                arrays[name][_place(name, at)] = values
        name = activation or "no MLP"
        title = f"{name}: N = 64, L = {depth}, T = 5, β = 1" + (f", m = {width}" if activation else "")
        return checks.extra("xarray", "io").Dataset(
            {name: (_AXES[name], values) for name, values in arrays.items()},
            coords={
                "dim": list(dims),
                "bias_std": biases,
                "value_scale": list(VALUE_SCALES),
                "time": times,
                "quantile": list(QUANTILES),
            },
            attrs=_attributes(identity, sequence, title),
        )

    return grow(
        measure,
        n_pieces=len(cases),
        identity=identity,
        to_dataset=to_dataset,
        from_dataset=_from_dataset,
        store=store,
        on_step=on_run,
    )


def _from_dataset(dataset: Any) -> list[_Piece]:
    """Return the runs of a figure that are done: those with an energy."""
    shape = dataset["energy"].shape[:3]
    pieces = []
    for index in range(int(np.prod(shape))):
        at = tuple(int(i) for i in np.unravel_index(index, shape))
        if np.isnan(dataset["energy"].values[at]).any():
            break
        names = ["cosine", "energy"]
        if VALUE_SCALES[at[2]] == 0:
            names += _OF_NOISE_ALONE
        pieces.append({name: dataset[name].values[_place(name, at)] for name in names})
    return pieces


def _place(name: str, at: tuple[int, ...]) -> tuple[int, ...]:
    """Return the place of a run (d, σ, δ) in a variable, which may have no axis for δ."""
    return at if "value_scale" in _AXES[name] else at[:2]


def _attributes(identity: str, sequence: np.random.SeedSequence, title: str) -> dict[str, Any]:
    return {
        "title": title,
        "identity": identity,
        "entropy": str(sequence.entropy),
        "spawn_key": json.dumps(list(sequence.spawn_key)),
        "stream_version": STREAM_VERSION,
    }
