"""The mean-field limit on the circle: claims and table, from the dataset."""

from __future__ import annotations

from typing import Any

import numpy as np

from chaosphere.common.checks import Floats
from chaosphere.experiments import estimates
from chaosphere.reporting.claims import Claim, format_claims

_ROUNDING = 1e-11  # root-mean-square errors below are left out of fits
_SPECTRAL = -4.0  # an exponent in the nodes below this shows more than algebraic convergence of low order


def claims(dataset: Any) -> list[Claim]:
    """Return orders in the step, the mass error, exponents in the nodes, and pairs at the last time."""
    steps, refinement = dataset["n_steps"].values, int(dataset.attrs["refinement"])
    step = 1 / steps
    # Of nested steps under one noise: the mean square of the difference goes with the difference of the steps.
    effective = step - step[-1] / refinement
    quantity = "order in the step: density − nodes"
    gap, error = (step, dataset["gap"].values), (effective, dataset["density_error"].values)
    rows = [
        estimates.from_slope(f"{quantity}, one noise and step", gap, expected=1.0),
        estimates.from_slope(f"{quantity} at the finest step", error, expected=0.5),
        estimates.exact("largest |mass − 1| of the density", float(dataset["mass_error"]), expected=0.0),
    ]
    nodes = dataset["n_nodes"].values.astype(np.float64)
    for name in dataset["activation"].values:
        row = dataset.sel(activation=name)
        error = row["node_error"].values
        good = np.flatnonzero(np.sqrt(error.mean(axis=0)) > _ROUNDING)
        if bool(row["is_kinked"]):
            # Fewer nodes do not resolve the bumps of the initial law.
            label = f"{name}: exponent of the error from {nodes[-4:][0]:g} nodes on"
            rows.append(estimates.from_slope(label, (nodes[-4:], error[:, -4:]), expected=-2.0))
        elif len(good) >= 2:
            last = good[-2:]
            label = f"{name}: exponent of the error from {nodes[last[0]]:g} to {nodes[last[1]]:g} nodes, at most"
            ladder = (nodes[last], error[:, last])
            rows.append(estimates.from_slope(label, ladder, expected=_SPECTRAL, is_bound=True))
    for name in dataset["function"].values:
        row = dataset.sel(function=name).isel(pair_time=-1)
        rows.append(
            estimates.from_interval(
                f"pairs over the noise: {name}",
                (row["pair_mean"], row["pair_low"], row["pair_high"]),
                expected=float(row["pair_expected"]),
                # An interval must tell the change since the start from none.
                relevant=abs(float(row["pair_expected"] - dataset["pair_expected"].sel(function=name)[0])),
            )
        )
    return rows


def table(dataset: Any) -> str:
    """Return errors and claims as text."""
    lines = [dataset.attrs["title"], "", f"{'steps':>8}{'same step':>14}{'finest step':>14}   density − nodes"]
    steps = zip(dataset["n_steps"].values, _rms(dataset["gap"]), _rms(dataset["density_error"]), strict=True)
    lines += [f"{count:8d}{gap:14.2e}{error:14.2e}" for count, gap, error in steps]
    names = dataset["activation"].values
    lines += ["", f"{'nodes':>8}" + "".join(f"{name:>14}" for name in names) + "   error"]
    errors = [_rms(dataset["node_error"].sel(activation=name)) for name in names]
    for count, *row in zip(dataset["n_nodes"].values, *errors, strict=True):
        lines.append(f"{count:8d}" + "".join(f"{error:14.2e}" for error in row))
    return "\n".join([*lines, "", format_claims(claims(dataset))])


def _rms(mean_squares: Any) -> Floats:
    return np.asarray(np.sqrt(mean_squares.mean("replica").values))
