"""The calls of `call_table` that are about long times."""

import numpy as np
from subjects import ATTENTION, UNIFORM, P, X, observe

import chaosphere as cs

ADAPTIVE = {"attention": ATTENTION, "field": None, "horizon": 1.0, "n_steps": 2, "scheme": "dormand-prince"}
QUIET = cs.LimitSDE(**ADAPTIVE, tolerance=1e-6)
COUNTS = np.array([3, 3, 2, 2, 1])
FEW = cs.until.Clustered(tolerance=0.5, n_clusters=7)
LONG_TIMES = {
    "LimitSDE (adaptive)": (cs.LimitSDE, ADAPTIVE | {"tolerance": 1e-6}),
    "simulate (long times)": (cs.simulate, {"model": QUIET, "x": X, "rng": 0, "until": FEW, "coalesce": 1e-3}),
    "simulate (times between steps)": (cs.simulate, {"model": QUIET, "x": X, "rng": 0, "save_at": [0.1, 0.6, 0.7]}),
    "ensemble (long times)": (
        cs.ensemble,
        {"model": QUIET, "x0": UNIFORM, "seeds": [0, 1], "observe": {"r": observe}, "n_tokens": 8}
        | {"until": FEW, "coalesce": 1e-3},
    ),
    "log_times": (cs.log_times, {"first": 0.1, "last": 10.0, "n_times": 5}),
    "measures.clusters": (cs.measures.clusters, {"x": X, "scale": 0.5, "weights": P}),
    "measures.lifetimes": (cs.measures.lifetimes, {"counts": COUNTS, "times": np.arange(5.0)}),
    "measures.modes": (cs.measures.modes, {"density": 1 + np.sin(np.arange(12.0)), "prominence": 0.1}),
    "measures.sphere_modes": (cs.measures.sphere_modes, {"coefficients": np.eye(4), "prominence": 0.1}),
    "until.Clustered": (cs.until.Clustered, {"tolerance": 0.5, "n_clusters": 2}),
    "until.Threshold": (cs.until.Threshold, {"observable": observe, "at_least": 0.5}),
}
