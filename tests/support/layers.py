"""The packages of chaosphere in the order of their layers, and what a file imports of them."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "chaosphere"

# From the top down: a package may import those after it. The two modules beside the packages come first.
PACKAGES = [
    "__main__",
    "cli",
    "__init__",
    "experiments",
    "ensembles",
    "reporting",
    "training",
    "simulation",
    "plot",
    "measures",
    "models",
    "theory",
    "interactions",
    "noise",
    "geometry",
    "stats",
    "common",
    "kernels",
]


def imported_packages(source, importer):
    """The packages that this source imports, also inside functions; what chaosphere/__init__.py offers is __init__."""
    packages = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{importer}: relative import in line {node.lineno}; name the package"
            dotted = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for parts in (name.split(".") for name in dotted if name.split(".")[0] == "chaosphere"):
            is_package = len(parts) > 1 and (PACKAGE / parts[1]).is_dir()
            packages.add(parts[1] if is_package else "__init__")
    return packages - {importer}
