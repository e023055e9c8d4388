"""What is far too large is refused before any work, whichever option of a command it is."""

import typing
from collections.abc import Sequence

import pytest

from chaosphere.cli import options
from chaosphere.cli.main import main
from chaosphere.experiments import pieces, registry, sizes
from chaosphere.reporting import netcdf

NEEDED = {"figure": {"number": 2}}


def commands():
    """All but `table`, whose numbers take as long in any dimension."""
    return [command for command in registry.commands() if command.name != "table"]


def integers():
    """The integer options of all commands, alone or in lists, each with a value that is far too large."""
    for command in commands():
        for option in options.of(command):
            kind = options._without_none(option.kind)
            is_list = typing.get_origin(kind) is Sequence
            if (typing.get_args(kind)[0] if is_list else kind) is not int or option.is_argument:
                continue
            largest = 10**6 if option.flag in ("dim", "dims") else 10**9
            default = option.default if isinstance(option.default, Sequence) else []
            yield pytest.param(command, option.name, [*default, largest] if is_list else largest, id=option.flag)


@pytest.mark.parametrize(("command", "name", "value"), list(integers()))
def test_every_integer_has_a_limit(command, name, value):
    needed = {"temperature": 1.0} if (command.name, name) == ("chaos", "n_steps") else NEEDED.get(command.name, {})

    def check():
        for job in command.jobs(needed | {name: value}):
            pieces.check(lambda job=job: job.run(rng=0, n_threads=1, store=None, on_step=None))

    with pytest.raises(ValueError, match=r"this would take|at most|<=|must|more than"):
        check()


def test_all_studies_are_checked_before_the_first_runs(tmp_path, capsys):
    arguments = ["metastability", "--k-clusters", "3", "1000000", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "k_clusters must be an integer <= 1000, got 1000000" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_sizes_are_refused_before_their_identity_is_taken(monkeypatch, tmp_path, capsys):
    def never(*_):
        raise AssertionError("that of large sizes takes a while")

    monkeypatch.setattr(netcdf, "identity", never)
    assert main(["chaos", "--dim", "1000000", "--tokens", "100000", "200000", "--out", str(tmp_path / "out")]) == 2
    assert "a smaller dimension" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (
            {"n_steps": sizes.MAX_STEPS + 1},
            "10000001 steps or layers in a run, and an experiment takes at most 10000000",
        ),
        ({"n_replicas": sizes.MAX_REPLICAS + 1}, "the number of replicas must be at most 1000000, got 1000001"),
        ({"n_tokens": 10**12}, "tokens, replicas, nodes, layers or units, or a smaller dimension"),
        ({"n_results": 10**14}, r"about 1.6e\+06 GB"),
    ],
)
def test_the_rule_itself(size, message):
    sizes.check_size(n_tokens=10, dim=3, n_steps=sizes.MAX_STEPS, n_replicas=sizes.MAX_REPLICAS)
    with pytest.raises(ValueError, match=message):
        sizes.check_size(**{"n_tokens": 10, "dim": 3, "n_steps": 1, "n_replicas": 1} | size)
