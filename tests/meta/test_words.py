"""The field's words: those on the left are not written, in code, tests or pages; those on the right are."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORDS = {
    r"players?": "block group",
    r"tournaments?": "round-robin pair schedule",
    r"block games?|(?:two|the|of) games": "block pair",
    r"lanes? of (?:a|its|the) worker|worker'?s? lanes?|own lane": "work queue",
    r"\blaps?\b": "round",
    r"turned_\w+|\w+_turned|is_turned|turn_f(?:64|32)": "packed, pack",
    r"gather_(?:rows|tile|lanes|rest|count|strip)\w*|scatter_\w+|\w+_(?:gather|scatter)\b": "row or column accumulate",
    r"\bSTRIPS?\b|STRIP_COLUMNS|by strips?|strip of|\bstrips\b": "micro-panel",
    r"\bover_v\b": "in_place",
    r"n_merged": "n_fine_steps",
    r"steps_at_once": "max_fused_steps",
    r"\b_?(?:MOST|LEAST)_[A-Z_]+": "MAX_, MIN_",
    r"\b[Tt]he same bits|\b[Ss]ame bits": "bitwise identical",
    r"\bgoes on\b|\bgo on with\b": "resumes",
    r"nodes that stand for": "quadrature nodes discretise the mean-field measure",
    r"given the noise": "conditional on (quenched) noise",
    r"\bpartners?\b": "coupled copy, passive tracer",
}
NAMES = {"made", "asked", "told", "found", "given", "whole", "held", "apart", "moved"}  # nouns say what it is
FOLDERS = ("src", "csrc", "tests", "benches", "docs", "examples")
SUFFIXES = {".py", ".pyx", ".pxd", ".pyi", ".c", ".h", ".inc", ".def", ".md", ".toml"}
HERE = Path(__file__).name


def files():
    paths = [*ROOT.glob("*.md"), ROOT / "setup.py", ROOT / "noxfile.py"]
    for folder in FOLDERS:
        paths += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES and "/." not in str(path)]
    # The C code beside a .pyx is Cython's.
    return [
        path for path in paths if (path.name != HERE and not path.with_suffix(".pyx").exists()) or path.suffix == ".pyx"
    ]


def misused(text):
    """What stands in a text and should not, with the word to take."""
    return {match[0]: word for pattern, word in WORDS.items() for match in re.finditer(pattern, text)}


def misnamed(source):
    """Variables, arguments and functions of Python code whose name says nothing."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return names & NAMES


def test_words():
    faults = {}
    for path in files():
        text = path.read_text()
        names = misnamed(text) if path.suffix == ".py" else set()
        faults[str(path.relative_to(ROOT))] = misused(text) | dict.fromkeys(names, "a noun that says what it is")
    assert {path: words for path, words in faults.items() if words} == {}


def test_the_rules_themselves():
    assert misused("each player of the tournament") == {"player": "block group", "tournament": WORDS[r"tournaments?"]}
    assert misused("the same bits; it goes on") == {"the same bits": "bitwise identical", "goes on": "resumes"}
    assert misused("text.strip() of vector lanes, comm.Allgatherv, panel.scatter(x)") == {}
    assert misnamed("made = 1\ndef f(found): ...") == {"made", "found"}
    assert misnamed("plan = 1\nmade.rows = 2") == set()


def test_files_are_found():
    names = {path.name for path in files()}
    assert {"README.md", "CONTRIBUTING.md", "attention.pyx", "attention.inc", "loop.py", "kernels.md"} <= names
    assert "attention.c" not in names
