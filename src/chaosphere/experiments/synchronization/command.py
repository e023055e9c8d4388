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
        summary="decay of the energy, compared with the bound of the theorem, the pair equation and the sharp rate",
        description="Synchronization by noise: the mean and the median energy over time for several activations. The "
        "mean is compared with the bound of the synchronization theorem, where it applies, and without attention with "
        "the exact expectation and its sharp rate. The median is compared with the exponent λ1 − δ of a cluster.",
        sources=(runs.run,),
        jobs=jobs,
        symbols={"activations": "φ", "n_tokens": "N"},
    ),
)
