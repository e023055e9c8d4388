"""Synchronization by noise: the decay of the energy beside the theorem's bound and the linear theory."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from chaosphere import measures, stats
from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.streams import Seed, root
from chaosphere.experiments.pieces import OnStep, checkpoint, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.experiments.synchronization.late import no_sharp_rate, sharp_rate
from chaosphere.geometry.sphere import sample_uniform
from chaosphere.interactions.protocol import Interaction, growth_of
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.models.transformer import Transformer
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.mlp import MLP
from chaosphere.reporting import netcdf
from chaosphere.simulation.loop import simulate
from chaosphere.theory import two_point

_Piece = dict[str, Any]  # what is measured of one activation, by variable
_AXES: dict[str, tuple[str, ...]] = {  # of each variable, beside the activation
    "energy": ("replica", "time"),
    "pair_equation": ("time",),
    "bound": ("time",),
    "lyapunov_exponent": (),
    "lambda_bar": (),
    "dissipation_rate": (),
    "theorem_applies": (),
    "reason": (),
    "sharp_rate": (),
    "sharp_power": (),
    "sharp_kind": (),
    "pair_rate": (),
}


def run(
    activations: Sequence[str] = ("relu", "sigmoid", "tanh"),
    *,
    rng: Seed,
    dim: int = 5,
    n_tokens: int = 64,
    beta: float = 1.0,
    value_scale: float = 0.0,
    bias_std: float = 0.1,
    output_bias_std: float = 0.1,
    width: int = 256,
    depth: int = 1000,
    horizon: float = 50.0,
    n_replicas: int = 32,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_run: OnStep = None,
) -> Any:
    """Run transformers with several activations from uniform tokens and record E_β after every layer.

    Parameters
    ----------
    activations : sequence of str
        φ: relu, tanh, erf or another by name (an unknown name lists them).
    rng : int, SeedSequence or Generator
    dim : int
        Dimension d of the tokens.
    n_tokens : int
        Number of tokens.
    beta : float
        QᵀK = βI of attention, and β of the energy, in (0, 700].
    value_scale : float
        V = δI: 1 attracts, 0 is off, -1 repels.
    bias_std : float
        σ_U, standard deviation of the inner biases.
    output_bias_std : float
        σ_W, standard deviation of the outer biases.
    width : int
        m, hidden units of a layer.
    depth : int
        L, number of layers.
    horizon : float
        T, time that the layers span.
    n_replicas : int
        Independent draws of tokens and layers, at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the activations; those of the same study in it are not computed again.
        A checkpoint beside it keeps the activation that is under way.
    on_run : callable, optional
        Called after every activation.

    Returns
    -------
    xarray.Dataset
        energy (activation, replica, time); energy_mean with the ends of its interval (`stats.mean_interval`), NaN
        after the time band_end, when too few replicas carry the mean; pair_equation (activation, time), the
        exact expectation in the limit, where there is no attention; bound (activation, time), E_β(0) e^{(ε + λ̄′)t},
        NaN where the theorem does not apply; per activation λ1, λ̄, λ̄′ and whether the theorem applies, with
        the reason.
        energy_median with the ends of its interval. Without attention, where the noise synchronizes: sharp_rate of the
        mean energy, sharp_power and sharp_kind (`CovarianceKernel.energy_decay_rate`), and pair_rate, the late rate of
        the pair equation.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Examples
    --------
    >>> data = run(["relu"], rng=0, n_tokens=8, width=16, depth=20, horizon=1.0, n_replicas=2)
    >>> data["energy"].shape
    (1, 2, 21)
    """
    n_replicas = checks.integer(n_replicas, "n_replicas", low=2)
    beta = checks.number(beta, "beta", above=0, high=700)
    value_scale = checks.number(value_scale, "value_scale")
    attention = None if value_scale == 0 else SoftmaxAttention(beta=beta, value_scale=value_scale)
    activations = checks.distinct(activations, "activations")
    models = [
        Transformer(
            attention=attention,
            mlp=MLP(width=width, activation=name, bias_std=bias_std, output_bias_std=output_bias_std),
            depth=depth,
            horizon=horizon,
        )
        for name in activations
    ]
    n_tokens, dim = checks.integer(n_tokens, "n_tokens", low=1), checks.integer(dim, "dim", low=2)
    check_size(
        n_tokens=n_replicas * n_tokens,
        dim=dim,
        n_steps=depth,
        n_replicas=n_replicas,
        n_layer_numbers=n_replicas * width * (2 * dim + 1),
        n_results=len(models) * (n_replicas + 6) * depth,
    )
    sequence = root(rng)
    identity = netcdf.identity(
        {
            "activations": list(activations),
            "dim": dim,
            "n_tokens": n_tokens,
            "beta": beta,
            "value_scale": value_scale,
            "bias_std": bias_std,
            "output_bias_std": output_bias_std,
            "width": width,
            "depth": depth,
            "horizon": horizon,
            "n_replicas": n_replicas,
            "variables": list(_AXES),
        },
        sequence,
    )
    x = sample_uniform(n_tokens, dim, rng=sequence, n_replicas=n_replicas)
    times = np.linspace(0, horizon, depth + 1)

    def measure(index: int) -> _Piece:
        model = models[index]
        assert isinstance(model.mlp, MLP)
        kernel = model.mlp.kernel(dim)
        sol = simulate(
            model,
            x,
            rng=sequence,
            observe={"energy": measures.Energy(beta=beta)},
            n_threads=n_threads,
            checkpoint=checkpoint(store),
        )
        energy = sol.observables["energy"].T
        rate, reason = theorem(kernel, attention, beta=beta)
        is_free = attention is None
        return {
            "energy": energy,
            "pair_equation": pair_energy(kernel, times, beta=beta, n_tokens=n_tokens) if is_free else np.nan * times,
            "bound": np.nan * times if rate is None else energy[:, 0].mean() * np.exp(rate * times),
            "lyapunov_exponent": kernel.lyapunov_exponent(),
            "lambda_bar": kernel.lambda_bar(),
            "dissipation_rate": kernel.dissipation_rate(beta),
            "theorem_applies": rate is not None,
            "reason": reason,
            **(sharp_rate(kernel) if is_free else no_sharp_rate()),
        }

    return grow(
        measure,
        n_pieces=len(models),
        identity=identity,
        to_dataset=lambda pieces: _to_dataset(pieces, identity=identity),
        from_dataset=_from_dataset,
        store=store,
        on_step=on_run,
    )


def _to_dataset(pieces: Sequence[_Piece], *, identity: str) -> Any:
    """Label the activations that are done, and add the mean energy with its interval."""
    study = json.loads(identity)
    depth, beta = study["depth"], study["beta"]
    times = np.linspace(0, study["horizon"], depth + 1)
    energies = np.stack([piece["energy"] for piece in pieces], axis=1)
    mean, low, high = stats.mean_interval(energies, at_least=0)
    median = stats.median_interval(energies)
    # Once few replicas carry the mean, a later interval is luck.
    has_band = np.logical_and.accumulate(np.isfinite(low), axis=1)
    low = np.where(has_band, low, np.nan)
    high = np.where(has_band, np.minimum(high, math.sinh(beta)), np.nan)  # E_β <= (e^β − e^−β)/2
    by_time = ("activation", "time")
    variables = {
        "energy_mean": (by_time, mean),
        "energy_low": (by_time, low),
        "energy_high": (by_time, high),
        **{f"energy_median{end}": (by_time, value) for end, value in zip(("", "_low", "_high"), median, strict=True)},
        "band_end": ("activation", [times[row.sum() - 1] if row.any() else np.nan for row in has_band]),
    }
    for name, axes in _AXES.items():
        variables[name] = (("activation", *axes), np.array([piece[name] for piece in pieces]))
    return checks.extra("xarray", "io").Dataset(
        variables,
        coords={"activation": study["activations"][: len(pieces)], "time": times},
        attrs={
            "title": (
                f"Synchronization by noise, {study['n_replicas']} replicas\nd = {study['dim']}, "
                f"N = {study['n_tokens']}, β = {beta:g}, δ = {study['value_scale']:g}, σ_U = {study['bias_std']:g}, "
                f"σ_W = {study['output_bias_std']:g}, m = {study['width']}, L = {depth}"
            ),
            "value_scale": study["value_scale"],
            "entropy": study["entropy"],
            "spawn_key": study["spawn_key"],
            "stream_version": study["stream_version"],
            "parameters": json.dumps({name: study[name] for name in ("dim", "n_tokens", "beta", "width", "depth")}),
            "fewest_replicas": stats.FEWEST_REPLICAS,
            "identity": identity,
        },
    )


def _from_dataset(dataset: Any) -> list[_Piece]:
    rows = [dataset.isel(activation=k) for k in range(dataset.sizes["activation"])]
    return [{name: row[name].values[()] for name in _AXES} for row in rows]


def pair_energy(kernel: CovarianceKernel, times: Floats, *, beta: float, n_tokens: int | None) -> Floats:
    """Return E[E_β(μ_t)] in the limit without attention, for N i.i.d. uniform tokens: from the pair equation.

    Parameters
    ----------
    kernel : CovarianceKernel
    times : ndarray
    beta : float
    n_tokens : int or None
        None is the limit N → ∞.

    Returns
    -------
    ndarray, shape of times
    """

    def gap(u: Floats) -> Floats:
        return np.asarray(-np.exp(beta) * np.expm1(beta * (u - 1)))

    pairs = two_point.expectation(kernel, gap, times, u0="uniform")
    share = 1.0 if n_tokens is None else 1 - 1 / n_tokens
    return np.asarray(0.5 * share * pairs)


def theorem(kernel: CovarianceKernel, attention: Interaction | None, *, beta: float) -> tuple[float | None, str]:
    """Return the rate ε + λ̄′ < 0 with E[E_β(μ_t)] <= e^{(ε + λ̄′) t} E[E_β(μ_0)], None without one, and why.

    ε is the growth of the energy under attention alone, λ̄′ the rate of the bound for the noise alone
    (arXiv:2604.26898, the synchronization theorem).

    Parameters
    ----------
    kernel : CovarianceKernel
    attention : Interaction or None
    beta : float
        Of the energy. With attention the theorem needs that of the attention.

    Returns
    -------
    rate : float or None
    reason : str
    """
    if kernel.is_odd:
        return None, "the field is odd: antipodal tokens stay antipodal"
    if kernel.lambda_bar() >= 0:
        return None, f"λ̄ = {kernel.lambda_bar():.3g} is not negative"
    verdict = f"λ̄ = {kernel.lambda_bar():.3g} < 0 and the field is not odd"
    noise, growth = kernel.dissipation_rate(beta), 0.0
    if attention is not None:
        answer = growth_of(attention, beta, dim=kernel.dim)
        if answer is None or not answer.is_bound:
            return None, "no bound is known on how fast attention alone raises the energy"
        growth = answer.growth
    total = f"ε + λ̄′ = {growth:.3g} + ({noise:.3g})"
    if growth + noise >= 0:
        return None, f"{'attention repels: ' if growth > 0 else ''}{total} is not negative"
    return growth + noise, f"{verdict}; attention repels: {total} < 0" if growth > 0 else verdict
