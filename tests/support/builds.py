"""What setup.py says of a build."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def build_settings():
    """The names that setup.py defines, without running its setup()."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    kept = [node for node in tree.body if isinstance(node, ast.Assign | ast.FunctionDef | ast.Import)]
    kept = [node for node in kept if not (isinstance(node, ast.Assign) and node.targets[0].id == "extensions")]
    names = {}
    exec(compile(ast.Module(kept, []), "setup.py", "exec"), names)
    return names
