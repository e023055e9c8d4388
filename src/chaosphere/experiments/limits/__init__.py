"""The three limits at once: many tokens, many layers, wide layers, taken in either order."""

from chaosphere.experiments.limits.drawing import draw
from chaosphere.experiments.limits.runs import identity, run
from chaosphere.experiments.limits.verdicts import claims, table

__all__ = ["claims", "draw", "identity", "run", "table"]
