"""Phase transitions of tokens with noise of their own: runs up and down in temperature beside the stationary states."""

from chaosphere.experiments.phases import drawing, hysteresis

__all__ = ["drawing", "hysteresis"]
