"""Draw the picture of the README, tokens that form clusters: python docs/_scripts/clusters.py [FILE]."""

import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Circle

import chaosphere as cs

PICTURE = Path(__file__).parents[1] / "pictures" / "clusters.png"
TIMES = [0.0, 2.0, 4.0, 20.0]
ROWS = {"attention alone": None, "attention and a shared noise": cs.MLP(width=128, activation="tanh", bias_std=0.3)}


def draw(path):
    """Write the picture: one row for each model, one column for each time."""
    x = cs.sample_uniform(500, 3, rng=0)
    canvas = Figure(figsize=(7.0, 3.9), layout="constrained")
    rows = canvas.subfigures(len(ROWS), 1)
    for part, (title, mlp) in zip(rows, ROWS.items(), strict=True):
        model = cs.Transformer(attention=cs.SoftmaxAttention(beta=25.0), mlp=mlp, depth=200, horizon=TIMES[-1])
        sol = cs.simulate(model, x, rng=7, save_at=TIMES)
        part.suptitle(title, fontsize=9)
        for panel, time, tokens in zip(part.subplots(1, len(TIMES)), sol.state_times, sol.states, strict=True):
            is_in_front = tokens[:, 1] <= 0
            panel.add_patch(Circle((0, 0), 1, facecolor="#f5f5f5", edgecolor="#888888", linewidth=0.6))
            for side, color, order in ((~is_in_front, "#a9c8de", 2), (is_in_front, "#0072b2", 3)):
                panel.scatter(*tokens[side][:, [0, 2]].T, s=5, color=color, linewidths=0, zorder=order)
            panel.set(xlim=(-1.06, 1.06), ylim=(-1.06, 1.06), aspect="equal")
            panel.set_title(f"$t = {time:g}$", fontsize=9)
            panel.set_axis_off()
    canvas.savefig(path, dpi=300)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
