"""The style of all pictures, at the size of a paper's column, and the files that they are written to."""

from __future__ import annotations

import io
import os
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chaosphere.common import checks, files, messages
from chaosphere.common.contexts import contextmanager
from chaosphere.common.reprs import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ONE_COLUMN, TWO_COLUMNS = 3.4, 7.0  # inches: the widths of pictures in print
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by colour-blind readers
MARKERS = ("o", "s", "^", "D")  # and in grey
FONT_SIZE = 7.0  # points, of every text
PICTURES = (".png", ".pdf", ".svg")  # what a picture can be written as
_DOTS_PER_INCH = 300
_LETTERS_PER_INCH = 21  # of the text in that size, on average
_SIZES = ("font.size", "axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")
_STYLE = {
    **dict.fromkeys((*_SIZES, "legend.title_fontsize", "figure.titlesize"), FONT_SIZE),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    **dict.fromkeys(("xtick.minor.width", "ytick.minor.width"), 0.4),
    "axes.titlepad": 3.0,
    "axes.labelpad": 2.0,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.labelspacing": 0.3,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.0,
    "errorbar.capsize": 1.5,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.4,
}
_GREEK = {"β": r"\beta", "δ": r"\delta", "σ": r"\sigma", "τ": r"\tau"}
_FORMULA = re.compile(r"(\$[^$]*\$)")
_VALUE = re.compile(r"(?<!\w)([A-Za-zβδστ])(_[A-Z])? = ([-−]?\d+(?:\.\d+)?(?:\^\d+)?)(?![\w.^])")


def require() -> None:
    """Raise ImportError unless pictures can be drawn here; called before long work."""
    checks.extra("matplotlib.figure", "plot")


def figure(width: float, height: float) -> tuple[Any, Any]:
    """Return a Matplotlib figure in inches and its axes, drawn without a display."""
    module = checks.extra("matplotlib.figure", "plot")
    canvas = module.Figure(figsize=(width, height), layout="constrained")
    return canvas, canvas.subplots()


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
        raise ValueError(f"path must end in {' or '.join(suffixes)}, got {messages.shown(os.fspath(path))}")
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
    PNG has 300 dots per inch. The file is whole or what it was before, whenever the process dies.

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


@contextmanager
def picture(path: str | os.PathLike[str], *, width: float, height: float) -> Iterator[Any]:
    """Give a figure in the style of all pictures, and write it where the block ends.

    Parameters
    ----------
    path : path
        See `write`.
    width, height : float
        In inches; ONE_COLUMN or TWO_COLUMNS wide.

    Yields
    ------
    Figure
        Of Matplotlib.
    """
    target = check_path(path, suffixes=PICTURES)
    module = checks.extra("matplotlib", "plot")
    with module.rc_context(_STYLE):
        canvas = checks.extra("matplotlib.figure", "plot").Figure(figsize=(width, height), layout="constrained")
        yield canvas
        write(canvas, target)


def write(canvas: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, PDF or SVG, as its path's suffix says; the file is whole or what it was before.

    Raises
    ------
    TypeError, ValueError
        If nothing of the kind can be written there.
    """
    target = check_path(path, suffixes=PICTURES)
    kind = target.suffix.lower().removeprefix(".")
    files.replace(target, lambda stream: canvas.savefig(stream, dpi=_DOTS_PER_INCH, format=kind))


def headline(canvas: Any, text: str) -> None:
    """Set the title of a figure, in lines that are no wider than it; its values are formulas."""
    n_letters = round(canvas.get_figwidth() * _LETTERS_PER_INCH)
    # Neither a value is parted from its name nor a formula.
    kept = _FORMULA.sub(lambda match: match[0].replace(" ", "\0"), text)
    wrapper = textwrap.TextWrapper(n_letters, break_long_words=False, break_on_hyphens=False)
    lines = [wrapper.wrap(line.replace(" = ", "\0=\0")) for line in kept.splitlines()]
    joined = "\n".join(line for part in lines for line in part)
    canvas.suptitle(formulas(joined.replace("\0", " ")))


def formulas(text: str) -> str:
    r"""Return a text in which values of symbols are formulas of Matplotlib; formulas that it has stay.

    Examples
    --------
    >>> formulas("tanh, σ_U = 0.3, N = 64")
    'tanh, $\\sigma_U = 0.3$, $N = 64$'
    >>> formulas("T = 10^12")
    '$T = 10^{12}$'
    """

    def formula(match: re.Match[str]) -> str:
        letter, index, value = match.groups()
        number, _, power = value.replace("−", "-").partition("^")
        return f"${_GREEK.get(letter, letter)}{index or ''} = {number}{f'^{{{power}}}' if power else ''}$"

    plain_or_formula = _FORMULA.split(text)  # in turn
    plain_or_formula[::2] = [_VALUE.sub(formula, part) for part in plain_or_formula[::2]]
    return "".join(plain_or_formula)


def bars(value: Any, low: Any, high: Any) -> Any:
    """Return the lengths of error bars from the ends of intervals, none where there is no interval."""
    return np.nan_to_num(np.stack([value - low, high - value]))


def legend_above(panel: Any, title: str | None = None, *, n_columns: int = 1) -> None:
    """Set the legend of a panel above it, out of the data, in the place of a title."""
    place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.2, "borderpad": 0.0}
    panel.legend(title=title, ncols=n_columns, alignment="left", **place)


def legend_below(canvas: Any, handles: dict[str, Any], *, n_columns: int) -> None:
    """Set the legend of a figure below its panels, from handles by their labels."""
    canvas.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=n_columns)


def label_decades(axis: Any) -> None:
    """Label round values on a logarithmic axis of Matplotlib that spans few decades."""
    low, high = sorted(axis.get_view_interval())
    mantissas = (1, 2, 5) if high > 8 * low else (1, 1.5, 2, 3, 4, 6, 8)
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    values = [value for value in np.outer(decades, mantissas).ravel() if low <= value <= high]
    axis.set_ticks(values, [f"{value:.3g}" for value in values])
    axis.set_ticks([], minor=True)


def label_ladder(panel: Any, values: Any) -> None:
    """Set the ticks of a logarithmic x-axis at the values of a ladder, and label eight of them at most."""
    every = -(-len(values) // 8)
    panel.set_xticks(values, [f"{value:.5g}" if k % every == 0 else "" for k, value in enumerate(values)])
    panel.set_xticks([], minor=True)


def check_text(text: Any, name: str) -> None:
    """Raise unless a text can be drawn: its parts between dollar signs are formulas; called before work.

    Raises
    ------
    TypeError, ValueError
        If it is not a str, or Matplotlib cannot draw it.
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str, got {short(text)}")
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
            f"got {messages.shown(text)}: {reason}"
        ) from error


def plain(text: str) -> str:
    """Return a text as Matplotlib draws it letter by letter, without formulas."""
    return text.replace("$", r"\$")
