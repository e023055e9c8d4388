"""The deep-and-wide limit: the distance of networks of depth L and width m from it under the paper's coupling."""

from chaosphere.experiments.depth_width.drawing import draw
from chaosphere.experiments.depth_width.runs import run
from chaosphere.experiments.depth_width.verdicts import claims, table

__all__ = ["claims", "draw", "run", "table"]
