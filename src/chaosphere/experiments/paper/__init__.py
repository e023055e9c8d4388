"""The table and the figures of arXiv:2604.26898."""

from chaosphere.experiments.paper.drawing import draw_cosines_and_energy, draw_exponents, draw_tokens
from chaosphere.experiments.paper.exponents import ACTIVATIONS, BIASES, DIMS, EXPONENTS, table
from chaosphere.experiments.paper.runs import FIGURES, QUANTILES, VALUE_SCALES, WIDTH, figure, figure_1, n_runs
from chaosphere.experiments.paper.verdicts import (
    claims,
    figure_1_claims,
    figure_claims,
    format_figure,
    format_table,
)

__all__ = [
    "ACTIVATIONS",
    "BIASES",
    "DIMS",
    "EXPONENTS",
    "FIGURES",
    "QUANTILES",
    "VALUE_SCALES",
    "WIDTH",
    "claims",
    "draw_cosines_and_energy",
    "draw_exponents",
    "draw_tokens",
    "figure",
    "figure_1",
    "figure_1_claims",
    "figure_claims",
    "format_figure",
    "format_table",
    "n_runs",
    "table",
]
