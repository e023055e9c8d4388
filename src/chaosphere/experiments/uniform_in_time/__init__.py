"""Propagation of chaos over long times: whether N tokens stay near their limit as the horizon grows."""

from chaosphere.experiments.uniform_in_time import drawing, runs

__all__ = ["drawing", "runs"]
