"""The command `chaosphere phases`."""

from __future__ import annotations

from chaosphere.experiments.command import Command, Job, Options, of_replicas
from chaosphere.experiments.phases import drawing, hysteresis


def jobs(options: Options) -> list[Job]:
    """Return the one study."""
    return [of_replicas(hysteresis, options, name="phases", draw=drawing.draw_hysteresis)]


COMMANDS = (
    Command(
        name="phases",
        summary="order and disorder of tokens with noise of their own, as the temperature rises and falls",
        description="Tokens that each have noise of their own, without a common noise, under softmax and unnormalised "
        "attention. The temperature rises step by step from an ordered state, and falls from the uniform law. The "
        "order parameter is compared with the stationary states of infinitely many tokens. The critical temperature "
        "is measured by the fluctuations above it. With more --replicas the command continues from the file it wrote.",
        sources=(hysteresis.run,),
        jobs=jobs,
        symbols={"attentions": "NAME", "shares": "SHARE"},
    ),
)
