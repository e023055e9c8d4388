"""Imports inside the package go down the layers only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "src" / "chaosphere"

# From the bottom up. A module may import those in the lines below its own, and those before it in its own line.
LAYERS = [
    ["kernels"],
    [
        "chebyshev",
        "checks",
        "errors",
        "files",
        "seeds",
        "activations",
        "sphere",
        "harmonics",
        "kernel_forms",
        "covariance",
        "laws",
    ],
    [
        "expansions",
        "nufft",
        "attention",
        "fields",
        "gaussian",
        "distances",
        "measures",
        "coupling",
        "pair_diffusion",
        "two_point",
    ],
    ["transformer", "sde", "meanfield"],
    ["identity", "distributed", "checkpoints", "pools"],
    ["simulate", "coupled", "circle_density"],
    ["config"],
    ["results", "store", "ensemble", "plotting", "study", "study_file"],
    ["experiments"],
    ["__init__", "__main__"],
]
ORDER = [module for line in LAYERS for module in line]
ONLY_USED_BY = {"config": {"__main__", "__init__", "results"}}


def imported_modules(source, importer):
    """The package's own modules that this source imports, also inside functions; the package itself is __init__."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{importer}: relative import in line {node.lineno}; name the package"
            dotted = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for parts in (name.split(".") for name in dotted if name.split(".")[0] == "chaosphere"):
            is_module = len(parts) > 1 and (parts[1] in ORDER or (PACKAGE / f"{parts[1]}.py").exists())
            found.add(parts[1] if is_module else "__init__")
    return found - {importer}


def upward(importer, imported):
    """Those of the imported modules that this importer must not use."""
    place = ORDER.index(importer)
    return {
        module
        for module in imported
        if ORDER.index(module) >= place or importer not in ONLY_USED_BY.get(module, {importer})
    }


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    module = path.relative_to(PACKAGE).with_suffix("").parts[0]
    assert module in ORDER, f"{module} is not in the layers; add it where it belongs"
    imported = imported_modules(path.read_text(), module)
    assert imported <= set(ORDER), f"not in the layers: {imported - set(ORDER)}"
    assert not upward(module, imported), f"{module} must not import {upward(module, imported)}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "kernels").glob("*.p[yx][xdi]")), ids=lambda path: path.name)
def test_kernels_know_nothing_above_them(path):
    lines = [line.split() for line in path.read_text().splitlines() if "chaosphere" in line and "import" in line]
    used = {words[1] for words in lines if words[0] in {"from", "import", "cimport"}}
    assert all(name.startswith("chaosphere.kernels") for name in used), used


def test_c_library_knows_no_python():
    text = "".join(path.read_text() for path in (ROOT / "csrc").rglob("*.[hcid]*") if path.suffix != ".py")
    included = {line.split()[1].strip('<>"') for line in text.splitlines() if line.lstrip().startswith("#include")}
    own = {path.name for path in (ROOT / "csrc").rglob("*")} | {"CHS_SIMD_HEADER"}  # one of simd/, by the build
    assert included - own <= {"math.h", "stddef.h", "stdint.h", "string.h", "immintrin.h", "arm_neon.h"}


@pytest.mark.parametrize(
    ("importer", "source", "wrong"),
    [
        ("sphere", "from chaosphere.attention import SoftmaxAttention", {"attention"}),
        ("kernels", "import chaosphere.checks", {"checks"}),
        ("simulate", "def f():\n    from chaosphere import plotting, seeds", {"plotting"}),
        ("fields", "from chaosphere import MLP", {"__init__"}),
        ("experiments", "import chaosphere as cs", {"__init__"}),
        ("simulate", "from chaosphere.config import show_config", {"config"}),
        ("experiments", "from chaosphere.config import show_config", {"config"}),
        ("checks", "from chaosphere.sphere import normalize", {"sphere"}),
        ("__main__", "import chaosphere\nfrom chaosphere import config, experiments, kernels", set()),
        ("measures", "import numpy\nfrom chaosphere.seeds import Noise\nfrom chaosphere.measures import x", set()),
    ],
)
def test_the_rule_itself(importer, source, wrong):
    assert upward(importer, imported_modules(source, importer)) == wrong


def test_relative_imports_are_refused():
    with pytest.raises(AssertionError, match="relative import"):
        imported_modules("from . import checks", "sphere")
