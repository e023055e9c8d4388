"""The command `chaosphere attractors`."""

from __future__ import annotations

from chaosphere.experiments.attractors import drawing, runs
from chaosphere.experiments.command import Command, Job, Options, of_replicas


def jobs(options: Options) -> list[Job]:
    """Return the one study."""
    return [of_replicas(runs, options, name="attractors", draw=drawing.draw)]


COMMANDS = (
    Command(
        name="attractors",
        summary="where tokens that started ever earlier under one noise are: at a point, at two points, or spread out",
        description="Random attractors of three noises, without attention. Runs start at −T/5, −2T/5, … −T, each from "
        "tokens of its own, and end at time 0 under the same noise. If close tokens come together, all runs end at "
        "one random point, or under an odd noise at two opposite ones. If close tokens separate, the ends of a run "
        "are spread over a random measure, whose correlation dimension is compared with theory. With more --replicas "
        "the command continues from the file it wrote.",
        sources=(runs.run,),
        jobs=jobs,
    ),
)
