"""Metastability: the clusters that form first, how long states of few clusters last, and two that merge."""

from chaosphere.experiments.metastability import counts, drawing, lifetimes, merging

__all__ = ["counts", "drawing", "lifetimes", "merging"]
