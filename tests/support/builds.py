"""What setup.py says of a build."""

import ast
import contextlib
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def setup_tree():
    """The syntax of setup.py."""
    return ast.parse((ROOT / "setup.py").read_text())


def build_settings():
    """The names that setup.py defines, without running its setup()."""
    kept = [
        node
        for node in setup_tree().body
        if isinstance(node, ast.Assign | ast.FunctionDef | ast.Import) or is_library(node)
    ]
    kept = [node for node in kept if not (isinstance(node, ast.Assign) and node.targets[0].id == "extensions")]
    names = {}
    with contextlib.chdir(ROOT):
        exec(compile(ast.Module(kept, []), "setup.py", "exec"), names)
    return names


def is_library(node):
    """Whether a statement imports names of Python's own library: what else setup.py needs may not be installed."""
    return isinstance(node, ast.ImportFrom) and node.module in sys.stdlib_module_names
