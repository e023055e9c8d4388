"""Propagation of chaos: claims and table, from the dataset."""

from __future__ import annotations

import math
import resource
from collections.abc import Sequence
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.common.reprs import duration
from chaosphere.experiments import estimates
from chaosphere.experiments.cases import QUANTITIES
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.reporting.digits import with_interval

ERRORS = {
    "energy": "energy, RMS",
    "mean direction": "mean direction, RMS",
    "coupled particles": "E max_t |X − X̄|²",
    "transport": "E sup_t W2²",
}


def claims(dataset: Any) -> list[Claim]:
    """Return the fitted exponents beside the expected ones, from the dataset of `run`.

    Where tokens do not interact they are their own copies: then the claim is that the coupled error is zero.
    """
    rows = []
    for name in dataset["case"].values:
        case = dataset.sel(case=name)
        for quantity in QUANTITIES:
            row = case.sel(quantity=quantity)
            if not np.isfinite(row["error"]).any():
                continue
            expected = float(row["expected"])
            if not np.isfinite(row["exponent"]):
                # One N gives no exponent, and so no claim.
                if float(row["error"].max()) == 0:
                    rows.append(estimates.exact(f"{name}: {ERRORS[quantity]}", 0.0, expected=0.0))
                continue
            label = f"{name}: exponent of {ERRORS[quantity]}{' / log N' if row['has_log'] else ''}"
            interval = (row["exponent"], row["exponent_low"], row["exponent_high"])
            rows.append(estimates.from_interval(label, interval, expected=None if math.isnan(expected) else expected))
            if quantity == "transport" and np.isfinite(case["over_theorem"]) and np.isfinite(case["expected"]).any():
                label = f"{name}: exponent of E sup_t W2² / r_d(N), at most"
                interval = (case["over_theorem"], case["over_theorem_low"], case["over_theorem_high"])
                rows.append(estimates.from_interval(label, interval, expected=0.0, is_bound=True))
        if dataset.attrs["check"].startswith("steps"):
            rows += _step_claims(name, case)
    return rows


def _step_claims(name: str, case: Any) -> list[Claim]:
    """Return that the error of the steps is small beside that of the largest systems: it adds 4 % to their squares."""
    rows = []
    for quantity in QUANTITIES[:2]:
        row = case.sel(quantity=quantity)
        steps, tokens = row["node_mean_square"].values, row["mean_square"].dropna("n_tokens", how="all").values[:, -1]
        if np.isfinite(steps).all():
            ratio = [math.sqrt(value) for value in stats.ratio_interval(steps, tokens)]
            label = f"{name}: error of the steps over {ERRORS[quantity]}, at most"
            rows.append(estimates.from_interval(label, (ratio[0], ratio[1], ratio[2]), expected=0.2, is_bound=True))
    return rows


def depth_claims(dataset: Any) -> list[Claim]:
    """Return the claims of `depths`: those of every depth, and that the error settles as the depth grows."""
    rows = claims(dataset)
    for quantity in QUANTITIES[2:]:
        # Weighted by N^{power of the rate}, every N counts alike.
        values = dataset["mean_square"].sel(quantity=quantity) * dataset["n_tokens"]
        if not values.any():
            continue  # without attention tokens and their copies are one
        deepest, before = (values.isel(case=k).mean("n_tokens").values for k in (-1, -2))
        names = dataset["case"].values
        label = f"{ERRORS[quantity]}, {names[-1]} over {names[-2]}"
        rows.append(estimates.from_interval(label, stats.ratio_interval(deepest, before), expected=1.0))
    return rows


def table(dataset: Any, claims: Sequence[Claim]) -> str:
    """Return errors per N, exponents and the cost as text, from the dataset of `run` and its claims."""
    lines = [dataset.attrs["title"]]
    first = max(12, *(len(str(name)) for name in dataset["case"].values))  # the width of the first column
    for name in dataset["case"].values:
        case = dataset.sel(case=name)
        lines += ["", f"{name!s:>{first}}" + "".join(f"{ERRORS[q]:>30}" for q in QUANTITIES)]
        for n in dataset["n_tokens"].values[np.isfinite(case["n_effective"].values)]:
            cells = []
            for quantity in QUANTITIES:
                cell = case.sel(quantity=quantity, n_tokens=n)
                error, error_low, error_high = (float(cell[f"error{end}"]) for end in ("", "_low", "_high"))
                value, low, high = with_interval(error, low=error_low, high=error_high)
                cells.append("" if math.isnan(error) else f"{value} [{low}, {high}]")
            lines.append(f"{f'N = {n}':>{first}}" + "".join(f"{cell:>30}" for cell in cells))
        own = [float(case["node_error"].sel(quantity=q)) for q in QUANTITIES]
        if any(math.isfinite(e) for e in own):
            word = dataset.attrs["check"].partition(":")[0]
            lines.append(f"{word:>{first}}" + "".join("" if math.isnan(e) else f"{e:30.1e}" for e in own))
    if dataset.attrs["check"]:
        lines += ["", dataset.attrs["check"]]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds = float(dataset["seconds"].sum())
    lines += [
        "",
        format_claims(claims),
        "",
        f"cost: {float(dataset['pairs'].sum()):.2g} pair interactions (by fast sums where they win), "
        f"{duration(seconds)}; at most {memory:.2f} GiB",
    ]
    return "\n".join(lines)
