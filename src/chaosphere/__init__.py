"""chaosphere: interacting particles on the unit sphere.

Deep transformers at initialisation, their scaling limits and propagation of chaos (arXiv:2604.26898).
"""

import sys
from typing import TYPE_CHECKING, Any

from chaosphere import measures, stats, theory, training
from chaosphere.common.config import show_config
from chaosphere.geometry import laws
from chaosphere.geometry.sphere import normalize, sample_uniform, sample_von_mises_fisher
from chaosphere.interactions.attention_result import AttentionResult
from chaosphere.interactions.balance import UnbalancedError
from chaosphere.interactions.custom import CustomInteraction
from chaosphere.interactions.l2 import L2Attention
from chaosphere.interactions.multi_head import MultiHeadAttention
from chaosphere.interactions.potential import PotentialInteraction
from chaosphere.interactions.random_attention import RandomAttention
from chaosphere.interactions.sinkhorn import SinkhornAttention, SinkhornResult
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.interactions.unnormalized import UnnormalizedAttention
from chaosphere.models.axisymmetric import AxisymmetricDensity, AxisymmetricSolution
from chaosphere.models.densities import CircleDensity, DensitySolution
from chaosphere.models.mean_field import MeanField
from chaosphere.models.resolution import UnresolvedDensityError
from chaosphere.models.sde import LimitSDE
from chaosphere.models.sphere_density import SphereDensity, SphereSolution
from chaosphere.models.transformer import Transformer
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.fixed_mlp import FixedMLP
from chaosphere.noise.gaussian import GaussianField
from chaosphere.noise.mlp import MLP, MLPLayer
from chaosphere.simulation import until
from chaosphere.simulation.checkpoints import Checkpoint
from chaosphere.simulation.coupled import CoupledRun, coupled_run
from chaosphere.simulation.fluctuations import Fluctuations, fluctuations
from chaosphere.simulation.gradient import Gradient, gradient
from chaosphere.simulation.loop import simulate
from chaosphere.simulation.signals import Interrupted
from chaosphere.simulation.solution import SimulationError, Solution
from chaosphere.simulation.times import log_times
from chaosphere.simulation.trajectory import trajectory
from chaosphere.theory import phases, two_point

if TYPE_CHECKING:
    from chaosphere import plot
    from chaosphere.ensembles.estimate import estimate
    from chaosphere.ensembles.estimate_result import Estimate
    from chaosphere.ensembles.run import ensemble, load_ensemble

__version__: str

# `from chaosphere.laws import Uniform` works as `chaosphere.laws.Uniform` does.
sys.modules[f"{__name__}.laws"] = laws
sys.modules[f"{__name__}.phases"] = phases
sys.modules[f"{__name__}.two_point"] = two_point
sys.modules[f"{__name__}.until"] = until

__all__ = [
    "MLP",
    "AttentionResult",
    "AxisymmetricDensity",
    "AxisymmetricSolution",
    "Checkpoint",
    "CircleDensity",
    "CoupledRun",
    "CovarianceKernel",
    "CustomInteraction",
    "DensitySolution",
    "Estimate",
    "FixedMLP",
    "Fluctuations",
    "GaussianField",
    "Gradient",
    "Interrupted",
    "L2Attention",
    "LimitSDE",
    "MLPLayer",
    "MeanField",
    "MultiHeadAttention",
    "PotentialInteraction",
    "RandomAttention",
    "SimulationError",
    "SinkhornAttention",
    "SinkhornResult",
    "SoftmaxAttention",
    "Solution",
    "SphereDensity",
    "SphereSolution",
    "Transformer",
    "UnbalancedError",
    "UnnormalizedAttention",
    "UnresolvedDensityError",
    "coupled_run",
    "ensemble",
    "estimate",
    "fluctuations",
    "gradient",
    "laws",
    "load_ensemble",
    "log_times",
    "measures",
    "normalize",
    "phases",
    "plot",
    "sample_uniform",
    "sample_von_mises_fisher",
    "show_config",
    "simulate",
    "stats",
    "theory",
    "training",
    "trajectory",
    "two_point",
    "until",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """Import what takes long to import when it is asked for: pictures, process pools, the look-up of the version."""
    if name == "plot":
        from importlib import import_module

        return import_module("chaosphere.plot")
    if name in ("ensemble", "load_ensemble"):
        from chaosphere.ensembles import run

        return getattr(run, name)
    if name == "estimate":
        from chaosphere.ensembles.estimate import estimate

        return estimate
    if name == "Estimate":
        from chaosphere.ensembles.estimate_result import Estimate

        return Estimate
    if name == "__version__":
        from importlib.metadata import version

        return version("chaosphere")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
