"""The calls of `call_table` that are about long times."""

from subjects import observe

import chaosphere as cs

LONG_TIMES = {
    "until.Clustered": (cs.until.Clustered, {"tolerance": 0.5, "n_clusters": 2}),
    "until.Threshold": (cs.until.Threshold, {"observable": observe, "at_least": 0.5}),
}
