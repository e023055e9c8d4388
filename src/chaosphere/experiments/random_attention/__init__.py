"""Random attention: two tokens that end together or opposite, and the limit of many layers of random heads."""

from chaosphere.experiments.random_attention import drawing, ends, heads

__all__ = ["drawing", "ends", "heads"]
