"""The command line: `chaosphere chaos | depth-width | mean-field | sync | run FILE | figure N | table 1 | info`."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence

from chaosphere import SimulationError, __version__
from chaosphere.cli import experiment, info, run
from chaosphere.cli.progress import say
from chaosphere.experiments import registry


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0 when it ran, 1 when it failed on the way, 2 for bad arguments."""
    _open_streams()
    try:
        try:
            return _main(arguments)
        finally:
            sys.stdout.flush()
    except OSError as error:  # of standard output alone: the rest is handled
        # What is left to write would fail again as Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            return 128 + signal.SIGPIPE
        say(f"chaosphere: error: standard output: {error.strerror}")
        return 1


def _open_streams() -> None:
    """Give closed streams a place to write to, and encodings an escape for the letters that they lack."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # else the first file that is opened takes the number, and messages are written into it
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="chaosphere",
        description="Interacting particles on the unit sphere: the tokens of a deep transformer at initialisation.",
        epilog="chaosphere COMMAND --help lists the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"chaosphere {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for command in registry.commands():
        experiment.add(subparsers, command)
    run.add(subparsers)
    info.add(subparsers)
    return parser


def _main(arguments: Sequence[str] | None) -> int:
    options = make_parser().parse_args(arguments)
    try:
        options.run(options)
    except BrokenPipeError:  # the reader of standard output left
        raise
    except (ValueError, TypeError, OverflowError, ImportError) as error:
        return _fail(options, error, code=2)
    except (OSError, MemoryError, SimulationError, ArithmeticError) as error:
        return _fail(options, error, code=1)
    except KeyboardInterrupt as error:
        say(f"chaosphere {options.command}: {str(error) or _INTERRUPTED}")
        return 130
    return 0


_INTERRUPTED = "interrupted; the same command continues from the files it wrote"


def _fail(options: argparse.Namespace, error: Exception, *, code: int) -> int:
    text = " ".join(str(error).split()) or type(error).__name__
    say(f"chaosphere {options.command}: error: {text}")
    return code
