"""The commands `chaosphere figure` and `chaosphere table`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from chaosphere.experiments import paper as experiment
from chaosphere.experiments.command import Command, Job, Options, call, default
from chaosphere.experiments.paper import exponents, runs
from chaosphere.experiments.pieces import OnStep


def _figure_number(number: Literal[1, 2, 3, 4, 5, 6]) -> int:
    """Return the number of a figure.

    Parameters
    ----------
    number : int
        Number of the figure.
    """
    return number


def _table_number(number: Literal[1]) -> int:
    """Return the number of a table.

    Parameters
    ----------
    number : int
        Number of the table.
    """
    return number


def figure_jobs(options: Options) -> list[Job]:
    """Return the study of one figure."""
    number = options["number"]
    if number == 1 and options.get("n_replicas", 1) != 1:
        raise ValueError("--replicas is for figures 2 to 6")

    def run(*, on_step: OnStep, **shared: Any) -> Any:
        if number == 1:
            return experiment.figure_1(on_run=on_step, **shared)
        return call(experiment.figure, options, on_run=on_step, **shared)

    claims = experiment.figure_1_claims if number == 1 else experiment.figure_claims
    return [
        Job(
            name=f"figure-{number}",
            run=run,
            claims=claims,
            table=lambda dataset: experiment.format_figure(dataset, claims(dataset)),
            draw=experiment.draw_tokens if number == 1 else experiment.draw_cosines_and_energy,
            n_steps=experiment.n_runs(number),
            unit="runs",
        )
    ]


def table_jobs(options: Options) -> list[Job]:
    """Return the one study."""

    def run(*, store: Path, on_step: OnStep, **unused: Any) -> Any:
        return call(experiment.table, options, store=store, on_step=on_step)

    def draw(_: Any, path: Path) -> None:
        # How the exponents pass from one of the dimensions to the next.
        dims = default(exponents.table, "dims", options)
        between = sorted({int(d) for d in np.geomspace(min(dims), max(dims), 12)} | set(dims))
        experiment.draw_exponents(call(experiment.table, {**options, "dims": between}), path)

    return [
        Job(
            name="table-1",
            run=run,
            claims=experiment.claims,
            table=experiment.format_table,
            draw=draw,
            n_steps=len(default(exponents.table, "activations", options)),
            unit="activations",
        )
    ]


COMMANDS = (
    Command(
        name="figure",
        summary="draw a figure of arXiv:2604.26898",
        description="Figures 1 to 6 of arXiv:2604.26898: noise alone (1); cosines and energies for relu, silu, "
        "sigmoid, tanh and no MLP (2 to 6). The claims come from independent runs of few tokens, and are compared "
        "with theory.",
        sources=(_figure_number, runs.figure),
        jobs=figure_jobs,
        left_out=("dims", "depth", "width"),
    ),
    Command(
        name="table",
        summary="κ(1), κ′(1), λ1 and λ̄: Table 1 of arXiv:2604.26898, or one for other parameters",
        description="Covariance kernel and exponents for activations φ, dimensions d and biases σ = σ_U = σ_W, as in "
        "Table 1 of arXiv:2604.26898.",
        sources=(_table_number, exponents.table),
        jobs=table_jobs,
        flags={"bias_stds": "bias-std"},
        symbols={"activations": "φ", "dims": "D", "bias_stds": "σ"},
    ),
)
