"""The packages and what each imports, from the source."""

import ast
import sys
from pathlib import Path

import drawing
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

sys.path.insert(0, str(drawing.ROOT / "tests"))
from support.layers import PACKAGE, PACKAGES, imported_packages

FILES = sorted(PACKAGE.rglob("*.py"))
READS = [*FILES, Path(drawing.__file__)]
NAMES = {"__main__": "python -m chaosphere", "__init__": "chaosphere"}
WIDTH, HEIGHT = 1.0, 0.5  # of a box, where columns are 1.3 and rows 1 apart


def imports() -> dict[str, set[str]]:
    """Return the packages that each one imports."""
    edges: dict[str, set[str]] = {package: set() for package in PACKAGES}
    for path in FILES:
        importer = path.relative_to(PACKAGE).with_suffix("").parts[0]
        edges[importer] |= imported_packages(path.read_text(), importer)
    return edges


def reach(edges: dict[str, set[str]], package: str) -> set[str]:
    """Return all that a package imports, by itself or through others."""
    return edges[package].union(*(reach(edges, other) for other in edges[package]))


def without_implied(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out each import that follows from others."""
    return {
        package: {other for other in targets if not any(other in reach(edges, by) for by in targets - {other})}
        for package, targets in edges.items()
    }


def rows(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the packages from the top; each stands above all that it imports."""
    heights: dict[str, int] = {}
    for package in reversed(PACKAGES):
        heights[package] = max((heights[other] + 1 for other in edges[package]), default=0)
    top = max(heights.values())
    return [[package for package in PACKAGES if heights[package] == height] for height in range(top, -1, -1)]


def draw() -> str:
    """Draw the packages as boxes and their imports as arrows; return the address."""
    edges = imports()
    levels = [*rows(edges), ["csrc"]]
    arrows = without_implied(edges) | {"kernels": {"csrc"}}
    places = {
        package: (1.3 * (k - (len(level) - 1) / 2), -row)
        for row, level in enumerate(levels)
        for k, package in enumerate(level)
    }
    figure = Figure(figsize=(4.6, 0.52 * len(levels)))
    axis = figure.add_axes((0, 0, 1, 1))
    reach_x = max(abs(x) for x, _ in places.values()) + 0.8
    axis.set(xlim=(-reach_x, reach_x), ylim=(-len(levels) + 0.6, 0.4))
    axis.axis("off")
    for package, (x, y) in places.items():
        name = NAMES.get(package, f"{package}/")
        width = max(WIDTH, 0.065 * len(name) + 0.25)
        box = FancyBboxPatch((x - width / 2, y - HEIGHT / 2), width, HEIGHT, boxstyle="round,pad=0,rounding_size=0.1")
        box.set(facecolor=drawing.PAPER, edgecolor=drawing.INK, linewidth=0.8, zorder=2)
        axis.add_patch(box)
        axis.text(x, y, name, ha="center", va="center", family="monospace", fontsize=9, color=drawing.INK, zorder=3)
        for other in sorted(arrows.get(package, ())):
            end = places[other]
            shift = 0.15 * (end[0] - x)
            axis.annotate(
                "",
                xytext=(x + shift, y - HEIGHT / 2),
                xy=(end[0] - shift, end[1] + HEIGHT / 2),
                zorder=1,  # behind the boxes
                arrowprops={"arrowstyle": "-|>", "color": drawing.INK, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0},
            )
    return drawing.write(figure, "architecture")


def markdown() -> str:
    """Return the drawing, and a table of the packages by the first lines of their docstrings."""
    figure = drawing.markdown(
        draw(),
        "The packages of chaosphere as boxes, with arrows down to what each imports",
        "Packages and their imports, drawn from the source. An import that follows from others is left out.",
    )
    lines = ["| package | what is in it |", "|---|---|"]
    for package in PACKAGES:
        if (PACKAGE / package).is_dir():
            text = ast.get_docstring(ast.parse((PACKAGE / package / "__init__.py").read_text())) or ""
            lines.append(f"| `{package}/` | {text.splitlines()[0].rstrip(':')} |")
    return f"{figure}\n" + "\n".join(lines)
