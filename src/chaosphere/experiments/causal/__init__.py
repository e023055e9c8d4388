"""Causal attention: the correlation of positions at order 1/N, and the centres that stay."""

from chaosphere.experiments.causal import centres, correlation, drawing

__all__ = ["centres", "correlation", "drawing"]
