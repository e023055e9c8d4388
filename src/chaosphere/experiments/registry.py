"""The experiments that the command line offers."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from chaosphere.experiments.command import Command

# Folders beside this file, in the order of the help; COMMANDS in their module `command` are the commands.
EXPERIMENTS = (
    "chaos",
    "depth_width",
    "mean_field",
    "synchronization",
    "attractors",
    "uniform_in_time",
    "causal",
    "metastability",
    "random_attention",
    "low_temperature",
    "phases",
    "multilevel",
    "training",
    "paper",
)


def commands() -> Iterator[Command]:
    """Iterate over the commands of all experiments."""
    for name in EXPERIMENTS:
        yield from importlib.import_module(f"chaosphere.experiments.{name}.command").COMMANDS
