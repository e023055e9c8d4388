"""The command `chaosphere mean-field`."""

from __future__ import annotations

from typing import Any

from chaosphere.experiments import mean_field as experiment
from chaosphere.experiments.command import Command, Job, Options
from chaosphere.experiments.mean_field import runs
from chaosphere.experiments.pieces import OnStep


def jobs(options: Options) -> list[Job]:
    """Return the one study."""

    def run(*, on_step: OnStep, **shared: Any) -> Any:
        return experiment.run(**options, on_part=on_step, **shared)

    return [
        Job(
            name="mean-field",
            run=run,
            claims=experiment.claims,
            table=experiment.table,
            draw=experiment.draw,
            n_steps=experiment.N_PARTS,
            unit="parts",
        )
    ]


COMMANDS = (
    Command(
        name="mean-field",
        summary="the limit of infinitely many tokens on the circle: its density, its nodes, its pairs",
        description="The mean-field limit on the circle, solved for its density and by nodes under the same noise: "
        "their difference and its orders, the mass, the convergence of the nodes for the activation and for relu, and "
        "pairs averaged over the noise beside the pair equation.",
        sources=(runs.run,),
        jobs=jobs,
        symbols={"n_steps": "L", "n_nodes": "N"},
    ),
)
