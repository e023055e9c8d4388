"""What the object files contain: prefixed names, no state that changes, no calls that a library must not make."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from support.builds import build_settings

from chaosphere.kernels import abi

ROOT = Path(__file__).parent.parent.parent
# All that the C library may ask of others: libm, memory blocks, and what the compiler inserts (processor features; the
# linker's own table). A list of what is allowed, not of what is forbidden: malloc, printf, exit, getenv, signal and
# whatever else one may think of are not in it.
ALLOWED = {"cos", "exp2", "sin", "sqrt", "memcpy", "memset", "memcmp", "strcmp", "sincos"}
COMPILER_OWN = {"_GLOBAL_OFFSET_TABLE_", "__cpu_model", "__cpu_indicator_init", "__stack_chk_fail"}


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True, timeout=120).stdout


def symbols(path):
    """(name, class, section) of every symbol of an object file, from nm's System V format."""
    rows = [line.split("|") for line in run("nm", "-f", "sysv", path).splitlines() if line.count("|") == 6]
    return [(row[0].strip(), row[2].strip(), row[6].strip()) for row in rows]


@pytest.fixture(scope="module")
def object_files():
    """The object files of the C library that the last build has left, one per source and instruction set."""
    settings = build_settings()
    current = settings["digest"](ROOT / part for part in settings["C_PARTS"])
    stamps = [path for path in ROOT.glob("build/compiled-*/libraries/*.sha256") if path.read_text() == current]
    assert stamps, "no object files of csrc as it is: build the package in place (pip install -e .)"
    last = max(stamps, key=lambda path: path.stat().st_mtime).parent
    paths = sorted(last.glob("chs_*/csrc/*.o"))
    assert len(paths) == len(settings["ISA_BUILDS"]) + 1  # dispatch.c comes once
    return paths


def is_mutable(kind, section):
    """Whether a symbol is data that a program could change.

    Constant tables of pointers need relocation in position-independent code: they sit in .data.rel.ro, which nm calls
    data, but which the loader makes read-only before the program starts.
    """
    return kind in "dDbBsSgGC" and not section.startswith(".data.rel.ro")


def test_global_names_carry_the_prefix(object_files):
    names = {name for path in object_files for name, kind, _ in symbols(path) if kind.isupper() and kind not in "UVW"}
    assert {"chs_kernels_for", "chs_isa_name", "chs_isa_runs", "chs_activation_name", "chs_table_baseline"} <= names
    assert {name for name in names if not name.startswith("chs_")} == set()


def test_no_data_that_changes(object_files):
    mutable = {path: [row for row in symbols(path) if is_mutable(*row[1:])] for path in object_files}
    assert mutable == {path: [] for path in object_files}


def test_calls_nothing_but_mathematics_and_memory(object_files):
    used = {name for path in object_files for name, kind, _ in symbols(path) if kind == "U"}
    foreign = {re.sub(r"@.*", "", name) for name in used if not name.startswith("chs_")}
    assert "exp2" in foreign  # attend_rows needs it: the list is not empty by accident
    assert foreign <= ALLOWED | COMPILER_OWN, foreign - ALLOWED - COMPILER_OWN


def test_the_checks_themselves(tmp_path):
    (tmp_path / "bad.c").write_text(
        "#include <stdlib.h>\nstatic int counter = 1; static int zero; const int constant = 3;\n"
        "static const char *const names[] = {&((const char *)&constant)[0]};\n"
        "int *leak(int i) { counter += i + zero++; return names[i] ? malloc(counter) : 0; }\n"
    )
    settings = build_settings()
    run(os.environ.get("CC", "cc"), *settings["C_FLAGS"], "-c", tmp_path / "bad.c", "-o", tmp_path / "bad.o")
    rows = symbols(tmp_path / "bad.o")
    assert {name for name, *row in rows if is_mutable(*row)} == {"counter", "zero"}
    assert ("malloc", "U") in {row[:2] for row in rows}
    assert ("leak", "T") in {row[:2] for row in rows}


@pytest.mark.parametrize("module", build_settings()["KERNELS"])
def test_extension_modules_export_their_start_alone(module):
    (shared,) = Path(abi.__file__).parent.glob(f"{module}.*.so")
    rows = [line.split() for line in run("nm", "-D", "--defined-only", shared).splitlines()]
    names = {row[-1] for row in rows if not row[-1].startswith(("__pyx_module_is_main_", "_init", "_fini"))}
    assert names == {f"PyInit_{module}"}  # the marker is Cython's own
