"""The mean energy by multilevel Monte Carlo: the run, its claims and its table."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.streams import Seed, root
from chaosphere.ensembles.estimate import estimate
from chaosphere.ensembles.level_runs import COARSEST_TOKENS
from chaosphere.experiments import estimates, models
from chaosphere.experiments.pieces import OnStep
from chaosphere.experiments.sizes import check_size
from chaosphere.experiments.synchronization.runs import pair_energy
from chaosphere.geometry.laws import Uniform
from chaosphere.measures.pairwise import Energy
from chaosphere.models.sde import LimitSDE
from chaosphere.noise.gaussian import GaussianField
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim, format_claims

_QUANTILE = 2.5758  # of the normal law, at 99.5 %
_MAX_DIM = 1000  # the spectral field takes a quadrature of as many nodes


def run(
    *,
    rng: Seed,
    activation: str = "relu",
    bias_std: float = 0.3,
    beta: float = 1.0,
    value_scale: float = 1.0,
    dim: int = 3,
    horizon: float = 1.0,
    n_steps: int = 8,
    field_tolerance: float = 1e-3,
    tolerance: float = 0.01,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Estimate the mean energy of infinitely many tokens at the end of the limit equation.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
    activation : str
        φ: relu, tanh, erf or another by name (an unknown name lists them).
    bias_std : float
        σ_U, standard deviation of the inner biases.
    beta : float
        β of attention, QᵀK = βI, and of the energy; with β = 0 the energy has β = 1.
    value_scale : float
        V = δI: 1 attracts, 0 is off, -1 repels.
    dim : int
        Dimension d of the tokens, at most 1000.
    horizon : float
        T, time of the run.
    n_steps : int
        Number of steps of the coarsest level, or this number times a power of two.
    field_tolerance : float
        Fraction of the variance of the noise that its harmonics may leave out.
    tolerance : float
        Half the width of the 99 % interval.
    n_threads : int, optional
    store : path, optional
        NetCDF file of the result. A folder beside it keeps the samples until it is written.
    on_step : callable, optional
        Called at the end.

    Returns
    -------
    xarray.Dataset
        As `Estimate.to_xarray`, with `expected`, the exact expectation without attention and NaN with it.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Examples
    --------
    >>> data = run(rng=0, activation="erf", value_scale=0.0, horizon=0.5, n_steps=4, tolerance=0.1)
    >>> bool(data["low"] <= data["expected"] <= data["high"])
    True
    """
    tolerance = checks.number(tolerance, "tolerance", above=0)
    dim = checks.integer(dim, "dim", low=2, high=_MAX_DIM)
    n_steps = checks.integer(n_steps, "n_steps", low=1)
    beta, value_scale = checks.number(beta, "beta"), checks.number(value_scale, "value_scale")
    field_tolerance = checks.number(field_tolerance, "field_tolerance", above=0, high=1)
    check_size(n_tokens=COARSEST_TOKENS, dim=dim, n_steps=n_steps, n_replicas=1)
    kernel = models.mlp(bias_std=bias_std, activation=activation).kernel(dim)
    model = LimitSDE(
        attention=models.attention(beta=beta, value_scale=value_scale),
        field=GaussianField(kernel=kernel, method="spectral", tolerance=field_tolerance),
        horizon=horizon,
        n_steps=n_steps,
        scheme="heun",
    )
    energy, sequence = Energy(beta=beta or 1.0), root(rng)
    study = netcdf.identity({"model": model, "beta": energy.beta, "tolerance": tolerance}, sequence)
    with netcdf.locked(store, study) as (path, dataset):
        if dataset is None:
            folder = None if path is None else path.with_name(path.name + ".levels")
            result = estimate(
                model, Uniform(dim=dim), energy, tolerance=tolerance, rng=sequence, n_threads=n_threads, store=folder
            )
            is_free = model.attention is None
            times = np.array([model.horizon])
            (exact,) = pair_energy(kernel, times, beta=energy.beta, n_tokens=None) if is_free else [math.nan]
            title = f"Mean energy at t = {model.horizon:g}, N → ∞: {activation}, σ_U = {bias_std:g}, d = {dim}, "
            title += f"β = {energy.beta:g}, δ = {value_scale:g}"
            facts = {"identity": study, "title": title, "tolerance": tolerance, "horizon": model.horizon}
            dataset = result.to_xarray().assign(expected=exact).assign_attrs(facts)
            if path is not None:
                netcdf.save(dataset, path)
                _remove(folder)
    if on_step is not None:
        on_step()
    return dataset


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def plain_cost(dataset: Any) -> float:
    """Return about how many pair interactions plain Monte Carlo takes for an interval of the same width.

    Half of the tolerance is for the bias, a quarter each for that of the tokens and of the steps, as the finest levels
    of each tell them: the difference of N and N/2 tokens, to first order, is what N tokens are from the limit.
    """
    steps, tokens = dataset["n_steps"].values, dataset["n_tokens"].values
    tolerance, means = float(dataset.attrs["tolerance"]), np.abs(dataset["mean"].values)
    sizes = []
    for numbers, others in ((tokens, steps), (steps, tokens)):
        (ladder,) = np.nonzero(others == others.min())
        last = ladder[np.argmax(numbers[ladder])]
        sizes.append(max(float(numbers.min()), 4 * means[last] * float(numbers[last]) / tolerance))
    n_samples = float(dataset["value_variance"].values[0]) * (2 * _QUANTILE / tolerance) ** 2
    pairs_of_a_step = float(dataset["pairs"].values[0]) / (float(tokens[0]) ** 2 * float(steps[0]))
    return float(n_samples * pairs_of_a_step * sizes[0] ** 2 * sizes[1])


def claims(dataset: Any) -> list[Claim]:
    """Return the mean energy with its interval, beside the exact number where there is one."""
    expected = float(dataset["expected"])
    interval = tuple(float(dataset[name]) for name in ("value", "low", "high"))
    return [
        estimates.from_interval(
            f"E E_β at t = {float(dataset.attrs['horizon']):g}, N → ∞",
            (interval[0], interval[1], interval[2]),
            expected=expected if math.isfinite(expected) else None,
        )
    ]


def table(dataset: Any) -> str:
    """Return the levels and the claims as text."""
    names = ("n_tokens", "n_steps", "n_samples", "mean", "variance", "pairs")
    lines = [dataset.attrs["title"], "", "".join(f"{title:>11}" for title in ("N", "steps", "samples", *names[3:]))]
    for row in zip(*(dataset[name].values for name in names), strict=True):
        lines.append("".join(f"{value:11d}" for value in row[:3]) + "".join(f"{value:11.3g}" for value in row[3:]))
    cost = float(dataset["cost"])
    ratio = f"{float(f'{plain_cost(dataset) / cost:.1g}'):g}" if cost > 0 else None
    saving = [f"plain Monte Carlo would take about {ratio} times as many"] if ratio else []
    lines += [
        "",
        f"standard error {float(dataset['standard_error']):.2g}, bias at most {float(dataset['bias']):.2g}, "
        f"{float(dataset['cost']):.3g} pair interactions",
        *saving,
        "",
        format_claims(claims(dataset)),
    ]
    return "\n".join(lines)
