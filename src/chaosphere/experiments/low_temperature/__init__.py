"""Attention at low temperature: how fast tokens come to their projection, and how far β is from its limit."""

from chaosphere.experiments.low_temperature import drawing, runs

__all__ = ["drawing", "runs"]
