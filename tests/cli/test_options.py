"""Options come from signatures and docstrings; an experiment is added by a folder and a line."""

import argparse
import inspect
import re
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import pytest
import xarray

import chaosphere
from chaosphere.cli import options, progress
from chaosphere.cli.main import main, make_parser
from chaosphere.common.reprs import duration
from chaosphere.experiments import estimates, registry
from chaosphere.experiments.command import Command, Job
from chaosphere.experiments.pieces import grow
from chaosphere.reporting import netcdf

COMMANDS = {command.name: command for command in registry.commands()}


def options_of(name):
    return {option.flag: option for option in options.of(COMMANDS[name])}


def test_the_commands():
    assert list(COMMANDS) == [
        "chaos",
        "depth-width",
        "mean-field",
        "sync",
        "attractors",
        "uniform-in-time",
        "causal",
        "metastability",
        "random-attention",
        "low-temperature",
        "phases",
        "estimate",
        "training",
        "figure",
        "table",
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_and_the_default_of_its_function(name, capsys):
    functions = [inspect.signature(source).parameters for source in COMMANDS[name].sources]
    for option in options.of(COMMANDS[name]):
        assert len(option.text) > 5, option
        assert not option.text.endswith(".")
        assert option.default == next(f[option.name].default for f in functions if option.name in f)
    with pytest.raises(SystemExit):
        main([name, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for option in options.of(COMMANDS[name]):
        assert (option.name if option.is_argument else f"--{option.flag} ") in shown
        assert option.text in shown


def parsers():
    """The parser of the command line, and those of its commands, by name."""
    (commands,) = (action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return {"chaosphere": make_parser(), **commands.choices}


@pytest.mark.parametrize("name", parsers())
def test_no_command_and_no_option_lacks_a_help(name):
    parser = parsers()[name]
    assert len(parser.description) > 20
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            assert len(action.help) > 5, action
        else:
            assert [choice.dest for choice in action._choices_actions] == list(action.choices)
            assert all(len(choice.help) > 20 for choice in action._choices_actions)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_ends_with_what_all_commands_share(name):
    shown = parsers()[name].format_help()
    *_, last = shown.split("\n\n")
    assert last.startswith("seed, threads and output:")
    assert re.findall(r"^  --([a-z]+)", last, flags=re.MULTILINE) == ["seed", "threads", "out", "format", "json"]


def test_version(capsys):
    with pytest.raises(SystemExit) as info:
        main(["--version"])
    assert info.value.code == 0
    assert capsys.readouterr().out == f"chaosphere {chaosphere.__version__}\n"


def test_defaults_of_the_commands():
    """Those of version 0.1.0."""
    assert {flag: option.default for flag, option in options_of("sync").items()} == {
        "activations": ("relu", "sigmoid", "tanh"),
        "beta": 1.0,
        "value-scale": 0.0,
        "bias-std": 0.1,
        "output-bias-std": 0.1,
        "dim": 5,
        "tokens": 64,
        "width": 256,
        "depth": 1000,
        "horizon": 50.0,
        "replicas": 32,
    }
    assert {flag: option.default for flag, option in options_of("chaos").items()} == {
        "study": None,
        "interaction": "softmax",
        "beta": 1.0,
        "value-scale": 1.0,
        "bias-std": 0.3,
        "activation": "tanh",
        "width": 64,
        "depth": 32,
        "horizon": 1.0,
        "replicas": 12,
        "concentration": 1.0,
        "dim": (2, 3, 4, 5),
        "tokens": None,
        "nodes": None,
        "x0": None,
        "normalize": False,
        "temperature": 0.0,
        "spread": False,
        "steps": 64,
    }
    assert {flag: option.default for flag, option in options_of("depth-width").items()} == {
        "beta": 1.0,
        "value-scale": 1.0,
        "bias-std": 0.3,
        "activation": "tanh",
        "dim": 3,
        "tokens": 32,
        "horizon": 1.0,
        "depths": (8, 16, 32, 64, 128),
        "widths": (16, 32, 64, 128, 256),
        "refinement": 4,
        "replicas": 16,
    }
    assert {flag: option.default for flag, option in options_of("mean-field").items()} == {
        "beta": 1.0,
        "value-scale": 1.0,
        "bias-std": 0.3,
        "activation": "tanh",
        "horizon": 0.5,
        "steps": (16, 32, 64, 128),
        "refinement": 8,
        "modes": 256,
        "nodes": (16, 32, 64, 128, 256, 512),
        "width": 32,
        "depth": 20,
        "replicas": 16,
        "pair-replicas": 1000,
    }
    assert options_of("figure")["replicas"].default == 1
    assert {flag: option.default for flag, option in options_of("table").items() if not option.is_argument} == {
        "activations": ("relu", "sigmoid", "tanh", "silu"),
        "dims": (5, 64, 128),
        "bias-std": (0.0, 0.1),
    }


def test_an_annotation_that_is_no_option_is_refused():
    def source(*, weights: dict | None = None):
        pass

    command = Command(name="x", summary="", description="", sources=(source,), jobs=lambda values: [])
    with pytest.raises(TypeError, match="an option cannot be of type"):
        options.add(argparse.ArgumentParser(), command)


def test_only_what_the_user_gave_is_handed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    def source(first: int, *, n_items: Sequence[int] = (1, 2), file: Path | None = None, is_on: bool = False):
        """Do it.

        Parameters
        ----------
        first, n_items : int
            Numbers, 50 % of them
            even.
        file : path
        is_on : bool
            Whether.

        Returns
        -------
        nothing : int
            None.
        """

    command = Command(name="x", summary="", description="", sources=(source,), jobs=lambda values: [])
    parser = argparse.ArgumentParser()
    options.add(parser, command)
    assert options.parameter_texts(source) == {
        **dict.fromkeys(("first", "n_items"), "numbers, 50 % of them even"),
        "is_on": "whether",
    }
    assert "50 % of them even (default: 1 2)" in " ".join(parser.format_help().split())
    assert options.values(parser.parse_args(["5"]), command) == {"first": 5}
    typed = parser.parse_args(["5", "--items", "3", "4", "--file", "~/x.npy", "--is-on"])
    assert options.values(typed, command) == {
        "first": 5,
        "n_items": [3, 4],
        "file": tmp_path.resolve() / "x.npy",
        "is_on": True,
    }
    with pytest.raises(ValueError, match="--items must be at most 1000000000, got 10000000000"):
        options.values(parser.parse_args(["5", "--items", str(10**10)]), command)


def run_example(*, rng: int, n_replicas: int = 3, n_threads=None, store=None, on_step=None):
    """Square.

    Parameters
    ----------
    rng : int
    n_replicas : int
        Numbers that are squared.
    """
    return grow(
        lambda index: (index + rng) ** 2,
        n_pieces=n_replicas,
        identity=f'{{"seed": {rng}}}',
        to_dataset=lambda pieces: xarray.Dataset(
            {"square": ("replica", list(pieces))}, attrs={"identity": f'{{"seed": {rng}}}'}
        ),
        from_dataset=lambda dataset: dataset["square"].values.tolist(),
        store=store,
        on_step=on_step,
    )


def test_a_new_experiment_is_a_module_and_a_line(tmp_path, capsys, monkeypatch):
    job = {
        "name": "squares",
        "claims": lambda dataset: [estimates.exact("last", dataset["square"].values[-1], expected=9.0)],
        "table": lambda dataset: f"squares: {dataset['square'].values.tolist()}",
        "draw": lambda dataset, path: path.touch(),
        "n_steps": 3,
        "unit": "numbers",
    }
    command = Command(
        name="squares",
        summary="square numbers",
        description="",
        sources=(run_example,),
        jobs=lambda values: [Job(run=lambda **shared: run_example(**values, **shared), **job)],
    )
    module = types.ModuleType("chaosphere.experiments.squares.command")
    module.COMMANDS = (command,)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "EXPERIMENTS", (*registry.EXPERIMENTS, "squares"))
    out = ["--out", str(tmp_path)]
    assert main(["squares", "--seed", "1", *out]) == 0
    assert capsys.readouterr().out == "squares: [1, 4, 9]\n"
    assert main(["squares", "--seed", "1", "--replicas", "4", *out]) == 0
    assert netcdf.load(tmp_path / "squares.nc")["square"].values.tolist() == [1, 4, 9, 16]
    assert main(["squares", "--seed", "2", *out]) == 2
    assert "holds another study (seed is 1, not 2)" in capsys.readouterr().err


def test_the_time_left_is_told_from_steps_that_took_time(monkeypatch):
    """Three of six steps are found in a file: the other three take ten seconds each."""
    now, lines = [0.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "say", lambda text, **more: lines.append(text.strip()))
    with progress.Progress(6, name="x", unit="steps") as bar:
        for _ in range(3):
            bar.step()
        for _ in range(3):
            now[0] += 10
            bar.step()
    left = [f", {duration(seconds)} left" for seconds in (20, 10)]
    assert lines[1:4] == [
        f"x: 4 of 6 steps, {duration(10)}{left[0]}",
        f"x: 5 of 6 steps, {duration(20)}{left[1]}",
        f"x: 6 of 6 steps, {duration(30)}",
    ]
