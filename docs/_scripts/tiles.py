"""The drawing of blocks, chunks and micro-panels: how one call of attention is cut."""

import re

import drawing
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from chaosphere.plot.style import COLOURS

TUNING = drawing.ROOT / "csrc" / "tuning.h"
READS = [TUNING, drawing.HERE / "drawing.py"]
N_BLOCKS, CHOSEN = 7, (1, 4)  # of the first panel, and the pair of blocks that the second one shows
N_CHUNKS = 6  # drawn; there are more


def constant(name: str) -> int:
    """Return a number of csrc/tuning.h."""
    return int(re.search(rf"#define {name} (\d+)", TUNING.read_text())[1])


def cells(axis, n_rows: int, n_columns: int, *, shade) -> None:
    """Draw a grid whose cell (i, j) has the colour shade(i, j), with the first row on top."""
    for i in range(n_rows):
        for j in range(n_columns):
            axis.add_patch(
                Rectangle((j, n_rows - 1 - i), 1, 1, facecolor=shade(i, j), edgecolor=drawing.INK, linewidth=0.5)
            )
    axis.set(xlim=(-0.2, n_columns + 0.2), ylim=(-0.2, n_rows + 0.2), aspect="auto")
    axis.axis("off")


def all_pairs(axis) -> None:
    """Draw all pairs of blocks; those on and above the diagonal are computed."""

    def shade(i: int, j: int) -> str:
        return COLOURS[1] if (i, j) == CHOSEN else drawing.PAPER if j >= i else "white"

    cells(axis, N_BLOCKS, N_BLOCKS, shade=shade)
    axis.set_title("Pairs of blocks", fontsize=9)
    block = constant("CHS_BLOCK_COLUMNS")
    axis.text(
        N_BLOCKS / 2,
        -0.35,
        f"{block} × {block} tokens each;\nshaded: computed, for both",
        ha="center",
        va="top",
        fontsize=7.5,
    )


def one_pair(axis) -> None:
    """Draw one pair of blocks: its chunks of rows, and micro-panels in one of them."""
    cells(axis, N_CHUNKS, 8, shade=lambda i, j: COLOURS[1] if (i, j) == (1, 2) else "#fbe3d4" if i == 1 else "white")
    axis.set_title("One pair of blocks", fontsize=9)
    axis.text(4, -0.35, "rows i; columns j.\nTinted: a chunk of rows", ha="center", va="top", fontsize=8)


def one_panel(axis) -> None:
    """Draw one micro-panel: sums in registers, one row of i beside two vectors of j."""
    cells(axis, 8, 2, shade=lambda i, j: "#fbe3d4")
    for i in range(8):
        for j in range(2):
            axis.text(j + 0.5, 7.5 - i, "sums", ha="center", va="center", fontsize=6.5)
    axis.set_title("One micro-panel", fontsize=9)
    axis.text(1, -0.35, "8 rows of i ×\n2 vectors of j", ha="center", va="top", fontsize=8)


def markdown() -> str:
    """Return the drawing."""
    figure = Figure(figsize=(6.4, 2.6))
    axes = figure.subplots(1, 3, width_ratios=[1, 1.15, 0.55])
    figure.subplots_adjust(left=0.02, right=0.98, top=0.9, bottom=0.2, wspace=0.25)
    for axis, panel in zip(axes, (all_pairs, one_pair, one_panel), strict=True):
        panel(axis)
    return drawing.markdown(
        drawing.write(figure, "tiles"),
        "A triangle of pairs of blocks, one pair cut into chunks of rows, and a micro-panel of 8 rows by 2 vectors",
        "From left to right: the pairs of blocks of a call, one pair (orange on the left) with its chunks of rows, and "
        "one micro-panel (orange in the middle) as it is for AVX-512, whose sums stay in registers.",
    )
