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
        summary="tokens under general Q, K and V as β grows, beside their projection",
        description="Tokens of the uniform law under softmax attention with general matrices Q, K and V, without "
        "noise. At low temperature their law comes to that of the projections of the start onto the leading "
        "eigenspace of VKᵀQ. The study takes the Wasserstein distance of the two over β and time, and the distance of "
        "each token from the limit β → ∞. It repeats each run with a quarter of the tokens, to show what their number "
        "does. With more replicas it continues from the file it wrote.",
        sources=(runs.run,),
        jobs=jobs,
        symbols={"betas": "BETA"},
        flags={"betas": "beta"},
    ),
)
