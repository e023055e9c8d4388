"""The command `chaosphere low-temperature`."""

from __future__ import annotations

from chaosphere.experiments.command import Command, Job, Options, of_replicas
from chaosphere.experiments.low_temperature import drawing, runs


def jobs(options: Options) -> list[Job]:
    """Return the one study."""
    return [of_replicas(runs, options, name="low-temperature", draw=drawing.draw)]


COMMANDS = (
    Command(
        name="low-temperature",
        summary="tokens under general Q, K and V as β grows, compared with their projections",
        description="Uniform tokens under softmax attention with general matrices Q, K and V, without noise. For "
        "large β the tokens come near their projections onto the leading eigenspace of VKᵀQ. The command measures the "
        "Wasserstein distance between the tokens and the projections of their starts, over β and time, and the "
        "distance of each token from the limit β → ∞. It repeats each run with a quarter of the tokens, to show the "
        "effect of their number. With more --replicas the command continues from the file it wrote.",
        sources=(runs.run,),
        jobs=jobs,
        symbols={"betas": "BETA"},
        flags={"betas": "beta"},
    ),
)
