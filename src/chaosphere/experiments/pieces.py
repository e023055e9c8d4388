"""The one loop of all experiments: it computes the pieces of a study that are missing, and writes them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from chaosphere.common import files
from chaosphere.reporting import netcdf

Piece = TypeVar("Piece")
OnStep = Callable[[], object] | None
_MAX_SHARE = 0.03  # of the time, for writing


def grow(
    compute: Callable[[int], Piece],
    *,
    n_pieces: int,
    identity: str,
    to_dataset: Callable[[Sequence[Piece]], Any],
    from_dataset: Callable[[Any], list[Piece]],
    store: str | os.PathLike[str] | None,
    on_step: OnStep = None,
    n_inner_steps: int = 0,
    n_least: int = 1,
) -> Any:
    """Return the dataset of a study, computed piece by piece; a stopped study resumes from its file.

    Parameters
    ----------
    compute : callable
        Called with 0, 1, …; returns that piece of the study, such as one replica. A piece depends on its number alone,
        so that a resumed study is bitwise identical to one that was never stopped.
    n_pieces : int
    identity : str
        What decides the numbers of the study, as JSON; see `netcdf.identity`.
    to_dataset : callable
        Takes the first pieces, `n_least` or more of them, and returns their dataset, with the attribute `identity`.
    from_dataset : callable
        Takes a dataset that `to_dataset` made, and returns its pieces.
    store : path or None
        NetCDF file that grows with the pieces. Pieces of the same study in it are not computed again. It is written
        after a piece unless writing would take more than 3 % of the time, and where the study ends or is stopped.
    on_step : callable, optional
        Called after every piece, and at once for a piece that is in the file.
    n_inner_steps : int
        Where `compute` itself calls `on_step` several times within a piece: how often. The loop then calls it for the
        pieces in the file only.
    n_least : int
        Fewest pieces that make a dataset.

    Raises
    ------
    ValueError
        If the file cannot be written, or holds another study.
    OSError
        If another process writes it.
    """
    if _checks_alone.get():
        raise _Checked
    with netcdf.locked(store, identity) as (path, stored):
        pieces = [] if stored is None else from_dataset(stored)
        n_stored = n_written = len(pieces)
        written_at, cost = -math.inf, 0.0

        def write() -> None:
            nonlocal n_written, written_at, cost
            if path is None or len(pieces) < max(n_least, n_written + 1):
                return
            begin = time.monotonic()
            netcdf.save(to_dataset(pieces), path)
            n_written, written_at = len(pieces), time.monotonic()
            cost = written_at - begin

        try:
            for index in range(n_pieces):
                is_stored = index < n_stored
                if not is_stored:
                    pieces.append(compute(index))
                    if time.monotonic() - written_at >= cost / _MAX_SHARE:
                        write()
                if on_step is not None and (is_stored or not n_inner_steps):
                    for _ in range(n_inner_steps or 1):
                        on_step()
        finally:  # also where it is stopped
            write()
    return to_dataset(pieces[:n_pieces])


class _Checked(Exception):
    """A study has passed its checks."""


_checks_alone: ContextVar[bool] = ContextVar("checks_alone", default=False)


def check(run: Callable[[], object]) -> None:
    """Run what a study does before its first piece: its checks.

    Parameters
    ----------
    run : callable
        Runs the study, by `grow`.

    Raises
    ------
    Exception
        What the checks raise.
    """
    token = _checks_alone.set(True)
    try:
        run()
    except _Checked:
        pass
    finally:
        _checks_alone.reset(token)


def checkpoint(store: str | os.PathLike[str] | None) -> Path | None:
    """Return the file beside a store in which `simulate` keeps a piece that is one long run, None without a store.

    It is there only while such a piece is under way or stopped.
    """
    if store is None:
        return None
    path = files.local(store, "store")
    return path.with_name(path.name + ".checkpoint")
