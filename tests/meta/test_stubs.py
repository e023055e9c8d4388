"""Every compiled module has a stub with the same functions and the same parameters in the same order."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

KERNELS = Path(__file__).parent.parent.parent / "src" / "chaosphere" / "kernels"
MODULES = sorted(path.stem for path in KERNELS.glob("*.pyx"))
modules = pytest.mark.parametrize("module", MODULES)


def split_parameters(text):
    """Cut at commas outside brackets: `const real[:, ::1] a` is one parameter."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text + ","):
        depth += {"[": 1, "(": 1, "]": -1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [part for part in parts if part]


def compiled_signatures(source):
    """Names of the parameters, with = where there is a default, of every top-level def of a .pyx file."""
    signatures = {}
    for name, text in re.findall(r"^def (\w+)\((.*?)\)\s*:$", source, re.MULTILINE | re.DOTALL):
        signatures[name] = [
            re.search(r"(\w+)\s*$", part.split("=")[0])[1] + "=" * ("=" in part) for part in split_parameters(text)
        ]
    return signatures


def stub_signatures(source):
    signatures = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            unusual = (node.args.posonlyargs, node.args.kwonlyargs, node.args.vararg, node.args.kwarg)
            assert not any(unusual), node.name
            n_required = len(node.args.args) - len(node.args.defaults)
            signatures[node.name] = [a.arg + "=" * (i >= n_required) for i, a in enumerate(node.args.args)]
    return signatures


def stub_names(source):
    """Everything public that a stub declares."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


@modules
def test_stub_has_the_signatures_of_the_module(module):
    compiled = compiled_signatures((KERNELS / f"{module}.pyx").read_text())
    assert compiled, "no function found: the pattern is stale"
    assert stub_signatures((KERNELS / f"{module}.pyi").read_text()) == compiled


@modules
def test_stub_declares_what_the_module_offers(module):
    offered = vars(importlib.import_module(f"chaosphere.kernels.{module}"))
    public = {name for name, value in offered.items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert stub_names((KERNELS / f"{module}.pyi").read_text()) == public


def test_no_stub_is_left_over():
    assert sorted(path.stem for path in KERNELS.glob("*.pyi")) == MODULES


def test_every_stub_is_annotated():
    for module in MODULES:
        for node in ast.walk(ast.parse((KERNELS / f"{module}.pyi").read_text())):
            if isinstance(node, ast.FunctionDef):
                bare = [a.arg for a in node.args.args if a.annotation is None and a.arg != "self"]
                assert node.returns is not None, f"{module}.{node.name}: no return type"
                assert not bare, f"{module}.{node.name}: {bare}"


def test_the_patterns_themselves():
    source = "cdef int f(int x): pass\ndef g(\n    const real[:, :, :] x, long[::1] p, str name=None\n):\n    pass\n"
    assert compiled_signatures(source) == {"g": ["x", "p", "name="]}
    assert stub_signatures("def g(x: int, p: str, name: str = ...) -> None: ...") == {"g": ["x", "p", "name="]}
    assert stub_signatures("def g(p: str, x: int, name: str = ...) -> None: ...") != compiled_signatures(source)
