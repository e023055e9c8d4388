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
        description="Tokens with noise of their own and no common noise, under softmax and unnormalised attention. The "
        "temperature rises step by step from an ordered state, and falls from the uniform law; the order parameter is "
        "compared with the stationary states of infinitely many tokens. Fluctuations above the critical temperature "
        "measure that temperature. With more replicas it continues from the file it wrote.",
        sources=(hysteresis.run,),
        jobs=jobs,
        symbols={"attentions": "NAME", "shares": "SHARE"},
    ),
)
