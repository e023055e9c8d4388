"""What is known in closed form or by one-dimensional equations, and couplings of networks with their limits."""

from chaosphere.theory.causal import causal_covariance
from chaosphere.theory.equiangular_tokens import equiangular
from chaosphere.theory.linear_growth import critical_temperature, fluctuation, growth_rate
from chaosphere.theory.log_distance import log_distance_law
from chaosphere.theory.low_temperature import low_temperature_kernel

__all__ = [
    "causal_covariance",
    "critical_temperature",
    "equiangular",
    "fluctuation",
    "growth_rate",
    "log_distance_law",
    "low_temperature_kernel",
]


def __dir__() -> list[str]:
    return __all__
