"""The command `chaosphere uniform-in-time`."""

from __future__ import annotations

from chaosphere.experiments.command import Command, Job, Options, of_replicas
from chaosphere.experiments.uniform_in_time import drawing, runs


def jobs(options: Options) -> list[Job]:
    """Return the one study."""
    return [of_replicas(runs, options, name="uniform-in-time", draw=drawing.draw)]


COMMANDS = (
    Command(
        name="uniform-in-time",
        summary="the distance of N tokens from the mean-field limit as the horizon grows",
        description="Tokens on the circle and their mean-field limit under the same noise, over long times. The "
        "command measures E sup_{t ≤ T} W2² as T grows: with a noise that synchronizes, without noise, and with noise "
        "and repulsion. Chaos is uniform in time if this number stops growing over the second half of the horizon, "
        "and falls with N. With more --replicas the command continues from the file it wrote.",
        sources=(runs.run,),
        jobs=jobs,
        symbols={"tokens": "N"},
    ),
)
