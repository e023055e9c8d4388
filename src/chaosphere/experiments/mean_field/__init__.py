"""The mean-field limit on the circle: two solvers, the convergence of each, and the law of pairs over the noise."""

from chaosphere.experiments.mean_field.drawing import draw
from chaosphere.experiments.mean_field.pairs import pair_law
from chaosphere.experiments.mean_field.runs import N_PARTS, run, start_law
from chaosphere.experiments.mean_field.verdicts import claims, table

__all__ = ["N_PARTS", "claims", "draw", "pair_law", "run", "start_law", "table"]
