"""The style of all pictures, at the size of a paper's column, and the files that they are written to."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaosphere.common import checks, files

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by colour-blind readers and in grey
MARKERS = ("o", "s", "^", "D")
PICTURES = (".png", ".pdf", ".svg")  # what a picture can be written as


def require() -> None:
    """Raise ImportError unless pictures can be drawn here; called before long work."""
    checks.extra("matplotlib.figure", "plot")


def figure(width: float = 5.0, height: float = 3.6, *, n_columns: int = 1) -> tuple[Any, Any]:
    """Return a Matplotlib figure in inches and its axes, drawn without a display."""
    module = checks.extra("matplotlib.figure", "plot")
    canvas = module.Figure(figsize=(width, height), layout="constrained")
    return canvas, canvas.subplots(1, n_columns)


def axes(ax: Any, *, width: float = 5.0, height: float = 3.6) -> Axes:
    """Return the axes that a user passes, or for None those of a new figure of pyplot, which a notebook shows.

    Raises
    ------
    TypeError
        If they are not Matplotlib's, or not flat and rectangular.
    """
    if ax is None:
        pyplot = checks.extra("matplotlib.pyplot", "plot")
        panel: Axes = pyplot.subplots(figsize=(width, height), layout="constrained")[1]
        return panel
    panel = check_axes(ax)
    if panel.name != "rectilinear":
        raise TypeError(f"ax must have the projection 'rectilinear', that of plt.subplots(), got {panel.name!r}")
    return panel


def check_axes(ax: Any) -> Axes:
    """Return the axes that a user passes.

    Raises
    ------
    TypeError
        If they are not Matplotlib's.
    """
    if not isinstance(ax, checks.extra("matplotlib.axes", "plot").Axes):
        raise TypeError(f"ax must be an Axes of Matplotlib, one of what plt.subplots() gives, got {type(ax).__name__}")
    panel: Axes = ax
    return panel


def check_path(path: Any, *, suffixes: Sequence[str]) -> Path:
    """Return the path of a file to be written, whose suffix says its kind; called before work.

    Raises
    ------
    TypeError, ValueError
        If it is not a path, its suffix is unknown, or a file cannot be written there.
    """
    target = files.local(path, "path")
    if target.suffix.lower() not in suffixes:
        raise ValueError(f"path must end in {' or '.join(suffixes)}, got {os.fspath(path)!r}")
    files.check_writable(target, "path")
    return target


def save(ax: Any, path: str | os.PathLike[str]) -> Path:
    """Write the figure of some axes to a file, whose suffix says its kind: .png, .pdf or .svg.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Of the figure; others of its axes are in the file, too.
    path : path
        Ends in .png, .pdf or .svg.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    TypeError, ValueError
        If ax is not a Matplotlib Axes, or nothing can be written to the path; before anything is drawn.
    OSError
        If the disk is full; what was there before stays.

    See Also
    --------
    chaosphere.plot.tokens : Draw tokens.
    chaosphere.plot.observables : Draw observables over time.
    chaosphere.plot.clip : Write an animation of a run.

    Notes
    -----
    PNG has 200 dots per inch. The file is whole or what it was before, whenever the process dies.

    Examples
    --------
    >>> import chaosphere as cs
    >>> ax = cs.plot.tokens(cs.sample_uniform(100, 2, rng=0))
    >>> cs.plot.save(ax, "tokens.jpg")
    Traceback (most recent call last):
        ...
    ValueError: path must end in .png or .pdf or .svg, got 'tokens.jpg'
    """
    target = check_path(path, suffixes=PICTURES)
    write(check_axes(ax).figure, target)
    return target


def write(canvas: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG at 200 dots per inch, PDF or SVG, by the suffix; the file is whole or what it was."""
    target = check_path(path, suffixes=PICTURES)
    kind = target.suffix.lower().removeprefix(".")
    files.replace(target, lambda stream: canvas.savefig(stream, dpi=200, format=kind))


def label_ladder(panel: Any, values: Any) -> None:
    """Label the values of a ladder, eight of them at most, on the x-axis of a panel in logarithmic scale."""
    shown = values[:: -(-len(values) // 8)]
    panel.set_xticks(shown, [f"{value:.5g}" for value in shown])
    panel.set_xticks([], minor=True)


def check_text(text: str, name: str) -> None:
    """Raise ValueError unless a text can be drawn: its parts between dollar signs are formulas; called before work."""
    canvas = checks.extra("matplotlib.figure", "plot").Figure(figsize=(1, 1))
    canvas.text(0, 0, text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a letter that the font lacks is drawn as a box
            canvas.savefig(io.BytesIO(), format="png")
    except Exception as error:  # Matplotlib does not say which errors its parser of formulas raises
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{name} must be text that can be drawn, with formulas between dollar signs (\\$ is a dollar sign), "
            f"got {text!r}: {reason}"
        ) from error


def plain(text: str) -> str:
    """Return a text as Matplotlib draws it letter by letter, without formulas."""
    return text.replace("$", r"\$")
