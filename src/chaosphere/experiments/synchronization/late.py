"""Synchronization by noise: the mean energy at late times, and the typical one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.common.checks import Floats
from chaosphere.experiments import estimates
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.reporting.claims import Claim
from chaosphere.theory import two_point

# `tests/noise/test_decay_rate.py` finds 4 % at most between `pair_rate` and the sharp rate, for all activations.
_PAIR_ERROR = 0.05
CLUSTERED = 1e-3  # share of the first energy below which all tokens move as one cluster
_FLOOR = 1e-20  # energies below it drown in rounding
_MIN_RESOLVED = 8  # of the 11 times of a fit


def sharp_rate(kernel: CovarianceKernel) -> dict[str, Any]:
    """Return the sharp rate of the mean energy under the noise alone, and how the pair equation decays.

    Parameters
    ----------
    kernel : CovarianceKernel

    Returns
    -------
    dict
        sharp_rate, sharp_power and sharp_kind (see `CovarianceKernel.energy_decay_rate`), pair_rate; NaN and "none"
        where the noise does not synchronize.
    """
    if not kernel.synchronizes().synchronizes:
        return no_sharp_rate()
    decay = kernel.energy_decay_rate()
    return {
        "sharp_rate": decay.rate,
        "sharp_power": decay.power,
        "sharp_kind": decay.kind,
        "pair_rate": pair_rate(kernel, unit=1.0 / decay.rate, power=decay.power),
    }


def no_sharp_rate() -> dict[str, Any]:
    """Return what `sharp_rate` returns where there is none."""
    return {"sharp_rate": math.nan, "sharp_power": math.nan, "sharp_kind": "none", "pair_rate": math.nan}


def pair_rate(kernel: CovarianceKernel, *, unit: float, power: float) -> float:
    """Return the late exponential rate of E(1 − u_t) of the pair equation, from u_0 = 0.

    Parameters
    ----------
    kernel : CovarianceKernel
    unit : float
        Time in which it falls by about e; the fit is over 2 to 12 of them, or as far as the equation is resolved.
    power : float
        Of t, which is taken out. Corrections to it are a series in 1/t, of which three terms are fitted; those to a
        pure exponential are smaller exponentials, which the last four times no longer show.

    Returns
    -------
    float
        NaN where the equation is not resolved up to 9 of these times.
    """
    units = np.linspace(2.0, 12.0, 11)
    times = unit * units
    solution = two_point.solve(kernel, lambda u: 1.0 - u, times, u0=0.0)
    values = np.asarray(solution.values)
    n_resolved = int(np.count_nonzero(solution.error_estimate < 1e-2 * values))
    if n_resolved < _MIN_RESOLVED:
        return math.nan
    units, times, values = units[:n_resolved], times[:n_resolved], values[:n_resolved]
    n_terms, first = (3, 2) if power else (0, -4)
    columns = [np.ones_like(times), -times, *(1.0 / units**k for k in range(1, n_terms + 1))]
    logs = np.log(values) - power * np.log(times)
    return float(np.linalg.lstsq(np.stack(columns, axis=1)[first:], logs[first:], rcond=None)[0][1])


def asymptote(row: Any) -> Floats:
    """Return C t^power e^{−rate t} with the sharp rate, from half of the time on at which the pair equation sets C.

    That is the last time at which the mean energy is a millionth of the first one, or the end. NaN before, and where
    there is no sharp rate.
    """
    times, pair = row["time"].values, row["pair_equation"].values
    rate, power = float(row["sharp_rate"]), float(row["sharp_power"])
    if not math.isfinite(rate):
        return np.full(len(times), np.nan)
    at = int(np.flatnonzero(pair >= 1e-6 * pair[0])[-1])
    with np.errstate(divide="ignore"):
        line = pair[at] * (times / times[at]) ** power * np.exp(-rate * (times - times[at]))
    return np.where(times >= 0.5 * times[at], line, np.nan)


def late_claims(row: Any, *, name: str, value_scale: float) -> list[Claim]:
    """Return the claims of one activation on the pair equation, the sharp rate and the typical energy.

    The mean energy at a quarter of the time at which its band ends, beside the pair equation; the late rate of the pair
    equation, and the rate of the mean energy over the second half of its band, beside the sharp rate; the rate of the
    median energy of a cluster, beside 2(λ1 − δ). The run cannot tell the sharp rate while the pair equation itself is
    more than a quarter away from it.
    """
    times = row["time"].values
    rows = []
    pair, rate = row["pair_equation"].values, float(row["sharp_rate"])
    band = [row[f"energy_{part}"].values for part in ("mean", "low", "high")]
    n_banded = int(np.isfinite(band[1]).sum())
    if np.isfinite(pair).all() and n_banded > 4:
        at = (n_banded - 1) // 4
        interval = tuple(float(part[at]) for part in band)
        quantity = f"{name}: mean energy at time {times[at]:g}, pair equation"
        rows.append(
            estimates.from_interval(quantity, (interval[0], interval[1], interval[2]), expected=float(pair[at]))
        )
    if math.isfinite(rate):
        late, error = -float(row["pair_rate"]), _PAIR_ERROR * rate
        quantity = f"{name}: late rate of the pair equation, sharp rate"
        rows.append(estimates.from_interval(quantity, (late, late - error, late + error), expected=-rate))
        if n_banded > 4:
            rows.append(_run_claim(row, (n_banded // 2, n_banded - 1), name=name))
    return rows + _typical_claims(row, name=name, value_scale=value_scale)


def _run_claim(row: Any, window: tuple[int, int], *, name: str) -> Claim:
    """Return the claim on the rate of the mean energy between two times, its power of t taken out."""
    ends, rate, power = list(window), float(row["sharp_rate"]), float(row["sharp_power"])
    first, last = row["time"].values[ends]
    mean, low, high, pair = (
        np.log(row[key].values[ends]) for key in ("energy_mean", "energy_low", "energy_high", "pair_equation")
    )
    span, shift = last - first, power * math.log(last / first)
    measured, exact = (float((logs[1] - logs[0] - shift) / span) for logs in (mean, pair))
    below = math.hypot(mean[1] - low[1], high[0] - mean[0]) / span
    above = math.hypot(high[1] - mean[1], mean[0] - low[0]) / span
    if abs(exact + rate) > 0.25 * rate:
        below = above = math.nan  # too early
    return estimates.from_interval(
        f"{name}: rate of the mean energy from time {first:g} to {last:g}, sharp rate",
        (measured, measured - below, measured + above),
        expected=-rate,
    )


def _typical_claims(row: Any, *, name: str, value_scale: float) -> list[Claim]:
    """Return the claim on the median energy, from when nine of ten replicas are one cluster until rounding counts."""
    times, energy = row["time"].values, row["energy"].values
    is_clustered = energy < CLUSTERED * energy[:, :1]
    starts = np.flatnonzero(is_clustered.mean(axis=0) >= 0.9)
    ends = np.flatnonzero(np.median(energy, axis=0) > _FLOOR)
    if not (starts.size and ends.size and times[ends[-1]] - times[starts[0]] > 0.1 * times[-1]):
        return []
    first, last = int(starts[0]), int(ends[-1])
    # The growth from `first` on is independent of what it was before. A value below the floor leaves the median alone.
    tiny = np.finfo(np.float64).tiny
    growth = np.log(np.maximum(energy[:, last], tiny) / energy[:, first]) / (times[last] - times[first])
    quantity = f"{name}: rate of the median energy from time {times[first]:g} to {times[last]:g}, 2(λ1 − δ)"
    expected = 2.0 * (float(row["lyapunov_exponent"]) - value_scale)
    return [estimates.from_interval(quantity, stats.median_interval(growth), expected=expected)]
