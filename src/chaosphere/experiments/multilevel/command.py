"""The command `chaosphere estimate`."""

from __future__ import annotations

from typing import Any

from chaosphere.experiments.command import Command, Job, Options
from chaosphere.experiments.multilevel import drawing, runs
from chaosphere.experiments.pieces import OnStep


def jobs(options: Options) -> list[Job]:
    """Return the one study."""

    def run(*, on_step: OnStep, **shared: Any) -> Any:
        return runs.run(**options, on_step=on_step, **shared)

    return [
        Job(
            name="estimate",
            run=run,
            claims=runs.claims,
            table=runs.table,
            draw=drawing.draw,
            n_steps=1,
            unit="estimates",
        )
    ]


COMMANDS = (
    Command(
        name="estimate",
        summary="mean energy of infinitely many tokens in the limiting equation, to a tolerance",
        description="The mean energy at the end of a run of the limiting equation, for infinitely many i.i.d. uniform "
        "tokens, by multilevel Monte Carlo over the number of tokens and of steps. Without attention the result is "
        "compared with the exact number from the pair equation. While the command runs, a folder beside the dataset "
        "keeps the samples; the same command continues from it.",
        sources=(runs.run,),
        jobs=jobs,
        symbols={"activation": "φ"},
    ),
)
