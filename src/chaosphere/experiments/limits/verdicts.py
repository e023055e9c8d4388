"""The three limits: claims and table, from the dataset."""

from __future__ import annotations

from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.experiments import estimates
from chaosphere.reporting.claims import Claim, format_claims


def claims(dataset: Any) -> list[Claim]:
    """Return the exponent of D along each axis and along the diagonal, and whether the limits commute.

    L, m → ∞ first leaves D(N, ∞, ∞); N → ∞ first leaves D(∞, L, m). Either vanishes at its rate, and D(N, L, m) is at
    most their sum, so that no order is special: the errors of N and of the layers are independent to leading order,
    their squares add at each time, and the supremum of a sum is at most that of the suprema.
    """
    values = dataset["mean_square"].values
    n = dataset["n_tokens"].values[:-1]
    # The limit is solved with finitely many steps under the same noise: the gap has size 1/L − 1/L_fine.
    depths = 1 / (1 / dataset["depth"].values[:-1] - 1 / dataset["depth"].values[-1])
    widths = dataset["width"].values[:-1]
    steps = min(len(n), len(depths), len(widths))
    diagonal = np.stack([values[:, -2 - k, -2 - k, -2 - k] for k in reversed(range(steps))], axis=1)
    rows = [
        estimates.from_slope(name, (x, along), expected=-1.0, power=2)
        for name, x, along in (
            ("L, m → ∞ first: exponent of D(N, ∞, ∞) in N", n, values[:, :-1, -1, -1]),
            ("N → ∞ first: exponent of D(∞, L, ∞) in L", depths, values[:, -1, :-1, -1]),
            ("N → ∞ first: exponent of D(∞, ∞, m) in m", widths, values[:, -1, -1, :-1]),
            ("all at once: exponent of D(N, L, m) in N, L, m together", n[-steps:], diagonal),
        )
    ]
    corner, tokens_only, layers_only = values[:, -2, -2, -2], values[:, -2, -1, -1], values[:, -1, -2, -2]
    ratio = stats.ratio_interval(corner, tokens_only + layers_only)
    quantity = "D(N, L, m) over D(N, ∞, ∞) + D(∞, L, m), at the largest"
    return [*rows, estimates.from_interval(quantity, ratio, expected=1.0, is_bound=True)]


def table(dataset: Any) -> str:
    """Return D over the grid, and the claims, as text."""
    mean = dataset["mean_square"].mean("replica")
    labels = {name: _labels(dataset, name) for name in ("n_tokens", "depth", "width")}
    lines = [dataset.attrs["title"]]
    for i, n in enumerate(labels["n_tokens"]):
        lines += ["", f"{f'D, N = {n}':>12}" + "".join(f"{f'm = {m}':>12}" for m in labels["width"])]
        for j, depth in enumerate(labels["depth"]):
            cells = "".join(f"{float(value):12.3e}" for value in mean.values[i, j])
            lines.append(f"{f'L = {depth}':>12}" + cells)
    return "\n".join([*lines, "", format_claims(claims(dataset))])


def _labels(dataset: Any, name: str) -> list[str]:
    return [f"{int(value)}" for value in dataset[name].values[:-1]] + ["∞"]
