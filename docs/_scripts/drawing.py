"""Where the drawings of the site are written, and their size of letters."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOLDER = HERE.parent / "generated"
INK, PAPER = "#333333", "#e8f0f7"


def write(figure: Figure, name: str) -> str:
    """Write a figure as docs/generated/NAME.svg; return its address within the site."""
    FOLDER.mkdir(exist_ok=True)
    # Without a date and with fixed names the file is the same at every build.
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})
    return f"/generated/{name}.svg"


def markdown(address: str, alternative: str, caption: str) -> str:
    """Return a figure of a page, with what it shows in words for those who do not see it."""
    return f"```{{figure}} {address}\n:alt: {alternative}\n\n{caption}\n```\n"
