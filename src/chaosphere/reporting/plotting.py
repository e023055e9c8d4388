"""The style of all pictures, at the size of a paper's column, and the pictures of studies."""

from __future__ import annotations

import io
import os
import warnings
from typing import Any

from chaosphere.common import checks, files

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by colour-blind readers and in grey
MARKERS = ("o", "s", "^", "D")


def require() -> None:
    """Raise ImportError unless pictures can be drawn here; called before long work."""
    checks.extra("matplotlib.figure", "plot")


def figure(width: float = 5.0, height: float = 3.6, *, n_columns: int = 1) -> tuple[Any, Any]:
    """Return a Matplotlib figure in inches and its axes, drawn without a display."""
    module = checks.extra("matplotlib.figure", "plot")
    canvas = module.Figure(figsize=(width, height), layout="constrained")
    return canvas, canvas.subplots(1, n_columns)


def write(canvas: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG at 200 dots per inch; the file is whole or what it was before."""
    files.replace(files.local(path, "path"), lambda stream: canvas.savefig(stream, dpi=200, format="png"))


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
