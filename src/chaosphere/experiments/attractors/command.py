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
        summary="where a noise drives tokens from ever earlier starts: a point, a pair of points or a measure",
        description="Pull-back runs under three noises without attention. Runs start from −T/5, −2T/5, … −T, each from "
        "tokens of its own, and end at time 0 under the same noise. Where close tokens come together the ends are one "
        "random point, or two opposite ones for an odd noise; where they separate, a random measure, whose correlation "
        "dimension is compared with theory. With more replicas it continues from the file it wrote.",
        sources=(runs.run,),
        jobs=jobs,
    ),
)
