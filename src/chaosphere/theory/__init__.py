"""What is known in closed form or by one-dimensional equations, and couplings of networks with their limits."""

from chaosphere.theory.causal import causal_covariance
from chaosphere.theory.linear_growth import critical_temperature, growth_rate
from chaosphere.theory.log_distance import log_distance_law

__all__ = ["causal_covariance", "critical_temperature", "growth_rate", "log_distance_law"]


def __dir__() -> list[str]:
    return __all__
