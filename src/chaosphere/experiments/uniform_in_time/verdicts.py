"""Propagation of chaos over long times: claims and table, from the dataset.

Each is an interval of 99 % beside a threshold that was fixed beforehand: where the truth is at the threshold a claim is
refuted in at most 1 % of studies of many replicas, and beyond it less often.

- Growth: the exponent of E sup_{t ≤ T} W2² in T, from T/2 to T, for the largest N. Bounded means 0, and the slowest
  growth of interest, √T, means ½: at most ¼ decides.
- Fall: the exponent in N of E sup W2² at T. The theorem has −½ at a fixed T, and no chaos means 0: at most −¼ decides.

Chaos is uniform in time where both hold, and is not where one of them fails. A study tells that only where T/2 is late
for two points under the noise alone (`growth_left`): before, E sup W2² grows in any case. With attraction both are
claimed where the first harmonic grows fastest; for larger β tokens may come to several clusters. E sup W2² of half of
the nodes is claimed to be at most a tenth of that of the largest N. Where this is refuted, nothing is claimed of the
distance from the limit in that case. Under repulsion, where the distance grows, it is asked how:

- Acceleration: the rate of log E sup W2² from T/2 to T, less 3/2 of that from T/4 to T/2. Their ratio is 2 for the
  e^{cT²} of the theorem, 1 for an exponential, and less for a power: at most 3/2 decides.

The level of the uniform start without noise is claimed to be that of one point, to a fifth, where the linear theory is
10⁶ times as large at T and the first harmonic grows fastest; elsewhere nothing is expected of it. The nodes of this
start stay where they are, so nothing is claimed of them: W2² of half of n nodes from all is π²/n², which for n ≥ 4N is
at most 3/(16N) of the π²/(3N) of N uniform tokens.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import scipy

from chaosphere import stats
from chaosphere.common.checks import Floats
from chaosphere.experiments import estimates
from chaosphere.experiments.uniform_in_time.linear import growth_left, is_one_cluster_first, partition_variance
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.reporting.digits import with_interval
from chaosphere.stats import Interval

GROWTH, FALL = 0.25, -0.25
_TWICE_OR_ONCE = 1.5  # midway between the ratios of two rates
SATURATED = math.pi**2 / 3  # W2² of one point from the uniform law
_LINEAR_SHARE = 0.05  # of it, up to which E W2² is held against the linear theory
_LINEAR_VARIANCE = 0.1  # of partition functions, up to which it is, too: the rate is then off by an eighth at most
_OVER = 1e6  # linear theory over the level at one point, from which on nearly all systems of tokens are there
_RELEVANT_SHARE = 0.2  # of a rate or a level
_GROWTH_LEFT = GROWTH / 2  # of two points after T/2, up to which growth in T is that of the horizon alone
_NODES_SHARE = 0.1  # of the largest W2²: squares of independent errors add, and change an exponent by log(1.1)


def growth(largest: Floats) -> Interval:
    """Return the exponent in T of the mean of values (R, times) over replicas, from the middle time to the last.

    The times are equally spaced from 0 on.
    """
    n_times = largest.shape[1]
    value, low, high = _logs(stats.ratio_interval(largest[:, -1], largest[:, n_times // 2])) / math.log(2)
    return Interval(float(value), float(low), float(high))


def _logs(interval: Interval) -> Floats:
    """Return the logarithms of an estimate and the ends of its interval, which may be 0 and infinity."""
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(np.array([*interval]))
    return logs


def acceleration(largest: Floats, horizon: float) -> Interval:
    """Return how much faster the logarithm of the mean of values (R, times) grows than 3/2 of its rate before.

    The rates are those from T/2 to T and from T/4 to T/2; Student's interval on the jackknife over replicas.
    """
    n_replicas, n_times = largest.shape
    rows = largest[:, [(n_times - 1) // 4, (n_times - 1) // 2, n_times - 1]]

    def excess(some: Floats) -> float:
        early, middle, late = np.log(some.mean(axis=0))
        return float((late - middle) * 2 / horizon - _TWICE_OR_ONCE * (middle - early) * 4 / horizon)

    value = excess(rows)
    left_out = np.array([excess(np.delete(rows, r, axis=0)) for r in range(n_replicas)])
    error = math.sqrt((n_replicas - 1) * left_out.var())
    width = float(scipy.stats.t.ppf(0.5 + stats.CONFIDENCE / 2, n_replicas - 1)) * error
    return Interval(value, value - width, value + width)


def fall(tokens: Floats, largest: Floats) -> Interval:
    """Return the exponent in N of the mean of values (R, sizes) over replicas."""
    value, low, high = (2 * end for end in stats.exponent_interval(tokens, largest))
    return Interval(value, low, high)


def is_late(dataset: Any) -> bool:
    """Whether two points have had their largest distance by half of the horizon, for the largest N."""
    n_tokens, horizon = int(dataset["n_tokens"][-1]), float(dataset["time"][-1])
    return growth_left(n_tokens=n_tokens, time=0.5 * horizon) <= _GROWTH_LEFT


def nodes_share(case: Any) -> Interval:
    """Return E sup W2² of half of the nodes over that of the largest N, for a case."""
    return stats.ratio_interval(case["nodes"].values[:, -1], case["largest"].values[:, -1, -1])


def is_resolved(case: Any) -> bool:
    """Whether the nodes may be near enough to the limit to stand for it beside the largest N."""
    return not nodes_share(case).low > _NODES_SHARE


def decision(in_time: Interval, in_tokens: Interval, *, is_late: bool) -> str:
    """Return whether chaos is uniform in time, by the exponents in T and N: "uniform", "not uniform", "undecided"."""
    if in_tokens.low > FALL or (is_late and in_time.low > GROWTH):
        return "not uniform"
    return "uniform" if is_late and in_time.high <= GROWTH and in_tokens.high <= FALL else "undecided"


def claims(dataset: Any) -> list[Claim]:
    """Return growth in T and fall in N of every case, beside what is expected, and the error of nodes that move."""
    rows = []
    tokens, times = dataset["n_tokens"].values, dataset["time"].values
    beta = float(json.loads(dataset.attrs["identity"])["beta"])
    for name in dataset["case"].values:
        case = dataset.sel(case=name)
        largest = case["largest"].values
        of_tokens = f"{name}: exponent in N of E sup W2² at T = {times[-1]:g}"
        of_time = f"{name}: exponent in T of E sup W2², N = {tokens[-1]}"
        in_tokens, in_time = fall(tokens, largest[:, :, -1]), growth(largest[:, -1])
        if name == "no noise, uniform start":
            rows += _unstable(name, case, beta=beta)
            continue
        if name == "noise, repulsion":
            faster = acceleration(largest[:, -1], float(times[-1]))
            label = f"{name}: rate of log E sup W2² over T/2 to T, less 3/2 of that before, at most"
            expected = 0.0 if is_resolved(case) else None
            rows.append(estimates.from_interval(label, faster, expected=expected, is_bound=True))
            rows += [estimates.from_interval(of_time, in_time, expected=None)]
            rows += [estimates.from_interval(of_tokens, in_tokens, expected=None)]
        else:
            is_expected = (
                is_late(dataset) and is_resolved(case) and (name == "noise alone" or is_one_cluster_first(beta))
            )
            for label, interval, bound in ((of_time, in_time, GROWTH), (of_tokens, in_tokens, FALL)):
                label, expected = (f"{label}, at most", bound) if is_expected else (label, None)
                rows.append(estimates.from_interval(label, interval, expected=expected, is_bound=is_expected))
        label = f"{name}: E sup W2² of half of the nodes over that of N = {tokens[-1]}, at most"
        rows.append(estimates.from_interval(label, nodes_share(case), expected=_NODES_SHARE, is_bound=True))
    return rows


def _unstable(name: str, case: Any, *, beta: float) -> list[Claim]:
    """Return the rate of the first growth from the uniform start, and the level at the end, for the largest N."""
    largest, linear = case["largest"].values[:, -1], case["linear"].values[-1]
    times, n_tokens = case["time"].values, int(case["n_tokens"][-1])
    rows, share = [], _RELEVANT_SHARE if is_resolved(case) else None
    variance = partition_variance(beta, n_tokens=n_tokens, times=times)
    # Both grow with time.
    at = int(((linear <= _LINEAR_SHARE * SATURATED) & (variance <= _LINEAR_VARIANCE)).sum()) - 1
    if at > 0:
        expected = math.log(linear[at] / linear[0])
        ends = _modulus(*(_logs(stats.ratio_interval(largest[:, at], largest[:, 0])) / expected - 1))
        label = f"{name}: rate up to t = {times[at]:g}, N = {n_tokens}, off the linear theory by a share of at most"
        rows.append(estimates.from_interval(label, ends, expected=share, is_bound=True))
    level = stats.mean_interval(largest[:, -1], at_least=0, at_most=math.pi**2)
    label = f"{name}: E sup W2² at T = {times[-1]:g}, N = {n_tokens}"
    rows.append(estimates.from_interval(label, level, expected=None))
    if is_one_cluster_first(beta) and linear[-1] >= _OVER * SATURATED:
        off = _modulus(*(end / SATURATED - 1 for end in level))
        label = f"{label}, off π²/3 by a share of at most"
        rows.append(estimates.from_interval(label, off, expected=share, is_bound=True))
    return rows


def _modulus(value: float, low: float, high: float) -> tuple[float, float, float]:
    """Return the modulus of an estimate, and the ends of the interval of moduli."""
    return abs(value), max(low, -high, 0.0), max(-low, high)


def table(dataset: Any) -> str:
    """Return E sup W2² at half the horizon and at its end, whether chaos is uniform, and the claims, as text."""
    tokens, times = dataset["n_tokens"].values, dataset["time"].values
    middle = len(times) // 2
    lines = [dataset.attrs["title"], ""]
    head = "".join(f"{f'N = {n}':>20}" for n in tokens)
    lines.append(f"E sup W2² up to T = {times[middle]:g} and T = {times[-1]:g}".rjust(50))
    lines.append(f"{'':>24}{head}{'in T':>22}{'in N':>22}")
    for name in dataset["case"].values:
        case = dataset.sel(case=name)
        largest = case["largest"].values
        in_time, in_tokens = growth(largest[:, -1]), fall(tokens, largest[:, :, -1])
        verdict = decision(in_time, in_tokens, is_late=is_late(dataset)) if is_resolved(case) else "undecided"
        mean = largest.mean(axis=0)
        cells = "".join(f"{f'{row[middle]:.3g}, {row[-1]:.3g}':>20}" for row in mean)
        intervals = (with_interval(i.value, low=i.low, high=i.high)[1:] for i in (in_time, in_tokens))
        ends = "".join(f"{f'[{low}, {high}]':>22}" for low, high in intervals)
        lines.append(f"{name:>24}{cells}{ends}  {verdict}")
    return "\n".join([*lines, "", format_claims(claims(dataset))])
