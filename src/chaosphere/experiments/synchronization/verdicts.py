"""Synchronization by noise: claims and table, from the dataset."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.common.checks import Floats
from chaosphere.experiments import estimates
from chaosphere.experiments.synchronization.late import CLUSTERED, late_claims
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.reporting.digits import significant

# of the table; the sharp rate as an exponent, like the others
_COLUMNS = {"lyapunov_exponent": 1, "lambda_bar": 1, "dissipation_rate": 1, "sharp_rate": -1}


def claims(dataset: Any) -> list[Claim]:
    """Return measured exponents beside the linear theory and the bound.

    Per activation: if nearly all replicas end in one cluster, the exponent of distances within it, beside λ1 − δ; and
    the rate (1/T) log(E[E_β(T)] / E[E_β(0)]), beside that of the theorem's bound where the theorem applies: λ̄′, or
    ε + λ̄′ under repulsion, which alone may raise the energy at the rate ε.
    Then those of `late_claims`.
    """
    rows = []
    times, delta = dataset["time"].values, float(dataset.attrs["value_scale"])
    for name in dataset["activation"].values:
        row = dataset.sel(activation=name)
        energy = row["energy"].values
        # Below this the squares of distances drown in rounding.
        floor = 1e-22
        linear = (energy < CLUSTERED * energy[:, :1]) & (energy > floor)
        slopes = np.array(
            [
                np.polyfit(times[keep], np.log(path[keep]), 1)[0] / 2
                for path, keep in zip(energy, linear, strict=True)
                if keep.sum() > len(times) / 10
            ]
        )
        if len(slopes) >= 0.9 * len(energy):
            mean, low, high = (float(v) for v in stats.mean_interval(slopes))
            expected = float(row["lyapunov_exponent"]) - delta
            quantity = f"{name}: cluster exponent λ1 − δ"
            rows.append(estimates.from_interval(quantity, (mean, low, high), expected=expected))
        has_band = np.isfinite(row["energy_low"].values)
        if bool(row["theorem_applies"]) and has_band[0]:
            at = int(np.flatnonzero(has_band & (times <= 2 * (1 + 1e-12)))[-1])
            if at > 0:
                rows.append(_rate_claim(row, at, name=str(name)))
        rows += late_claims(row, name=str(name), value_scale=delta)
    return rows


def _rate_claim(row: Any, at: int, *, name: str) -> Claim:
    """Return the claim on the rate of the mean energy from time 0 to one with a band."""
    mean, low, high = (row[f"energy_{part}"].values for part in ("mean", "low", "high"))
    times, bound = row["time"].values, row["bound"].values
    # The last value may be below the smallest float.
    expected = float(np.log(bound[at] / bound[0]) / times[at])
    return rate_claim((mean, low, high), at=at, times=times, name=name, expected=expected)


def rate_claim(band: tuple[Floats, Floats, Floats], *, at: int, times: Floats, name: str, expected: float) -> Claim:
    """Return the claim that the mean energy changes at most at the theorem's rate from the first time to another.

    Parameters
    ----------
    band : tuple of ndarray
        The mean energy over time with the ends of its interval, which is there at both times.
    at : int
        Place of the other time.
    times : ndarray
    name : str
        Of the case.
    expected : float
        λ̄′, or ε + λ̄′ where attention alone may raise the energy at the rate ε.
    """
    time = float(times[at] - times[0])
    mean, low, high = (np.log(part[[0, at]]) for part in band)
    # The start and the end err independently, to first order: the squares of the logarithmic widths add.
    below, above = math.hypot(mean[1] - low[1], high[0] - mean[0]), math.hypot(high[1] - mean[1], mean[0] - low[0])
    change = mean[1] - mean[0]
    return estimates.from_interval(
        f"{name}: rate of the mean energy up to time {times[at]:g}, at most that of the bound",
        (change / time, (change - below) / time, (change + above) / time),
        expected=expected,
        is_bound=True,
    )


def table(dataset: Any) -> str:
    """Return rates, verdicts of the theorem and claims as text."""
    lines = [dataset.attrs["title"], "", f"{'φ':>10}{'λ1':>10}{'λ̄':>11}{'λ̄′':>12}{'sharp':>10}  theorem"]
    for name in dataset["activation"].values:
        row = dataset.sel(activation=name)
        applies = "applies" if bool(row["theorem_applies"]) else "does not apply"
        exponents = [sign * float(row[key]) for key, sign in _COLUMNS.items()]
        numbers = "".join(
            f"{significant(value, n_digits=3) if math.isfinite(value) else 'none':>10}" for value in exponents
        )
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
    return "\n".join([*lines, "", format_claims(claims(dataset))])
