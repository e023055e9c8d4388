"""Intervals for what is estimated over independent replicas: means, ratios, exponents, quantiles, probabilities.

Every function returns an `Interval`: the estimate, and the two ends of an interval of the stated confidence. Replicas
are the first axis of the values. Two tokens of one run share their noise and are no replicas of each other; runs of
different seeds are.
"""

from chaosphere.stats.intervals import (
    CONFIDENCE,
    FEWEST_REPLICAS,
    Interval,
    effective_replicas,
    exponent_interval,
    mean_interval,
    median_interval,
    probability_interval,
    quantile_interval,
    ratio_interval,
    root_mean_square_interval,
)

__all__ = [
    "CONFIDENCE",
    "FEWEST_REPLICAS",
    "Interval",
    "effective_replicas",
    "exponent_interval",
    "mean_interval",
    "median_interval",
    "probability_interval",
    "quantile_interval",
    "ratio_interval",
    "root_mean_square_interval",
]


def __dir__() -> list[str]:
    return __all__
