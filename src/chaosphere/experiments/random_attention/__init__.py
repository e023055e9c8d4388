"""Random attention: how two tokens and two clusters end, the limit of many layers of heads, and low temperature."""

from chaosphere.experiments.random_attention import cold, drawing, ends, heads, splits

__all__ = ["cold", "drawing", "ends", "heads", "splits"]
