"""The drawing of the round-robin pair schedule, from the schedule that the kernels use."""

import drawing
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from chaosphere.kernels import schedule

READS = [drawing.HERE / "drawing.py"]
N_GROUPS, FOLLOWED, N_QUEUES = 9, 0, 2


def markdown() -> str:
    """Return the drawing: a row for each round, a column for each pair in it."""
    rounds: dict[int, list[tuple[int, int]]] = {}
    for item in schedule.items(N_GROUPS, True):
        if item.kind == "pair":
            rounds.setdefault(item.round, []).append((item.i, item.j))
    n_pairs = len(rounds[0])
    edges = [queue * n_pairs // N_QUEUES for queue in range(1, N_QUEUES)]
    figure = Figure(figsize=(4.4, 3.6))
    axis = figure.add_axes((0.16, 0.02, 0.82, 0.84))
    for number, pairs in rounds.items():
        axis.text(-0.15, number, f"round {number}", ha="right", va="center", fontsize=8)
        for m, pair in enumerate(pairs):
            face = "#fbe3d4" if FOLLOWED in pair else drawing.PAPER
            axis.add_patch(Rectangle((m, number - 0.5), 1, 1, facecolor=face, edgecolor="white", linewidth=1.5))
            axis.text(
                m + 0.5, number, f"{pair[0]}–{pair[1]}", ha="center", va="center", fontsize=8.5, color=drawing.INK
            )
    for edge in edges:
        axis.axvline(edge, color=drawing.INK, linewidth=1.2, linestyle="--")
    for queue, (start, stop) in enumerate(zip([0, *edges], [*edges, n_pairs], strict=True)):
        axis.text((start + stop) / 2, -0.75, f"queue {queue}", ha="center", va="bottom", fontsize=8)
    axis.set(xlim=(0, n_pairs), ylim=(len(rounds) - 0.5, -0.5))
    axis.axis("off")
    return drawing.markdown(
        drawing.write(figure, "rounds"),
        f"The {len(rounds)} rounds of the schedule of {N_GROUPS} groups, in two queues",
        f"The schedule of {N_GROUPS} groups. Each pair of groups is in one round, and each group in one pair of every "
        f"round. Group {FOLLOWED} is tinted: it moves by one place a round, so it mostly stays in its queue.",
    )
