"""The command line: `chaosphere chaos | depth-width | mean-field | sync | run FILE | figure N | table 1 | info`."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from chaosphere import SimulationError, __version__
from chaosphere.cli import experiment, info, run
from chaosphere.cli.progress import say
from chaosphere.cli.ranks import AllRanks, all_ranks
from chaosphere.experiments import registry


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0 when it ran, 1 when it failed on the way, 2 for bad arguments."""
    _open_streams()
    try:
        try:
            return _over_ranks(arguments)
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
    sys.stdout = sys.stdout or io.TextIOWrapper(io.FileIO(os.devnull, "w"))
    sys.stderr = sys.stderr or io.TextIOWrapper(io.FileIO(os.devnull, "w"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Parser(argparse.ArgumentParser):
    """A parser without abbreviations, as `all_ranks` looks for an option by its name; so are those of commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
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


def _over_ranks(arguments: Sequence[str] | None) -> int:
    """Run one command, on this process or on all ranks of `mpiexec`."""
    try:
        ranks = all_ranks(arguments)
    except ImportError as error:
        return _said(f"chaosphere: error: {error}", 2)
    if ranks is None:
        return _main(arguments, _said)
    return _on_rank(ranks, arguments)


def _on_rank(ranks: AllRanks, arguments: Sequence[str] | None) -> int:
    try:
        code = _main(arguments, ranks.fail)
    except SystemExit:  # of the parser, on all ranks: the first has said what is wrong
        ranks.close()
        raise
    except OSError as error:  # of standard output alone: the rest is handled
        ranks.fail(f"chaosphere: error: standard output: {error.strerror}", 1)
    except BaseException:
        ranks.fail(traceback.format_exc(), 1)
    ranks.close()
    return code


def _said(text: str, code: int) -> int:
    say(text)
    return code


def _main(arguments: Sequence[str] | None, fail: Callable[[str, int], int]) -> int:
    options = make_parser().parse_args(arguments)
    try:
        options.run(options)
    except BrokenPipeError:  # the reader of standard output left
        raise
    except (ValueError, TypeError, OverflowError, ImportError) as error:
        return fail(_line(options, error), 2)
    except (OSError, MemoryError, SimulationError, ArithmeticError) as error:
        return fail(_line(options, error), 1)
    except KeyboardInterrupt as error:
        return fail(f"chaosphere {options.command}: {str(error) or _INTERRUPTED}", 130)
    return 0


_INTERRUPTED = "interrupted; the same command continues from the files it wrote"


def _line(options: argparse.Namespace, error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"chaosphere {options.command}: error: {text}"
