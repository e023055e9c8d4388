"""A file is short enough to read at once: 400 lines, docstrings aside, which a longer file says that it has."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT = 400
FOLDERS = ("src", "csrc", "tests", "benches", "docs", "examples")
SUFFIXES = {".py", ".pyx", ".pxd", ".pyi", ".c", ".h", ".inc", ".def"}
# What a long file may say of itself in its first docstring, and the share of its lines that makes it true.
SHARES = {"More than half": (0.5, 1.0), "About half": (0.45, 0.55)}


def files():
    paths = [ROOT / "setup.py", ROOT / "noxfile.py"]
    for folder in FOLDERS:
        paths += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES and "/." not in str(path)]
    # The C code under src is Cython's.
    return sorted(path for path in paths if path.suffix != ".c" or ROOT / "src" not in path.parents)


def too_long(name, text):
    """What is wrong with the length of a file; None if nothing is."""
    n_lines = len(text.splitlines())
    if n_lines <= LIMIT:
        return None
    if not name.endswith(".py"):
        return f"{n_lines} lines; split it"
    tree = ast.parse(text)
    share = docstring_lines(tree) / n_lines
    if n_lines * (1 - share) > LIMIT:
        return f"{n_lines * (1 - share):.0f} lines without docstrings; split it"
    claim = re.search(r"^(.*) of this file is docstrings\.$", ast.get_docstring(tree) or "", flags=re.MULTILINE)
    low, high = SHARES.get(claim[1], (1, 0)) if claim else (1, 0)
    if not low <= share <= high:
        return f"{n_lines} lines, {share:.0%} of them docstrings; say so in the first one, as in {max(SHARES)!r}"
    return None


def docstring_lines(tree):
    total = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            total += node.body[0].end_lineno - node.body[0].lineno + 1
    return total


def test_lengths():
    faults = {str(path.relative_to(ROOT)): too_long(path.name, path.read_text()) for path in files()}
    assert {path: fault for path, fault in faults.items() if fault} == {}


def test_the_rule_itself():
    code, prose, claim = "x = 1\n" * 300, "words\n" * 320, "More than half of this file is docstrings."
    assert too_long("a.py", "x = 1\n" * 400) is None
    assert too_long("a.py", "x = 1\n" * 401) == "401 lines without docstrings; split it"
    assert too_long("a.h", f"/*\n{prose}*/\n{code}") == "622 lines; split it"
    assert too_long("a.py", f'"""A.\n\n{claim}\n{prose}"""\n{code}') is None
    for docstring in (f"A.\n{prose}", f"A.\n\n{claim}\n{prose[:900]}"):  # no claim; one that is not true
        assert "say so in the first one" in too_long("a.py", f'"""{docstring}"""\n{code}')


def test_files_are_found():
    names = {path.name for path in files()}
    assert {"loop.py", "attention.pyx", "abi.pyi", "attention.inc", "with_numpy.py", "noxfile.py"} <= names
    assert "attention.c" not in names
