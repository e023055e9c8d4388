"""The examples of pages and docstrings pass a strict type checker, as they would in a user's own module.

Needs mypy. Functions that an example defines may lack annotations, as they do in a notebook.
"""

import os
import re
import sys

import pytest
from support import typed_examples
from support.programs import finished

# What the checker must find in a module of a user, one in each line from the second on.
WRONG = """import chaosphere as cs
x: str = cs.sample_uniform(5, 3, rng=0)  # assignment
cs.MLP(width='wide')  # arg-type
cs.Solution.no_such_member  # attr-defined
"""


def test_examples(tmp_path):
    pytest.importorskip("mypy")
    paths = typed_examples.write(tmp_path)
    (tmp_path / "wrong.py").write_text(WRONG)
    cache = typed_examples.ROOT / ".mypy_cache" / "examples"  # the second time it takes a few seconds
    options = ["--strict", "--allow-untyped-defs", "--allow-untyped-calls", "--config-file=", f"--cache-dir={cache}"]
    done = finished(
        [sys.executable, "-m", "mypy", *options, "wrong.py", *(path.name for path in paths)],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(typed_examples.ROOT / "src")},
        timeout=1000,
    )
    *errors, summary = done.stdout.splitlines()
    assert [line for line in errors if not line.startswith("wrong.py:")] == [], done.stderr
    assert [re.search(r"\[([\w-]+)\]$", line)[1] for line in errors] == re.findall("# (.*)", WRONG)
    assert summary == f"Found {len(errors)} errors in 1 file (checked {len(paths) + 1} source files)"


def test_examples_were_found(tmp_path):
    names = {path.stem for path in typed_examples.write(tmp_path)}
    assert {"readme_0", "chaosphere_simulation_loop_simulate", "chaosphere_plot_clouds_tokens"} <= names
    assert len(names) > 100
