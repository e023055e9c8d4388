"""The command `chaosphere sync`."""

from __future__ import annotations

from typing import Any

from chaosphere.experiments import synchronization as experiment
from chaosphere.experiments.command import Command, Job, Options, default
from chaosphere.experiments.pieces import OnStep
from chaosphere.experiments.synchronization import runs


def jobs(options: Options) -> list[Job]:
    """Return the one study."""

    def run(*, on_step: OnStep, **shared: Any) -> Any:
        return experiment.run(**options, on_run=on_step, **shared)

    return [
        Job(
            name="sync",
            run=run,
            claims=experiment.claims,
            table=experiment.table,
            draw=experiment.draw,
            n_steps=len(default(runs.run, "activations", options)),
            unit="activations",
        )
    ]


COMMANDS = (
    Command(
        name="sync",
        summary="decay of the energy beside the theorem's bound, the pair equation and the linear theory",
        description="Synchronization by noise: the mean and the median energy over time for several activations. The "
        "mean is beside the exact expectation and its sharp rate (without attention) and the bound of the theorem "
        "where it applies, the median beside the exponent λ1 − δ of a cluster.",
        sources=(runs.run,),
        jobs=jobs,
        symbols={"activations": "φ", "n_tokens": "N"},
    ),
)
