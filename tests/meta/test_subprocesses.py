"""No test waits for a program without end, and none leaves one behind."""

import ast
import signal
import sys
import tomllib
from pathlib import Path

import pytest
from support.programs import TIMEOUT, finished, session, started, wait_for_end

ROOT = Path(__file__).parents[2]
LIMIT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["faulthandler_timeout"]
PROGRAMS = ROOT / "tests" / "support" / "programs.py"
CALLS = {f"subprocess.{function}" for function in ("run", "call", "check_call", "check_output")}
SLEEPER = "import subprocess, sys, time\n{first}\ndef sleep_for_long():\n    time.sleep(600)\nsleep_for_long()\n"
PYTHON = [sys.executable, "-S", "-c"]  # starts at once
CHILD = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"


def endless(text):
    """The lines of a file that start a program without a time in which it must end."""
    lines = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.ImportFrom(module="subprocess"):  # the cases below know functions by the name of their module
                lines.append(node.lineno)
            case ast.Attribute() if ast.unparse(node) in {"subprocess.Popen", "os.system", "os.popen"}:
                lines.append(node.lineno)
            case ast.Call() if ast.unparse(node.func) in CALLS:
                if "timeout" not in {keyword.arg for keyword in node.keywords}:
                    lines.append(node.lineno)
    return lines


def test_programs_have_a_time():
    """Those that a test talks to are started by `started`, which alone may call Popen."""
    paths = {path for folder in ("tests", "benches") for path in (ROOT / folder).rglob("*.py")} - {PROGRAMS}
    lines = {str(path.relative_to(ROOT)): endless(path.read_text()) for path in paths}
    assert {name: numbers for name, numbers in lines.items() if numbers} == {}


def test_a_program_is_ended_before_its_test_is():
    """Its message says more than the stacks that pytest prints."""
    texts = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    calls = [node for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.keyword)]
    times = [node.value.value for node in calls if node.arg == "timeout" and isinstance(node.value, ast.Constant)]
    assert times
    assert max([*times, TIMEOUT]) < LIMIT


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("subprocess.run(a)\nsubprocess.run(a, timeout=3)", [1]),
        ("with subprocess.Popen(a) as p:\n    p.wait(timeout=3)", [1]),
        ("from subprocess import run", [1]),
        ("\nstart = subprocess.Popen", [2]),
        ("subprocess.check_output(a, text=True)", [1]),
        ("os.system('ls')", [1]),
        ("run(a)", []),
    ],
)
def test_those_without_a_time_are_seen(text, lines):
    assert endless(text) == lines


def wait_for_a_line(first, *, timeout):
    """Wait for what SLEEPER never prints."""
    with started([*PYTHON, SLEEPER.format(first=first)], timeout=timeout) as program:
        assert program.stdout.readline() == ""
        assert program.wait() == -signal.SIGABRT


def test_a_line_that_is_never_printed_is_not_waited_for():
    """The message names the program, those that it has started, and the line at which it was."""
    with pytest.raises(TimeoutError, match=r"^after 2 s .*\n.*sleep_for_long.*\n.*'import time") as caught:
        wait_for_a_line(CHILD, timeout=2)
    assert 'File "<string>", line 4 in sleep_for_long' in caught.value.__notes__[0]


def test_the_words_of_a_program_that_hangs_are_not_lost():
    with pytest.raises(TimeoutError) as caught:
        finished([*PYTHON, SLEEPER.format(first="")], timeout=2)
    assert "line 4 in sleep_for_long" in caught.value.__notes__[0]


def test_nothing_is_left_when_a_test_fails():
    start = "print('no line', file=sys.stderr, flush=True)\nprint(flush=True)"
    with pytest.raises(AssertionError) as caught, started([*PYTHON, SLEEPER.format(first=start)]) as program:
        assert program.stdout.readline() == "a line\n"
    assert not session(program.pid)
    assert caught.value.__notes__[0].endswith("wrote to stderr:\nno line\n")


def test_what_a_program_has_started_does_not_outlive_it():
    with started([*PYTHON, f"import subprocess, sys\n{CHILD}"]) as program:
        assert program.wait() == 0
        assert len(session(program.pid)) == 1
        assert not wait_for_end(program.pid, 0.1)
    assert not session(program.pid)
