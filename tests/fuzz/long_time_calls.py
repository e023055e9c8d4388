"""The calls of `call_table` that are about long times."""

from subjects import P, X, observe

import chaosphere as cs

LONG_TIMES = {
    "log_times": (cs.log_times, {"first": 0.1, "last": 10.0, "n_times": 5}),
    "measures.clusters": (cs.measures.clusters, {"x": X, "scale": 0.5, "weights": P}),
    "until.Clustered": (cs.until.Clustered, {"tolerance": 0.5, "n_clusters": 2}),
    "until.Threshold": (cs.until.Threshold, {"observable": observe, "at_least": 0.5}),
}
