"""Synchronization by noise: the decay of the energy beside the theorem's bound and the linear theory."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chaosphere import measures
from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.streams import STREAM_VERSION, Seed, root
from chaosphere.experiments.sizes import check_memory
from chaosphere.geometry.sphere import sample_uniform
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.models.transformer import Transformer
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.mlp import MLP
from chaosphere.reporting import results
from chaosphere.reporting.results import Claim
from chaosphere.simulation.loop import simulate
from chaosphere.theory import two_point

_CLUSTERED = 1e-3  # share of the first energy below which all tokens move as one cluster


def run(
    activations: Sequence[str],
    *,
    rng: Seed,
    dim: int = 5,
    n_tokens: int = 64,
    beta: float = 1.0,
    value_scale: float = 0.0,
    bias_std: float = 0.1,
    output_bias_std: float = 0.1,
    width: int = 256,
    depth: int = 600,
    horizon: float = 20.0,
    n_replicas: int = 32,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_run: Callable[[], object] | None = None,
) -> Any:
    """Run transformers with several activations from uniform tokens and record E_β after every layer.

    Parameters
    ----------
    activations : sequence of str
    rng : int, SeedSequence or Generator
    dim, n_tokens : int
    beta : float
        Of attention and of the energy, in (0, 700].
    value_scale : float
        δ; 0 leaves attention out.
    bias_std, output_bias_std : float
        σ_U, σ_W.
    width, depth : int
    horizon : float
    n_replicas : int
        At least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that is written at the end; one that holds another study is refused at the start.
    on_run : callable, optional
        Called after every activation.

    Returns
    -------
    xarray.Dataset
        energy (activation, replica, time); energy_mean with the ends of its interval (`results.mean_interval`), NaN
        after the time band_end, when too few replicas carry the mean; pair_equation (activation, time), the
        exact expectation in the limit, where there is no attention; bound (activation, time), E_β(0) e^{λ̄′t}; per
        activation λ1, λ̄, λ̄′ and whether the theorem applies, with the reason.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Examples
    --------
    >>> data = run(["relu"], rng=0, n_tokens=8, width=16, depth=20, horizon=1.0, n_replicas=2)
    >>> data["energy"].shape
    (1, 2, 21)
    """
    xarray = checks.extra("xarray", "io")
    n_replicas = checks.integer(n_replicas, "n_replicas", low=2)
    beta = checks.number(beta, "beta", above=0, high=700)
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
    check_memory(
        n_tokens=n_replicas * n_tokens,
        dim=dim,
        n_layer_numbers=n_replicas * width * (2 * dim + 1),
        n_results=len(models) * (n_replicas + 6) * depth,
    )
    sequence = root(rng)
    identity = results.identity(
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
        },
        sequence,
    )
    with results.held(store, identity) as (path, _):
        x = sample_uniform(n_tokens, dim, rng=sequence, n_replicas=n_replicas)
        energies, exact, bounds, rates = [], [], [], []
        times = np.linspace(0, horizon, depth + 1)
        for model in models:
            assert model.mlp is not None
            kernel = model.mlp.kernel(dim)
            sol = simulate(model, x, rng=sequence, observe={"energy": measures.Energy(beta=beta)}, n_threads=n_threads)
            energies.append(sol.observables["energy"].T)
            exact.append(
                pair_energy(kernel, times, beta=beta, n_tokens=n_tokens) if attention is None else np.nan * times
            )
            applies, reason = theorem(kernel, attention)
            rate = kernel.dissipation_rate(beta)
            bounds.append(energies[-1][:, 0].mean() * np.exp(rate * times) if applies else np.nan * times)
            rates.append((kernel.lyapunov_exponent(), kernel.lambda_bar(), rate, applies, reason))
            if on_run is not None:
                on_run()
        mean, low, high = results.mean_interval(np.stack(energies, axis=1), at_least=0)
        # Once few replicas carry the mean, a later interval is luck.
        has_band = np.logical_and.accumulate(np.isfinite(low), axis=1)
        low = np.where(has_band, low, np.nan)
        high = np.where(has_band, np.minimum(high, math.sinh(beta)), np.nan)  # E_β <= (e^β − e^−β)/2
        by_time = ("activation", "time")
        attributes = {
            "title": (
                f"Synchronization by noise, {n_replicas} replicas\nd = {dim}, N = {n_tokens}, β = {beta:g}, "
                f"δ = {value_scale:g}, σ_U = {bias_std:g}, σ_W = {output_bias_std:g}, m = {width}, L = {depth}"
            ),
            "value_scale": value_scale,
            "entropy": str(sequence.entropy),
            "spawn_key": str(sequence.spawn_key),
            "stream_version": STREAM_VERSION,
            "parameters": json.dumps({"dim": dim, "n_tokens": n_tokens, "beta": beta, "width": width, "depth": depth}),
            "fewest_replicas": results.FEWEST_REPLICAS,
            "identity": identity,
        }
        dataset = xarray.Dataset(
            {
                "energy": (("activation", "replica", "time"), np.stack(energies)),
                "energy_mean": (by_time, mean),
                "energy_low": (by_time, low),
                "energy_high": (by_time, high),
                "band_end": ("activation", [times[row.sum() - 1] if row.any() else np.nan for row in has_band]),
                "pair_equation": (by_time, np.stack(exact)),
                "bound": (by_time, np.stack(bounds)),
                "lyapunov_exponent": ("activation", [r[0] for r in rates]),
                "lambda_bar": ("activation", [r[1] for r in rates]),
                "dissipation_rate": ("activation", [r[2] for r in rates]),
                "theorem_applies": ("activation", [r[3] for r in rates]),
                "reason": ("activation", [r[4] for r in rates]),
            },
            coords={"activation": list(activations), "time": times},
            attrs=attributes,
        )
        if path is not None:
            results.save(dataset, path)
        return dataset


def pair_energy(kernel: CovarianceKernel, times: Floats, *, beta: float, n_tokens: int) -> Floats:
    """Return E[E_β(μ_t)] in the limit without attention, for N i.i.d. uniform tokens: from the pair equation.

    Parameters
    ----------
    kernel : CovarianceKernel
    times : ndarray
    beta : float
    n_tokens : int

    Returns
    -------
    ndarray, shape of times
    """

    def gap(u: Floats) -> Floats:
        return np.asarray(-np.exp(beta) * np.expm1(beta * (u - 1)))

    pairs = two_point.expectation(kernel, gap, times, u0="uniform")
    return np.asarray(0.5 * (1 - 1 / n_tokens) * pairs)


def theorem(kernel: CovarianceKernel, attention: SoftmaxAttention | None) -> tuple[bool, str]:
    """Return whether the synchronization theorem gives E[E_β(μ_t)] <= e^{λ̄′t} E[E_β(μ_0)], and why."""
    if kernel.is_odd:
        return False, "the field is odd: antipodal tokens stay antipodal"
    if attention is not None and attention.value_scale is not None and attention.value_scale < 0:
        return False, "attention repels: alone it raises the energy"
    if kernel.lambda_bar() >= 0:
        return False, f"λ̄ = {kernel.lambda_bar():.3g} is not negative"
    return True, f"λ̄ = {kernel.lambda_bar():.3g} < 0 and the field is not odd"


def claims(dataset: Any) -> list[Claim]:
    """Return measured exponents beside the linear theory and the bound.

    Per activation: if nearly all replicas end in one cluster, the exponent of distances within it, beside λ1 − δ; and
    the rate (1/T) log(E[E_β(T)] / E[E_β(0)]), beside λ̄′ as an upper bound where the theorem applies.
    """
    found = []
    times, delta = dataset["time"].values, float(dataset.attrs["value_scale"])
    for name in dataset["activation"].values:
        row = dataset.sel(activation=name)
        energy = row["energy"].values
        # Below this the squares of distances drown in rounding.
        floor = 1e-22
        linear = (energy < _CLUSTERED * energy[:, :1]) & (energy > floor)
        slopes = np.array(
            [
                np.polyfit(times[keep], np.log(path[keep]), 1)[0] / 2
                for path, keep in zip(energy, linear, strict=True)
                if keep.sum() > len(times) / 10
            ]
        )
        if len(slopes) >= 0.9 * len(energy):
            mean, low, high = (float(v) for v in results.mean_interval(slopes))
            expected = float(row["lyapunov_exponent"]) - delta
            found.append(
                Claim(quantity=f"{name}: cluster exponent λ1 − δ", measured=mean, low=low, high=high, expected=expected)
            )
        has_band = np.isfinite(row["energy_low"].values)
        if bool(row["theorem_applies"]) and has_band[0]:
            at = int(np.flatnonzero(has_band & (times <= 2 * (1 + 1e-12)))[-1])
            if at > 0:
                found.append(_rate_claim(row, at, name=str(name)))
    return found


def _rate_claim(row: Any, at: int, *, name: str) -> Claim:
    """Return the claim on the rate of the mean energy from time 0 to one with a band."""
    time = float(row["time"][at])
    mean, low, high = (np.log(row[f"energy_{part}"].values[[0, at]]) for part in ("mean", "low", "high"))
    # The start and the end err independently, to first order: the squares of the logarithmic widths add.
    below, above = math.hypot(mean[1] - low[1], high[0] - mean[0]), math.hypot(high[1] - mean[1], mean[0] - low[0])
    change = mean[1] - mean[0]
    return Claim(
        quantity=f"{name}: rate of the mean energy up to time {time:g}, at most λ̄′",
        measured=change / time,
        low=(change - below) / time,
        high=(change + above) / time,
        expected=float(row["dissipation_rate"]),
        is_bound=True,
    )


def table(dataset: Any) -> str:
    """Return rates, verdicts of the theorem and claims as text."""
    lines = [dataset.attrs["title"], "", f"{'φ':>10}{'λ1':>10}{'λ̄':>11}{'λ̄′':>12}  theorem"]
    for name in dataset["activation"].values:
        row = dataset.sel(activation=name)
        applies = "applies" if bool(row["theorem_applies"]) else "does not apply"
        numbers = "".join(f"{float(row[key]):10.3f}" for key in ("lyapunov_exponent", "lambda_bar", "dissipation_rate"))
        lines.append(f"{name:>10}{numbers}  {applies}: {row['reason'].values!s}")
    ends = ", ".join(
        f"{name} {float(end):g}" if end >= 0 else f"{name} none"
        for name, end in zip(dataset["activation"].values, dataset["band_end"].values, strict=True)
    )
    few = f"{dataset.attrs['fewest_replicas']:g} of {dataset.sizes['replica']}"
    lines += [
        "",
        f"The 99 % band of the mean energy ends where fewer than {few} replicas carry the mean (R exp(−s²), s² the "
        f"variance of log E): at time {ends}",
    ]
    return "\n".join([*lines, "", results.format_claims(claims(dataset))])
