"""The deep-and-wide limit: claims and table, from the dataset."""

from __future__ import annotations

from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.experiments import estimates
from chaosphere.reporting.claims import Claim, format_claims


def claims(dataset: Any) -> list[Claim]:
    """Return the exponents in L and in m of the mean square beside those of the theorem, log L / L + 1/m."""
    # The limit is solved with finitely many steps under the same noise: the gap has size 1/L − 1/L_fine.
    depths = 1 / (1 / dataset["depth"].values[:-1] - 1 / dataset["depth"].values[-1])
    widths = dataset["finite_width"].values.astype(np.float64)
    ladders = [("depth L, Gaussian layers (m = ∞)", depths, dataset["mean_square"].values[:, :-1, -1])]
    if len(widths):
        name = f"width m, depth {int(dataset['depth'].values[-1])} (L = ∞)"
        ladders.append((name, widths, dataset["width_mean_square"].values[:, -1, :]))
    rows = [
        estimates.from_slope(f"exponent of the mean square in {name}", (x, values), expected=-1.0, power=2)
        for name, x, values in ladders
    ]
    if len(widths):
        quantity = "error at largest (L, m) over the sum of its two limits' errors"
        rows.append(estimates.from_interval(quantity, _commutation(dataset), expected=1.0))
    return rows


def table(dataset: Any) -> str:
    """Return the grid of mean squares and the exponents as text."""
    mean = dataset["mean_square"].mean("replica").values
    widths = ["m = ∞" if np.isinf(w) else f"m = {int(w)}" for w in dataset["width"].values]
    lines = [dataset.attrs["title"], "", f"{'E sup_t (1/N) Σ |X − X̄|²':>28}" + "".join(f"{w:>12}" for w in widths)]
    for depth, row in zip(dataset["depth"].values, mean, strict=True):
        lines.append(f"{f'L = {depth}':>28}" + "".join(f"{value:12.3e}" for value in row))
    return "\n".join([*lines, "", format_claims(claims(dataset))])


def _commutation(dataset: Any) -> tuple[float, float, float]:
    """Error at the largest finite (L, m) over that of (L, ∞) plus that of (∞, m), with a jackknife interval.

    Were the limits not to commute, the error would not vanish as the sum of the two does; independent errors give 1.
    """
    values = dataset["mean_square"].values
    corner, in_depth, in_width = values[:, -2, -2], values[:, -2, -1], values[:, -1, -2]
    return stats.ratio_interval(corner, in_depth + in_width)
