"""Fluctuations of N tokens about their limit under the same layers: the central limit theorem."""

from chaosphere.experiments.fluctuations.drawing import draw
from chaosphere.experiments.fluctuations.runs import Case, cases, identity, run
from chaosphere.experiments.fluctuations.verdicts import claims, table

__all__ = ["Case", "cases", "claims", "draw", "identity", "run", "table"]
