"""Valid calls of the models and of densities in the limit, for the table of `call_table`."""

import numpy as np
from subjects import (
    ATTENTION,
    AXIAL,
    CIRCLE_SDE,
    COSINES,
    FIELD,
    FIXED,
    LIMITED,
    MEAN_FIELD,
    MLP,
    MODEL,
    ON_SPHERE,
    SDE,
    UNIFORM,
    X,
)

import chaosphere as cs

MODELS = {
    "Transformer": (
        cs.Transformer,
        {"attention": ATTENTION, "mlp": MLP, "depth": 4, "horizon": 1.0, "noise_scale": 1.0, "n_fine_steps": 1},
    ),
    "Transformer (sequences)": (
        cs.Transformer,
        {
            "attention": [ATTENTION, ATTENTION],
            "mlp": [MLP, FIXED],
            "depth": 2,
            "horizon": 1.0,
            "noise_scale": [1.0, 0.5],
        },
    ),
    "Transformer (radii)": (
        cs.Transformer,
        {"attention": ATTENTION, "mlp": MLP, "depth": 4, "horizon": 1.0, "normalization": "pre", "initial_radius": 1.5},
    ),
    "Transformer (nGPT)": (
        cs.Transformer,
        {"attention": ATTENTION, "mlp": None, "depth": 4, "horizon": 1.0, "normalization": "ngpt"},
    ),
    "Transformer.from_layers": (
        cs.Transformer.from_layers,
        {"layers": [(ATTENTION, FIXED)] * 2, "horizon": 1.0, "normalization": "pre", "initial_radius": 2.0},
    ),
    "Transformer.coarsen": (MODEL.coarsen, {"factor": 2}),
    "LimitSDE": (
        cs.LimitSDE,
        {"attention": ATTENTION, "field": FIELD, "horizon": 1.0, "n_steps": 4, "scheme": "heun", "temperature": 0.0}
        | {"n_fine_steps": 1, "noise_scale": 1.0},
    ),
    "LimitSDE.coarsen": (SDE.coarsen, {"factor": 2}),
    "MeanField": (cs.MeanField, {"model": MODEL, "law": UNIFORM, "n_nodes": 60}),
    "MeanField.start": (MEAN_FIELD.start, {"passive": X}),
    "CircleDensity": (cs.CircleDensity, {"model": CIRCLE_SDE, "law": cs.laws.Uniform(dim=2), "n_modes": 64}),
    "CircleDensity.solve": (LIMITED.solve, {"rng": 0, "save_at": [0.1], "n_replicas": None, "n_threads": 1}),
    "DensitySolution.density": (LIMITED.solve(rng=0).density, {"angles": np.arange(3.0)}),
    "AxisymmetricDensity": (
        cs.AxisymmetricDensity,
        {"model": AXIAL.model, "law": AXIAL.law, "n_modes": 24, "axis": AXIAL.axis},
    ),
    "AxisymmetricDensity.solve": (AXIAL.solve, {"save_at": [0.1]}),
    "AxisymmetricSolution.density": (AXIAL.solve().density, {"cosines": COSINES}),
    "SphereDensity": (cs.SphereDensity, {"model": ON_SPHERE.model, "law": ON_SPHERE.law, "n_modes": 16}),
    "SphereDensity.solve": (ON_SPHERE.solve, {"rng": 0, "save_at": [0.1], "n_replicas": None, "start": None}),
    "SphereSolution.density": (ON_SPHERE.solve(rng=0).density, {"x": X}),
}
