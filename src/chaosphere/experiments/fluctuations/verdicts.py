"""Fluctuations of N tokens about their limit: claims and table, from the dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

from chaosphere import stats
from chaosphere.common.checks import Floats
from chaosphere.experiments import estimates
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.reporting.digits import with_interval

_RELEVANT = 0.2  # of the ratio; leaving out what tokens do to one another changes it by more


def claims(dataset: Any) -> list[Claim]:
    """Return the variance over its prediction at the largest N, and the distance of its law from the Gaussian law."""
    rows = []
    n_tokens = int(dataset["n_tokens"][-1])
    for name in dataset["case"].values:
        case = dataset.sel(case=name).isel(n_tokens=-1)
        interval = stats.mean_interval(case["ratio"].values, at_least=0)
        label = f"{name}: N Var of the mean vector over its prediction, N = {n_tokens}"
        rows.append(estimates.from_interval(label, interval, expected=1.0, relevant=_RELEVANT))
        values = at_largest(dataset, name)
        scaled = np.sqrt(len(values)) * float(scipy.stats.kstest(values, "norm").statistic)
        label = f"{name}: √n times the Kolmogorov distance of n deviations from the normal law, at most"
        bound = float(scipy.special.kolmogi(1 - stats.CONFIDENCE))
        rows.append(estimates.from_interval(label, (scaled, scaled, scaled), expected=bound, is_bound=True))
    return rows


def at_largest(dataset: Any, case: str) -> Floats:
    """Return all deviations of a case at the largest N, in units of the prediction."""
    values = dataset["deviation"].sel(case=case).isel(n_tokens=-1).values
    return np.asarray(values[np.isfinite(values)])


def table(dataset: Any) -> str:
    """Return the ratios with their intervals for every N, and the claims, as text."""
    lines = [dataset.attrs["title"]]
    for name in dataset["case"].values:
        lines += ["", f"{name!s:>12}{'N Var over prediction':>30}"]
        for n in dataset["n_tokens"].values:
            interval = stats.mean_interval(dataset["ratio"].sel(case=name, n_tokens=n).values, at_least=0)
            value, low, high = with_interval(interval.value, low=interval.low, high=interval.high)
            lines.append(f"{f'N = {n}':>12}{f'{value} [{low}, {high}]':>30}")
        lines.append(f"{'nodes':>12}{float(dataset['node_error'].sel(case=name).max()):30.1e}")
    lines += ["", "nodes: largest error of the prediction itself, from half as many nodes under the same layers"]
    return "\n".join([*lines, "", format_claims(claims(dataset))])
