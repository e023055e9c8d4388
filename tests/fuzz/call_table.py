"""The table of `calls`: a valid call of every public function, and what is not called."""

import functools

import matplotlib as mpl
import numpy as np
from interaction_calls import INTERACTIONS
from long_time_calls import LONG_TIMES
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from noise_calls import NOISE
from subjects import (
    ATTENTION,
    AXIAL,
    BATCH,
    BRANCH,
    CIRCLE,
    CIRCLE_SDE,
    CLOUDS,
    CONSEQUENCES,
    COSINES,
    DENSITY,
    FIELD,
    FIXED,
    KERNEL,
    LIMITED,
    MEAN_FIELD,
    MIXTURE,
    MLP,
    MODEL,
    ON_SPHERE,
    PAIR,
    PRE_LN,
    SDE,
    SYNCHRONIZING,
    UNIFORM,
    USA,
    VMF,
    P,
    X,
    observe,
)
from training_calls import TRAINING

import chaosphere as cs
from chaosphere.simulation.fluctuations import coordinates

mpl.use("Agg")


def drawn(function):
    """The same function, whose picture is drawn, and then closed."""

    @functools.wraps(function)
    def call(**arguments):
        try:
            result = function(**arguments)
            if isinstance(result, Axes):
                result.figure.canvas.draw()
            return result
        finally:
            pyplot.close("all")

    return call


DATASET = cs.ensemble(MODEL, UNIFORM, n_tokens=8, seeds=[0, 1], observe={"r": observe})
SOLUTION = cs.simulate(MODEL, X, rng=0, observe={"r": observe})


# What is called, and with which arguments: each of them in turn is replaced.
CALLS = INTERACTIONS | {
    "CovarianceKernel.__call__": (KERNEL, {"u": COSINES}),
    "CovarianceKernel.derivative": (KERNEL.derivative, {"u": COSINES}),
    "CovarianceKernel.eta": (KERNEL.eta, {"u": COSINES}),
    "CovarianceKernel.difference_quotient": (KERNEL.difference_quotient, {"u": COSINES}),
    "CovarianceKernel.scaled": (KERNEL.scaled, {"noise_scale": 2.0}),
    "CovarianceKernel.spectrum": (KERNEL.spectrum, {"n_max": 4}),
    "CovarianceKernel.spectrum_tail": (KERNEL.spectrum_tail, {"n_max": 4}),
    "CovarianceKernel.dissipation_function": (KERNEL.dissipation_function, {"beta": 1.0, "u": COSINES[:-1]}),
    "CovarianceKernel.dissipation_rate": (KERNEL.dissipation_rate, {"beta": 1.0}),
    "Transformer.noise_scales": (MODEL.noise_scales, {}),
    "LimitSDE.noise_scales": (SDE.noise_scales, {}),
    "CovarianceKernel.best_beta": (KERNEL.best_beta, {"epsilon": 0.0}),
    "CovarianceKernel.critical_noise_scale": (KERNEL.critical_noise_scale, {"value_scale": 1.0}),
    "CovarianceKernel.moment_exponent": (KERNEL.moment_exponent, {"p": 1.0}),
    **{f"CovarianceKernel.{name}": (getattr(SYNCHRONIZING, name), {}) for name in CONSEQUENCES},
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
        {
            "attention": ATTENTION,
            "mlp": MLP,
            "depth": 4,
            "horizon": 1.0,
            "normalization": "pre",
            "initial_radius": 1.5,
        },
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
    "Checkpoint": (cs.Checkpoint, {"path": "c.npz", "every_steps": 2, "every_seconds": 1.0, "keep": False}),
    "Solution.to_xarray": (SOLUTION.to_xarray, {}),
    "normalize": (cs.normalize, {"x": X}),
    "sample_uniform": (cs.sample_uniform, {"n_tokens": 8, "dim": 3, "rng": 0, "n_replicas": 2}),
    "sample_von_mises_fisher": (
        cs.sample_von_mises_fisher,
        {"n_tokens": 8, "mean_direction": X[0], "concentration": 2.0, "rng": 0, "n_replicas": None},
    ),
    "show_config": (cs.show_config, {}),
    "simulate": (
        cs.simulate,
        {
            "model": MODEL,
            "x": X,
            "rng": 0,
            "save_at": np.array([0.5, 1.0]),
            "observe": {"r": observe},
            "shared_noise": False,
            "n_threads": 1,
            "save_states": True,
            "progress": False,
            "checkpoint": None,
            "weights": np.full(len(X), 1 / len(X)),
        },
    ),
    "simulate (SDE)": (cs.simulate, {"model": SDE, "x": BATCH, "rng": [0, 1], "save_at": None, "n_threads": 1}),
    "simulate (radii)": (
        cs.simulate,
        {
            "model": PRE_LN,
            "x": BATCH,
            "rng": 0,
            "save_at": np.array([0.5, 1.0]),
            "observe": {"r": cs.measures.RadiusMoment(power=2)},
        },
    ),
    "trajectory": (
        lambda model, **options: list(cs.trajectory(model, **options)),
        {"model": MODEL, "x": X, "rng": 0, "shared_noise": False, "n_threads": 1, "first_step": 0},
    ),
    "ensemble": (
        cs.ensemble,
        {
            "model": MODEL,
            "x0": UNIFORM,
            "seeds": [0, 1],
            "observe": {"r": observe},
            "sweep": None,
            "n_tokens": 8,
            "save_at": None,
            "executor": None,
            "n_threads": 1,
            "store": None,
            "memory_limit": None,
            "progress": False,
        },
    ),
    "ensemble (sweep)": (
        cs.ensemble,
        {
            "model": lambda beta: cs.Transformer(
                attention=cs.SoftmaxAttention(beta=beta), mlp=MLP, depth=2, horizon=1.0
            ),
            "x0": X,
            "seeds": [0, 1],
            "observe": {"r": observe},
            "sweep": {"beta": [1.0, 2.0]},
        },
    ),
    "estimate": (cs.estimate, {"model": MODEL, "x0": X, "observable": observe, "tolerance": 0.5, "rng": 0}),
    "load_ensemble": (cs.load_ensemble, {"store": "no.zarr"}),
    "laws.Uniform": (cs.laws.Uniform, {"dim": 3}),
    "laws.VonMisesFisher": (cs.laws.VonMisesFisher, {"mean_direction": (0.0, 0.6, 0.8), "concentration": 2.0}),
    "laws.Mixture": (cs.laws.Mixture, {"components": (UNIFORM, VMF), "proportions": (0.25, 0.75)}),
    "laws.Density": (cs.laws.Density, {"function": lambda x: 1 + x[:, 0], "dim": 3, "bound": 2.0}),
    "laws.quadrature": (cs.laws.quadrature, {"law": VMF, "n_nodes": 60}),
    "laws.Sample": (cs.laws.Sample, {"law": UNIFORM, "n_tokens": 10, "rng": 0, "n_replicas": 2, "dtype": "float32"}),
    "measures.TokenMean": (cs.measures.TokenMean, {"function": lambda x: x}),
    "measures.Energy": (cs.measures.Energy, {"beta": 1.0, "n_threads": 1}),
    "measures.RadiusMoment": (cs.measures.RadiusMoment, {"power": 2.0, "weights": P}),
    "measures.energy": (cs.measures.energy, {"x": X, "beta": 1.0, "weights": P, "n_threads": 1}),
    "measures.cosine_histogram": (
        cs.measures.cosine_histogram,
        {"x": X, "n_bins": 9, "weights": P, "n_threads": 1},
    ),
    "measures.power_spectrum": (cs.measures.power_spectrum, {"x": X, "n_max": 4, "weights": P, "n_threads": 1}),
    "measures.pair_fraction": (cs.measures.pair_fraction, {"x": X, "above": 0.5}),
    "measures.cluster_count": (cs.measures.cluster_count, {"x": X, "tolerance": 0.5}),
    "measures.cluster_labels": (cs.measures.cluster_labels, {"x": X, "tolerance": 0.5}),
    "measures.cluster_sizes": (cs.measures.cluster_sizes, {"x": X, "tolerance": 0.5, "n_largest": 3}),
    "measures.pairwise_cosines": (cs.measures.pairwise_cosines, {"x": X}),
    "measures.lyapunov_exponent": (
        cs.measures.lyapunov_exponent,
        {"model": MODEL, "x": X, "rng": 0, "separation": 1e-7, "n_replicas": None, "n_threads": 1},
    ),
    "measures.lyapunov_spectrum": (
        cs.measures.lyapunov_spectrum,
        {"model": MODEL, "x": X, "rng": 0, "n_exponents": 2, "separation": 1e-7, "n_threads": 1},
    ),
    "measures.correlation_dimension": (
        cs.measures.correlation_dimension,
        {"x": X, "radius": 1.0, "confidence": 0.9},
    ),
    "measures.circular_wasserstein2": (
        cs.measures.circular_wasserstein2,
        {"x": CIRCLE, "y": CIRCLE[:5].copy(), "x_weights": P, "y_weights": None},
    ),
    "measures.coupled_distance": (cs.measures.coupled_distance, {"x": X, "y": X[::-1].copy(), "weights": P}),
    "measures.entropic_wasserstein2": (
        cs.measures.entropic_wasserstein2,
        CLOUDS | {"regularization": 0.5, "tolerance": 1e-6, "max_sweeps": 1000, "n_threads": 1},
    ),
    "measures.mmd": (cs.measures.mmd, CLOUDS | {"beta": 1.0, "n_threads": 1}),
    "measures.sliced_wasserstein2": (cs.measures.sliced_wasserstein2, CLOUDS | {"n_projections": 6, "rng": 0}),
    "measures.sobolev": (cs.measures.sobolev, CLOUDS | {"order": 1.0, "n_max": 8}),
    "measures.wasserstein2": (cs.measures.wasserstein2, CLOUDS),
    "stats.effective_replicas": (cs.stats.effective_replicas, {"values": P}),
    "stats.exponent_interval": (
        cs.stats.exponent_interval,
        {"x": P, "mean_squares": np.outer(P, P), "weights": P, "confidence": 0.9},
    ),
    "stats.mean_interval": (
        cs.stats.mean_interval,
        {"values": P, "confidence": 0.9, "at_least": 0.0, "at_most": 1.0},
    ),
    "stats.median_interval": (cs.stats.median_interval, {"values": P, "confidence": 0.9}),
    "stats.probability_interval": (cs.stats.probability_interval, {"outcomes": P > 0.1, "confidence": 0.9}),
    "stats.quantile_interval": (cs.stats.quantile_interval, {"values": P, "q": 0.5, "confidence": 0.9}),
    "stats.ratio_interval": (
        cs.stats.ratio_interval,
        {"numerator": P, "denominator": P[::-1].copy(), "confidence": 0.9},
    ),
    "stats.root_mean_square_interval": (
        cs.stats.root_mean_square_interval,
        {"mean_squares": P, "confidence": 0.9},
    ),
    "theory.equiangular": (
        cs.theory.equiangular,
        {
            "normalization": "pre",
            "n_tokens": 6,
            "beta": 2.0,
            "cosine": 0.1,
            "times": np.array([0.0, 1.0]),
            "initial_radius": 1.5,
        },
    ),
    "theory.growth_rate": (cs.theory.growth_rate, {"interaction": USA, "degree": 3, "dim": 3, "temperature": 0.5}),
    "theory.fluctuation": (cs.theory.fluctuation, {"interaction": USA, "degree": 3, "dim": 3, "time": [0.0, 1.0]}),
    "theory.critical_temperature": (cs.theory.critical_temperature, {"interaction": USA, "dim": 3}),
    "phases.branch": (cs.phases.branch, {"interaction": ATTENTION, "dim": 3, "lowest": 0.2}),
    "phases.Branch.density": (BRANCH.density, {"cosines": COSINES}),
    "phases.Branch.states_at": (BRANCH.states_at, {"temperature": 0.2}),
    "phases.Branch.to_xarray": (BRANCH.to_xarray, {}),
    "phases.growth_rates": (cs.phases.growth_rates, {"interaction": ATTENTION, "state": BRANCH.fold, "order": 1}),
    "phases.StationaryState.density": (BRANCH.fold.density, {"cosines": COSINES}),
    "phases.transition": (cs.phases.transition, {"interaction": ATTENTION, "dim": 3}),
    "phases.tricritical_beta": (cs.phases.tricritical_beta, {"dim": 3}),
    "theory.log_distance_law": (
        cs.theory.log_distance_law,
        {"kernel": KERNEL, "horizon": 2.0, "noise_scale": [1.0, 0.5], "value_scale": -0.1},
    ),
    "theory.causal_covariance": (
        cs.theory.causal_covariance,
        {"interaction": USA, "degree": 3, "dim": 3, "earlier": 0.3, "later": 0.7, "time": 1.0, "decay": 0.5},
    ),
    "two_point.PairNoise": (
        cs.two_point.PairNoise,
        {"diffusion": np.ones_like, "drift": np.sin, "dim": 3, "is_odd": True},
    ),
    "two_point.PairNoise.from_covariance": (
        cs.two_point.PairNoise.from_covariance,
        {"variance": np.ones_like, "covariance": np.positive, "dim": 3, "is_odd": True, "drift": None},
    ),
    "two_point.expectation": (cs.two_point.expectation, PAIR | {"f": np.square, "t": 0.5, "u0": 0.3}),
    "two_point.solve": (cs.two_point.solve, PAIR | {"f": np.square, "t": np.array([0.1, 0.5]), "u0": "uniform"}),
    "two_point.energy_ratio": (cs.two_point.energy_ratio, PAIR | {"t": 0.5, "u0": 0.3}),
    "two_point.hitting_probabilities": (
        cs.two_point.hitting_probabilities,
        {"kernel": SYNCHRONIZING, "u0": COSINES, "beta": 1.0, "value_scale": 0.5},
    ),
    "two_point.mean_hitting_time": (
        cs.two_point.mean_hitting_time,
        {"kernel": KERNEL, "u0": COSINES, "target": 0.2, "beta": 1.0, "value_scale": -0.5},
    ),
    "theory.low_temperature_kernel": (cs.theory.low_temperature_kernel, {"dim": 4, "head_dim": 5}),
    "two_point.long_time": (cs.two_point.long_time, PAIR),
    "two_point.stationary_density": (
        cs.two_point.stationary_density,
        {"kernel": KERNEL, "u": COSINES[1:-1], "beta": 1.0, "value_scale": -0.5},
    ),
}
CALLS["coupled_run"] = (
    cs.coupled_run,
    {
        "model": MODEL,
        "x": X,
        "rng": 0,
        "refinement": 2,
        "tolerance": 1e-3,
        "save_at": None,
        "observe": {"r": observe},
        "n_threads": 1,
        "save_states": True,
        "progress": False,
        "checkpoint": None,
    },
)
CALLS |= NOISE | LONG_TIMES | TRAINING
CALLS |= {
    "plot.tokens": (drawn(cs.plot.tokens), {"x": X, "ax": None, "color": P, "view": (25.0, -60.0), "plane": None}),
    "plot.tokens (plane)": (drawn(cs.plot.tokens), {"x": BATCH, "color": "red", "plane": np.eye(3)[:2]}),
    "plot.cosines": (drawn(cs.plot.cosines), {"x": X, "ax": None, "n_bins": 9, "label": "$t = 0$"}),
    "plot.observables": (
        drawn(cs.plot.observables),
        {
            "run": {"r": np.outer(P, P)},
            "names": ["r"],
            "times": P,
            "at_least": 0.0,
            "at_most": 1.0,
            "label": "a run",
            "ax": None,
        },
    ),
    "plot.observables (Solution)": (
        drawn(cs.plot.observables),
        {"run": SOLUTION, "names": "r", "at_least": 0.0, "label": None},
    ),
    "plot.observables (Dataset)": (drawn(cs.plot.observables), {"run": DATASET, "names": ["r"], "label": None}),
    "plot.clip": (
        drawn(cs.plot.clip),
        {
            "run": np.stack([X, X[::-1], -X]),
            "path": "c.gif",
            "seconds": 0.5,
            "fps": 4,
            "color": P,
            "view": (0.0, 0.0),
            "plane": None,
        },
    ),
    "plot.phases": (drawn(cs.plot.phases), {"branch": BRANCH, "ax": None, "label": "softmax"}),
    "plot.save": (drawn(cs.plot.save), {"ax": Figure().subplots(), "path": "c.png"}),
    "Solution.plot": (drawn(SOLUTION.plot), {"kind": "tokens", "time": 1.0, "ax": None}),
}
for _name, _rest in {"OrderParameter": {}, "MeanCosine": {}, "PowerSpectrum": {"n_max": 4, "n_threads": 1}}.items():
    CALLS[f"measures.{_name}"] = (getattr(cs.measures, _name), {"weights": P, **_rest})
for _name in ("mean_vector", "order_parameter", "mean_direction", "mean_cosine"):
    CALLS[f"measures.{_name}"] = (getattr(cs.measures, _name), {"x": X, "weights": P})
for _name, _law in {"Uniform": UNIFORM, "VonMisesFisher": VMF, "Mixture": MIXTURE, "Density": DENSITY}.items():
    CALLS[f"laws.{_name}.sample"] = (_law.sample, {"n_tokens": 8, "rng": 0, "n_replicas": None})
    CALLS[f"laws.{_name}.density"] = (_law.density, {"x": X})
MAY_BE_NAN = {  # where the docstring says so
    *("CovarianceKernel.critical_noise_scale", "measures.correlation_dimension", "SoftmaxAttention (hardmax)"),
    *("two_point.long_time", "two_point.mean_hitting_time", "simulate (long times)", "ensemble (long times)"),
} | {name for name in CALLS if name.startswith("stats.")}
CALLS["fluctuations"] = (cs.fluctuations, {"limit": MEAN_FIELD, "rng": 0, "observables": coordinates, "n_threads": 1})
