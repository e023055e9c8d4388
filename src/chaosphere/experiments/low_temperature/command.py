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
        summary="tokens on the circle under general Q, K and V as β grows, beside their projection",
        description="Tokens on the circle under softmax attention with general matrices Q, K and V, without noise. At "
        "low temperature their law comes to that of the projections of the start onto the leading eigenvector of "
        "VKᵀQ. The study takes the Wasserstein distance of the two over β and time, and the distance of each token "
        "from the limit β → ∞. With more replicas it continues from the file it wrote.",
        sources=(runs.run,),
        jobs=jobs,
        symbols={"betas": "BETA"},
        flags={"betas": "beta"},
    ),
)
