"""Attractors of the noise, by pull-back: the random point, the random pair of points, and the random measure."""

from chaosphere.experiments.attractors import drawing, runs

__all__ = ["drawing", "runs"]
