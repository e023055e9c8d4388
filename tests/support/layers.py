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


def imported_names(source, importer):
    """The parts of each name of chaosphere that this source imports, also inside functions and for types alone."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{importer}: relative import in line {node.lineno}; name the package"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return [parts for parts in (tuple(name.split(".")) for name in names) if parts[0] == PACKAGE.name]


def imported_packages(source, importer):
    """The packages that this source imports; what chaosphere/__init__.py offers is __init__."""
    packages = set()
    for parts in imported_names(source, importer):
        is_package = len(parts) > 1 and (PACKAGE / parts[1]).is_dir()
        packages.add(parts[1] if is_package else "__init__")
    return packages - {importer}


def modules(folder):
    """The modules of a package and its packages by dotted name, as {name: source}; a package is its __init__.py."""
    names = {path: path.relative_to(folder.parent).with_suffix("").parts for path in folder.rglob("*.py")}
    return {".".join(parts).removesuffix(".__init__"): path.read_text() for path, parts in names.items()}


def imported_modules(sources):
    """The modules that each of these modules imports."""
    graph = {}
    for importer, source in sources.items():
        starts = [
            [".".join(parts[:n]) for n in (len(parts), len(parts) - 1)] for parts in imported_names(source, importer)
        ]
        graph[importer] = {next((name for name in names if name in sources), importer) for names in starts} - {importer}
    return graph
