"""The command `chaosphere depth-width`."""

from __future__ import annotations

from typing import Any

from chaosphere.experiments import depth_width as experiment
from chaosphere.experiments import models
from chaosphere.experiments.command import Command, Job, Options, call, default
from chaosphere.experiments.depth_width import runs


def jobs(options: Options) -> list[Job]:
    """Return the one study."""
    parts = {"mlp": call(models.mlp, options), "attention": call(models.attention, options)}

    def run(**shared: Any) -> Any:
        return call(experiment.run, options, **parts, **shared)

    return [
        Job(
            name="depth-width",
            run=run,
            claims=experiment.claims,
            table=experiment.table,
            draw=experiment.draw,
            n_steps=default(runs.run, "n_replicas", options),
            unit="replicas",
        )
    ]


COMMANDS = (
    Command(
        name="depth-width",
        summary="distance of networks of depth L and width m from their limit, under the coupling of the paper",
        description="How fast deep and wide networks approach their limit. The command measures the mean square "
        "distance, uniform in time, of networks of several depths and widths from the limiting equation under the "
        "same noise. It fits the exponents in L and in m, and tests whether the two limits commute. With more "
        "--replicas it continues from the file it wrote.",
        sources=(models.attention, models.mlp, runs.run),
        jobs=jobs,
        left_out=("mlp", "attention"),
        may_be_empty=("widths",),
        symbols={"n_tokens": "N", "depths": "L", "widths": "M"},
    ),
)
