"""The part of `call_table` with networks that are trained."""

import numpy as np
from subjects import X

import chaosphere as cs

NETWORK = cs.training.AttentionNetwork(depth=2, n_heads=2, dim=3, key_dim=2)
SEQUENCES = np.stack([X, X[::-1]])
ADAMW = cs.training.AdamW(learning_rate=0.1)
LOSS = cs.training.MeanRegression(targets=[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])
MATCHING = cs.training.KernelMatching(points=X[:4], beta=2.0)
PARAMETERS = NETWORK.initial(0)
LIMIT = cs.training.TrainingLimit(n_cells=2, n_heads=2, dim=3, key_dim=2, value_scale=0.5)
GRADIENT = PARAMETERS[::-1].copy()

TRAINING = {
    "training.AttentionNetwork": (
        cs.training.AttentionNetwork,
        {
            "depth": 2,
            "n_heads": 2,
            "dim": 3,
            "key_dim": 2,
            "horizon": 1.0,
            "std": 1.0,
            "value_scale": 0.5,
            "mask": "causal",
            "normalization": "identity",
        },
    ),
    "training.AttentionNetwork.initial": (NETWORK.initial, {"rng": 0}),
    "training.AttentionNetwork.forward": (
        NETWORK.forward,
        {"parameters": PARAMETERS, "x": SEQUENCES, "n_threads": 1},
    ),
    "training.AttentionNetwork.gradient": (
        NETWORK.gradient,
        {"parameters": PARAMETERS, "x": SEQUENCES, "objective": LOSS, "save_states": True, "n_threads": 1},
    ),
    "training.TrainingLimit": (
        cs.training.TrainingLimit,
        {
            "n_cells": 2,
            "n_heads": 2,
            "dim": 3,
            "key_dim": 2,
            "horizon": 1.0,
            "std": 1.0,
            "value_scale": 0.5,
            "mask": "causal",
            "normalization": "identity",
        },
    ),
    "training.TrainingLimit.initial": (LIMIT.initial, {"rng": 0}),
    "training.TrainingLimit.forward": (LIMIT.forward, {"parameters": PARAMETERS, "x": SEQUENCES, "n_threads": 1}),
    "training.TrainingLimit.gradient": (
        LIMIT.gradient,
        {"parameters": PARAMETERS, "x": SEQUENCES, "objective": LOSS, "save_states": True, "n_threads": 1},
    ),
    "training.AdamW": (
        cs.training.AdamW,
        {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-3, "weight_decay": 0.1},
    ),
    "training.AdamWState": (
        cs.training.AdamWState,
        {"parameters": PARAMETERS, "first": GRADIENT, "second": GRADIENT**2, "step": 3},
    ),
    "training.AdamW.start": (ADAMW.start, {"parameters": PARAMETERS}),
    "training.AdamW.step": (
        ADAMW.step,
        {"state": ADAMW.start(PARAMETERS), "gradient": GRADIENT, "n_units": 4},
    ),
    "training.MeanRegression": (cs.training.MeanRegression, {"targets": np.eye(3)[:2]}),
    "training.MeanRegression.__call__": (LOSS, {"x": SEQUENCES}),
    "training.KernelMatching": (cs.training.KernelMatching, {"points": X[:4], "beta": 2.0}),
    "training.KernelMatching.__call__": (MATCHING, {"x": SEQUENCES}),
    "training.train": (
        cs.training.train,
        {
            "network": NETWORK,
            "x": SEQUENCES,
            "loss": LOSS,
            "optimizer": ADAMW,
            "start": ADAMW.start(PARAMETERS),
            "n_steps": 2,
            "n_threads": 1,
            "progress": False,
        },
    ),
}
