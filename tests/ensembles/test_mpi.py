"""Programs under `mpiexec`: the pool of mpi4py.futures, and one system over 1, 2 and 3 ranks."""

import pytest
from support.members import LAW, STUDY, digest, transformer
from support.ranks import TESTS, check_case, mpiexec, needs_mpi
from support.studies import written

import chaosphere as cs
from chaosphere.cli.main import main

pytestmark = needs_mpi


@pytest.mark.parametrize("n_ranks", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_pool_executor(n_ranks, tmp_path):
    store = tmp_path / "study.zarr"
    lines = mpiexec(n_ranks, "-m", "mpi4py.futures", TESTS / "support" / "members.py", "mpi", n_ranks - 1, store)
    expected = digest(cs.ensemble(transformer, LAW, n_threads=1, **STUDY))
    assert lines[0] == expected
    assert digest(cs.load_ensemble(store)) == expected


@pytest.mark.parametrize("n_ranks", [1, pytest.param(2, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize(
    "case",
    [
        "bitwise_identical",
        "moments_are_shared",
        "few_tokens_are_lost",
        "chaos",
        "own_noise",
        "each_draws_its_own",
        "checkpoints_of_each",
        "radii_are_observed",
        "generators_are_the_first_rank_s",
        "checkpoints",
        "foreign_checkpoints_are_refused_on_every_rank",
        "refusals",
        "errors_of_one_rank",
    ],
)
def test_one_system_over_ranks(n_ranks, case, tmp_path):
    check_case("spread.py", case, n_ranks=n_ranks, path=tmp_path / "run.npz")


@pytest.mark.parametrize("n_ranks", [2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "case",
    [
        "errors_that_pickle_loses",
        "errors_of_files",
        "errors_of_all",
        "errors_while_an_error_is_sent",
        "errors_within_a_scan",
        "errors_before_the_first_step",
        "errors_after_the_last_step",
    ],
)
def test_an_error_of_one_rank_is_raised_on_all(n_ranks, case, tmp_path):
    check_case("rank_errors.py", case, n_ranks=n_ranks, path=tmp_path / "run.npz")


def test_a_study_from_a_file(tmp_path, capsys):
    """`chaosphere run` under mpi4py.futures prints what it prints in one process."""
    path = written(tmp_path, executor='"mpi"')
    arguments = ["-m", "mpi4py.futures", "-m", "chaosphere", "run", path, "--json", "--out", tmp_path / "mpi"]
    lines = mpiexec(3, *arguments)
    assert main(["run", str(written(tmp_path)), "--json", "--out", str(tmp_path / "none")]) == 0
    assert "\n".join(lines) == capsys.readouterr().out


def test_the_example(tmp_path, monkeypatch):
    """The same line but for the number of ranks, and no checkpoint left."""
    monkeypatch.chdir(tmp_path)
    example = tmp_path / "one_system.py"
    text = (TESTS.parent / "examples" / "one_system.py").read_text()
    example.write_text(text.replace("10_000", "1_000"))
    digests = {mpiexec(n, "-m", "mpi4py", example)[0].removeprefix(f"{n} ranks: ") for n in (1, 2)}
    assert len(digests) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["one_system.py"]
