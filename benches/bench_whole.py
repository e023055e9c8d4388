"""Whole experiments beside the scripts in peers/, for correctness; `python benches/whole.py` measures them."""

import pytest
import registry
import whole


@pytest.mark.skipif(not registry.IS_QUICK, reason="minutes: python benches/whole.py measures it")
@pytest.mark.parametrize("experiment", whole.EXPERIMENTS)
def test_whole(experiment):
    results = whole.run_all([experiment], passes=1, is_quick=True, n_replicas=1)
    contenders = {entry["contender"] for entry in results["experiments"]}
    assert contenders == {"chaosphere", "numpy", "jax"} - set(results["absent"])
    assert {row["peer"] for row in results["comparisons"]} == contenders - {"chaosphere"}
    assert f"| {experiment} |" in whole.report(results)
