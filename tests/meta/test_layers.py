"""Imports inside the package go down the layers only."""

import graphlib
import importlib
import types

import pytest
from support.layers import PACKAGE, PACKAGES, ROOT, imported_modules, imported_packages, modules
from support.programs import run


def upward(importer, imported):
    """Those of the imported packages that this importer must not use."""
    return {package for package in imported if PACKAGES.index(package) <= PACKAGES.index(importer)}


def circle(sources):
    """Modules of which each imports the next and the last is the first; empty if there are none."""
    try:
        graphlib.TopologicalSorter(imported_modules(sources)).prepare()
    except graphlib.CycleError as error:
        return error.args[1][::-1]
    return []


def test_the_list_is_the_tree():
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert packages | {"__main__", "__init__"} == set(PACKAGES)


def test_imports_go_down():
    wrong = {}
    for path in PACKAGE.rglob("*.py"):
        importer = path.relative_to(PACKAGE).with_suffix("").parts[0]
        wrong[str(path.relative_to(PACKAGE))] = upward(importer, imported_packages(path.read_text(), importer))
    assert {path: packages for path, packages in wrong.items() if packages} == {}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_function_hides_a_module(path):
    """In chaosphere.a, `from chaosphere.a.b import b` would make a.b the function, and the module hard to reach."""
    modules = {p.stem for p in path.parent.glob("*.py")} | {p.name for p in path.parent.iterdir() if p.is_dir()}
    name = ".".join(["chaosphere", *path.parent.relative_to(PACKAGE).parts])
    package = importlib.import_module(name)
    hidden = {m for m in modules & vars(package).keys() if not isinstance(vars(package)[m], types.ModuleType)}
    assert not hidden


def test_import_is_light():
    """Libraries that take long to import are imported where they are used."""
    program = "import chaosphere, sys; print(*sorted(sys.modules))"
    scipy = {f"scipy.{name}" for name in ("fft", "linalg", "optimize", "spatial", "special", "stats")}
    extras = {"matplotlib", "xarray", "zarr", "distributed", "tqdm", "ot", "finufft", "ducc0"}
    heavy = scipy | extras | {"importlib.metadata", "multiprocessing", "numpy.ma", "threadpoolctl"}
    assert not heavy & set(run(program).split())


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
        ("geometry", "from chaosphere.interactions.softmax import SoftmaxAttention", {"interactions"}),
        ("kernels", "import chaosphere.common.checks", {"common"}),
        ("simulation", "def f():\n    from chaosphere.reporting import claims", {"reporting"}),
        ("noise", "from chaosphere import MLP", {"__init__"}),
        ("experiments", "import chaosphere as cs", {"__init__"}),
        ("common", "from chaosphere.geometry.sphere import normalize", {"geometry"}),
        ("cli", "import chaosphere\nfrom chaosphere import experiments, kernels", set()),
        ("measures", "import numpy\nfrom chaosphere.common.streams import Noise\nimport chaosphere.models.sde", set()),
    ],
)
def test_the_rule_itself(importer, source, wrong):
    assert upward(importer, imported_packages(source, importer)) == wrong


def test_no_modules_import_each_other():
    """Not for the sake of types either: what both need stands in a module below them."""
    assert circle(modules(PACKAGE)) == []


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("from chaosphere.noise.b import f", "import numpy", set()),
        ("from chaosphere.noise import b", "from chaosphere.noise import a", {"a", "b"}),
        ("import chaosphere.noise.b", "def f():\n    from chaosphere.noise.a import g", {"a", "b"}),
        ("from chaosphere.noise.b import f", "if TYPE_CHECKING:\n    from chaosphere.noise.a import G", {"a", "b"}),
        ("from chaosphere.noise.b import f", "from chaosphere.noise import g", {"a", "b", ""}),
        ("from chaosphere.noise.a import f", "from chaosphere.noise.a import f", set()),
    ],
)
def test_the_rule_of_circles_itself(a, b, expected):
    package = "chaosphere.noise"
    sources = {package: "from chaosphere.noise import a", f"{package}.a": a, f"{package}.b": b}
    assert {name.removeprefix(package).removeprefix(".") for name in circle(sources)} == expected


def test_relative_imports_are_refused():
    with pytest.raises(AssertionError, match="relative import"):
        imported_packages("from . import checks", "geometry")
