"""Bars of progress: in a terminal and in a notebook; nothing where the output goes to a file."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from chaosphere.common import checks


def bar(total: int, *, initial: int = 0, unit: str) -> Any:
    """Return a bar of tqdm with the time that is left, to be entered and advanced by `update(n)`.

    It is drawn on stderr where that is a terminal, and in the cell of a notebook. Redirected into a file or a pipe it
    writes nothing.

    Raises
    ------
    ImportError
        If tqdm is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without ipywidgets shows a bar of text
        tqdm = checks.extra("tqdm.auto", "progress").tqdm
    return tqdm(total=total, initial=initial, unit=unit, disable=not (_is_terminal() or _is_notebook()))


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _is_notebook() -> bool:
    """Whether this process is the kernel of a notebook; its stderr is no terminal, and is shown all the same."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config
