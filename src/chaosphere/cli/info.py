"""The command `chaosphere info`."""

from __future__ import annotations

from typing import Any

from chaosphere.common.config import show_config


def add(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "info",
        help="print version, instruction sets, threads, compiler",
        description="Print the version, the instruction sets of this machine, the threads and the compiler.",
    )
    parser.set_defaults(run=lambda parsed: show_config())
