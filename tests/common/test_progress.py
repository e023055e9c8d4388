"""Bars of progress: in a terminal and in a notebook, and nothing where stderr goes into a file."""

import os
import pty
import subprocess
import sys
import termios

import pytest

RUN = """
import chaosphere as cs
model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=20, horizon=1.0)
x = cs.sample_uniform(10, 3, rng=0)
cs.simulate(model, x, rng=0, progress=True)
cs.ensemble(model, x, seeds=[0, 1], observe={"energy": cs.measures.Energy()}, progress=True)
"""
# What a kernel looks like to a program: IPython is there, and says that it is one.
KERNEL = """
import sys, types
shell = types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: shell)
"""


def run(program, **streams):
    command = [sys.executable, "-W", "ignore", "-c", program]
    return subprocess.run(command, check=True, timeout=120, stdout=subprocess.PIPE, **streams)


def test_nothing_is_written_into_a_file(tmp_path):
    """Not from the IPython of a terminal either."""
    with (tmp_path / "log").open("wb") as log:
        run(KERNEL.replace("IPKernelApp", "TerminalIPythonApp") + RUN, stderr=log)
    assert (tmp_path / "log").read_bytes() == b""


def test_a_terminal_shows_a_bar_of_steps_and_one_of_runs():
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    try:
        run(RUN, stderr=theirs)
    finally:
        os.close(theirs)
    text = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "20/20" in text
    assert "step/s" in text
    assert "2/2" in text
    assert "run/s" in text


def test_a_notebook_shows_bars_though_its_stderr_is_no_terminal():
    text = run(KERNEL + RUN, stderr=subprocess.PIPE).stderr.decode()
    assert "20/20" in text
    assert "2/2" in text


def test_no_stderr_is_no_error():
    run("import sys; sys.stderr = None\n" + RUN, stderr=subprocess.PIPE)


def test_without_tqdm_it_is_said_how_to_install_it(monkeypatch):
    from chaosphere.common import progress

    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"tqdm is needed here .*pip install tqdm"):
        progress.bar(10, unit="step")
