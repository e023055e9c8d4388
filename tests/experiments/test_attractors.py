"""Pull-back runs: the steps that starts share, distances and discrepancies, and the claims."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.experiments.attractors import runs


def model(n_steps=20):
    field = cs.GaussianField(kernel=runs.kernel("point", dim=4, power=5), method="spectral")
    return cs.LimitSDE(attention=None, field=field, horizon=1.0, n_steps=n_steps)


def test_starts_share_the_last_steps_to_the_bit():
    # The later start takes what the earlier one has at that time, and ends where it does.
    x = cs.sample_uniform(10, 4, rng=0)
    states = [state for _, state in cs.trajectory(model(), x, rng=3)]
    starts = np.stack([states[15], states[10], states[5], x])
    ends = runs.pulled_back(model(), starts, rng=3, n_threads=1)
    for end in ends:
        np.testing.assert_array_equal(end, states[-1])


def test_exponents_of_the_three_noises():
    assert runs.kernel("point", dim=5, power=5).lyapunov_exponent() == pytest.approx(-1.5)
    assert runs.kernel("pair", dim=5, power=5).lyapunov_exponent() == pytest.approx(-1.0)
    measure = runs.kernel("measure", dim=5, power=5)
    assert measure.lyapunov_exponent() == pytest.approx(3.0)
    assert measure.correlation_dimension() == pytest.approx(1.0)


def test_log_gap():
    end = np.array([1.0, 0.0])
    x = np.array([[1.0, 0.0], [0.0, 1.0], [-0.8, 0.6]])
    assert runs.log_gap(x, end, is_odd=False) == pytest.approx(0.5 * np.log(2))
    assert runs.log_gap(x, end, is_odd=True) == pytest.approx(0.5 * np.log(0.4))
    assert runs.log_gap(x[:1], end, is_odd=False) == pytest.approx(np.log(2.2e-16), abs=0.01)


def test_discrepancy_has_no_bias():
    # Mean over 400 pairs of samples of one law: five standard errors is a false-alarm rate below 1e-6.
    x, y = (cs.sample_uniform(20, 3, rng=seed, n_replicas=400) for seed in (0, 1))
    values = np.array([runs.discrepancy(a, b) for a, b in zip(x, y, strict=True)])
    assert abs(values.mean()) < 5 * values.std() / 20
    other = np.array([runs.discrepancy(a, np.abs(b)) for a, b in zip(x, y, strict=True)])
    assert other.mean() > 0.1


def test_claims_of_a_coarse_run():
    # Steps are long here, which the rates and the dimension feel; the seed is fixed, the intervals are of 99 %.
    data = runs.run(rng=1, n_tokens=40, n_steps=400, n_replicas=12)
    point, n_points, pair, n_pair, discrepancy, dimension = runs.claims(data)
    assert point.measured == pytest.approx(-1.5, rel=0.5)
    assert pair.measured == pytest.approx(-1.0, rel=0.5)
    assert n_points.verdict == n_pair.verdict == "agrees"
    assert discrepancy.verdict != "differs"
    assert dimension.measured == pytest.approx(1.0, rel=0.5)
    assert "measure: λ1 = 3, close tokens separate" in runs.table(data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 3}, "dim must be"),
        ({"power": 4}, "power must be odd and above"),
        ({"dim": 4, "power": 3}, r"power must be odd and above \(dim - 1\)/\(dim - 3\) = 3, got 3"),
        ({"n_tokens": 10}, "n_tokens must be"),
        ({"n_steps": 12}, "n_steps must be a multiple of 5, got 12"),
        ({"decays": 0.0}, "decays must be"),
        ({"n_replicas": 1}, "n_replicas must be"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        runs.run(rng=0, **options)
