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
        summary="two solvers of the mean-field limit on the circle, compared with each other and with the pair "
        "equation",
        description="The mean-field limit on the circle, computed by two methods under the same noise: by its "
        "density, and by weighted nodes. The command measures the difference of the two methods and its orders, the "
        "conservation of mass, the convergence in the number of nodes for the activation and for relu, and compares "
        "pairs of tokens, averaged over the noise, with the pair equation.",
        sources=(runs.run,),
        jobs=jobs,
        symbols={"n_steps": "L", "n_nodes": "N"},
    ),
)
