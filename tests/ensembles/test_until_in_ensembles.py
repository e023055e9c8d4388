"""Conditions that end the runs of an ensemble, and clusters that are merged: every member is what it is alone."""

import json
import re

import numpy as np
import pytest
from support.studies import written

import chaosphere as cs
from chaosphere.cli.main import main
from chaosphere.ensembles import study, study_file
from chaosphere.reporting import netcdf

LAW = cs.laws.Uniform(dim=3)
TIMES = [0.0, 1.0, 4.0, 8.0, 16.0]
UNTIL = cs.until.Clustered(tolerance=0.01)
LONG = """
[model]
type = "limit"
horizon = 16.0
n_steps = 32
scheme = "dormand-prince"
tolerance = 1e-9
[model.attention]
beta = 1.0
[tokens]
n_tokens = 6
dim = 3
[observe.mean_cosine]
[until]
type = "threshold"
measure = "pair_fraction"
above = 0.99
at_least = 1.0
[run]
replicas = 4
save_at = [0.0, 1.0, 16.0]
coalesce = 1e-3
"""


def model(beta=1.0):
    return cs.LimitSDE(attention=cs.SoftmaxAttention(beta=beta), field=None, horizon=20.0, n_steps=100)


def cosine(time, x):
    return cs.measures.mean_cosine(x)


def study_of(**more):
    options = {"n_tokens": 8, "seeds": range(4), "observe": {"cosine": cosine}, "save_at": TIMES, "until": UNTIL}
    return cs.ensemble(model, LAW, **options | more)


def test_members_are_runs_alone():
    data = study_of(sweep={"beta": [1.0, 4.0]})
    ends = []
    for k, beta in enumerate([1.0, 4.0]):
        for r in range(4):
            x = LAW.sample(8, rng=r)
            sol = cs.simulate(model(beta), x, rng=r, save_at=TIMES, observe={"cosine": cosine}, until=UNTIL)
            member = data["cosine"].values[k, r]
            np.testing.assert_array_equal(member[: len(sol.times)], sol.observables["cosine"])
            assert np.isnan(member[len(sol.times) :]).all()
            np.testing.assert_array_equal(data["hitting_times"].values[k, r], sol.hitting_times)
            ends.append(len(sol.times))
    assert min(ends) < max(ends) == len(TIMES)  # some are ended, some not


def test_means_are_over_the_runs_that_are_left():
    data = study_of()
    rows = data["cosine"].values
    left = ~np.isnan(rows)
    assert left.all(axis=0).tolist()[:2] == [True, True]
    for t in range(len(TIMES)):
        some = rows[left[:, t], t]
        mean = data["cosine_mean"].values[t]
        assert np.isnan(mean) if len(some) == 0 else abs(mean - some.mean()) < 1e-15
    assert "hitting_times_mean" not in data


def test_a_store_keeps_the_hitting_times(tmp_path):
    path = tmp_path / "s.zarr"
    few = study_of(store=path)
    more = study_of(store=path, seeds=range(6))
    np.testing.assert_array_equal(more["hitting_times"][:4], few["hitting_times"])
    assert more.equals(study_of(seeds=range(6)))
    with pytest.raises(ValueError, match=r"until.tolerance is 0.01, not 0.02; remove it"):
        study_of(store=path, until=cs.until.Clustered(tolerance=0.02))


def test_runs_that_end_before_the_first_time():
    data = study_of(save_at=[19.0])
    assert np.isnan(data["cosine"]).all()
    assert np.isfinite(data["hitting_times"]).all()


def test_coalesced_members_are_runs_alone():
    data = study_of(until=None, coalesce=1e-3)
    for r in range(4):
        x = LAW.sample(8, rng=r)
        sol = cs.simulate(model(), x, rng=r, save_at=TIMES, observe={"cosine": cosine}, coalesce=1e-3)
        np.testing.assert_array_equal(data["cosine"][r], sol.observables["cosine"])


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"until": 3}, TypeError, r"until must be callable on \(time, tokens\), got 3"),
        ({"until": lambda t, x: True}, ValueError, "until must return one bool for each replica in an ensemble"),
        ({"until": lambda t, x: x[:, 0, 0]}, TypeError, "until must return True or False, got float64"),
        ({"coalesce": 0.5}, ValueError, "coalesce must be a finite number > 0 and <= 0.1, got 0.5"),
        ({"observe": {"hitting_times": cosine}}, ValueError, "names other than .*hitting_times"),
        ({"observe": {"hitting_times": cosine}, "until": None}, ValueError, "names other than .*hitting_times"),
    ],
)
def test_arguments(more, error, message):
    with pytest.raises(error, match=message):
        study_of(**more)


def test_a_study_file(tmp_path, capsys):
    path, out = written(tmp_path, LONG), tmp_path / "out"
    loaded = study_file.read(path)
    assert loaded.coalesce == 1e-3
    assert loaded.model().tolerance == 1e-9
    assert main(["run", str(path), "--out", str(out), "--json"]) == 0
    claims = {claim["quantity"]: claim for claim in json.loads(capsys.readouterr().out)}
    assert list(claims) == ["share of ended runs", "hitting time"]  # no run is left whose cosine has a mean
    assert claims["share of ended runs"]["measured"] == 1
    with netcdf.load(out / "small.nc") as data:
        early, late = data["hitting_times"].values.T
        np.testing.assert_allclose(late - early, 0.5)
        assert abs(claims["hitting time"]["measured"] - (early + late).mean() / 2) < 1e-12
        assert claims["hitting time"]["low"] < early.mean() < late.mean() < claims["hitting time"]["high"]
    assert main(["run", str(path), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"until  Threshold\(observable=Measure\(name='pair_fraction'", printed)
    assert re.search(r"pair interactions  at least [0-9.e+]+\n", printed)
    assert "estimated time  not known, as steps are refined" in printed


def test_the_estimated_time_is_of_runs_to_the_end(tmp_path, capsys):
    path = written(tmp_path, LONG, scheme='"rk4"', tolerance=None)
    assert main(["run", str(path), "--dry-run"]) == 0
    assert re.search(r"estimated time  [0-9.]+ m?s, where no run ends early", capsys.readouterr().out)


def test_a_dry_run_takes_no_step_that_may_be_a_run(tmp_path, capsys):
    """A step of length 1e13, which alone would end with an error after a million inner steps."""
    path = written(tmp_path, LONG, horizon="1e13", n_steps="1", save_at=None, coalesce=None)
    assert main(["run", str(path), "--dry-run"]) == 0
    assert "not known" in capsys.readouterr().out


def test_a_study_file_with_clusters(tmp_path):
    text = (
        LONG[: LONG.index('type = "threshold"')]
        + 'type = "clustered"\ntolerance = 0.02\n'
        + LONG[LONG.index("[run]") :]
    )
    loaded = study_file.read(written(tmp_path, text, coalesce=None))
    assert loaded.until == cs.until.Clustered(tolerance=0.02)
    data = study.run(loaded, store=tmp_path / "s.zarr")
    assert data["hitting_times"].dims == ("replica", "hitting_times_0")


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"above": None}, r"\[until\] above must be given"),
        ({"at_least": None}, r"\[until\] at_least and at_most: one of them must be given"),
        ({"at_least": '"one"'}, r"\[until\] at_least must be a real number, got 'one'"),
        ({"at_least": "2.0"}, r"\[until\] at_least must be within the values of the measure, 0 to 1, got 2.0"),
        (
            {"at_least": "1.0\nmost = 2"},
            r"\[until\] unknown key 'most'; .*allowed: measure, above, type, at_least, at_most",
        ),
        ({"measure": '"pairs"'}, r"\[until\] measure: unknown 'pairs'; .*allowed: energy"),
        ({"measure": '"radius_moment"'}, r"\[until\] measure: unknown 'radius_moment'"),
        ({"measure": None}, r"\[until\] measure must be given"),
        ({"coalesce": "1.0"}, r"\[run\] coalesce must be a finite number > 0 and <= 0.1, got 1.0"),
        ({"tolerance": "1e-20"}, r"\[model\] tolerance must be a finite number >= 1e-13"),
        ({"scheme": '"rk4"'}, r"\[model\] tolerance must be None for scheme='rk4', whose steps are fixed"),
    ],
)
def test_errors_name_the_key(tmp_path, capsys, replaced, message):
    assert main(["run", str(written(tmp_path, LONG, **replaced)), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("until = 3", r"until must be a table, \[until\], got 3"),
        ("[until]", r"\[until\] type must be given"),
        ('[until]\ntype = "clusterd"', r"\[until\] type: unknown 'clusterd'; did you mean 'clustered'"),
        ('[until]\ntype = "clustered"', r"\[until\] tolerance must be given"),
        (
            '[until]\ntype = "clustered"\ntolerance = 0.1\nn_clusters = 0',
            r"\[until\] n_clusters must be an integer >= 1",
        ),
    ],
)
def test_errors_of_the_table(tmp_path, capsys, table, message):
    text = LONG[: LONG.index("[until]")] + LONG[LONG.index("[run]") :]
    path = written(tmp_path, f"{table}\n{text}")
    assert main(["run", str(path), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
