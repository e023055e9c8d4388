"""Training of attention-only transformers: networks of L layers and H heads beside their limit."""

from chaosphere.experiments.training import drawing, grid, tokens

__all__ = ["drawing", "grid", "tokens"]
