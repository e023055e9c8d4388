"""The part of `call_table` with layers of networks, kernels and fields, and with gradients through them."""

import numpy as np
from subjects import FIELD, FIXED, KERNEL, LAYER, MATRICES, MLP, MODEL, NUMBERS, P, X, cubic

import chaosphere as cs

NOISE = {
    "MLP": (cs.MLP, {"width": 8, "activation": "tanh", "bias_std": 0.1, "output_bias_std": 0.1, "weight_std": 0.5}),
    "MLP.kernel": (MLP.kernel, {"dim": 3}),
    "MLP.draw": (MLP.draw, {"dim": 3, "rng": np.random.default_rng(0)}),
    "MLPLayer": (cs.MLPLayer, NUMBERS),
    "MLPLayer.__call__": (LAYER, {"x": X, "n_threads": 1}),
    "MLPLayer.jvp": (LAYER.jvp, {"x": X, "tangent": X[::-1].copy(), "n_threads": 1}),
    "MLPLayer.vjp": (LAYER.vjp, {"x": X, "cotangent": X[::-1].copy(), "n_threads": 1}),
    "MLPLayer.parameter_gradient": (LAYER.parameter_gradient, {"x": X, "cotangent": X[::-1].copy(), "n_threads": 1}),
    "FixedMLP": (cs.FixedMLP, MATRICES | {"activation": "gelu"}),
    "FixedMLP.__call__": (FIXED, {"x": X, "n_threads": 1}),
    "FixedMLP.jvp": (FIXED.jvp, {"x": X, "tangent": X[::-1].copy(), "n_threads": 1}),
    "FixedMLP.vjp": (FIXED.vjp, {"x": X, "cotangent": X[::-1].copy(), "n_threads": 1}),
    "CovarianceKernel.from_activation": (
        cs.CovarianceKernel.from_activation,
        {"activation": "tanh", "dim": 3, "bias_std": 0.1, "output_bias_std": 0.0, "weight_std": 1.0},
    ),
    "CovarianceKernel.from_spectrum": (
        cs.CovarianceKernel.from_spectrum,
        {"coefficients": np.array([0.5, 0.25]), "dim": 3},
    ),
    "CovarianceKernel.from_function": (
        cs.CovarianceKernel.from_function,
        {"kappa": np.exp, "dim": 3, "derivative": np.exp, "eta": np.exp},
    ),
    "GaussianField": (cs.GaussianField, {"kernel": KERNEL, "method": "auto", "tolerance": 1e-6, "width": 64}),
    "GaussianField.resolve": (FIELD.resolve, {"n_tokens": 100}),
    "GaussianField.basis": (FIELD.basis, {}),
    "gradient": (
        cs.gradient,
        {
            "model": MODEL,
            "x": X,
            "objective": cubic,
            "rng": 0,
            "weights": P,
            "shared_noise": False,
            "n_threads": 1,
        },
    ),
}
