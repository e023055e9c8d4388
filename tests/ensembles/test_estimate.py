"""Expectations by multilevel Monte Carlo: exact cases, exponents of levels, determinism, resuming, bad arguments."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.stats import beta
from support.estimates import ENERGY, FIELD, KERNEL, MODEL, NETWORK, NOISE, UNIFORM, X, question, samples

import chaosphere as cs
from chaosphere.ensembles import level_runs
from chaosphere.ensembles.level_runs import LevelRuns
from chaosphere.ensembles.levels import Ladder, Level, LevelModel
from chaosphere.ensembles.pool import Pool
from chaosphere.ensembles.telescope import Moments, Telescope

LIMIT = cs.MeanField(model=NETWORK, law=UNIFORM, n_nodes=6)
FEATURES = dataclasses.replace(NOISE, field=dataclasses.replace(FIELD, method="features"))
HEADS = cs.LimitSDE(attention=None, field=cs.RandomAttention(head_dim=1, query_key_std=2.0), horizon=0.5, n_steps=4)


@pytest.fixture
def few_tokens(monkeypatch):
    """Coarsest levels of eight tokens."""
    monkeypatch.setattr(level_runs, "COARSEST_TOKENS", 8)


def same(one, other):
    return one.to_xarray().equals(other.to_xarray())


@pytest.mark.usefixtures("few_tokens")
def test_noise_alone_has_the_energy_of_the_pair_equation():
    """Null: the 99 % interval is wrong with probability 1 %; with twice its width, 1e-6 (5.1 standard errors)."""

    def gap(u):
        return np.e - np.exp(u)

    (exact,) = cs.two_point.expectation(KERNEL, gap, [0.5], u0="uniform") / 2
    result = cs.estimate(NOISE, UNIFORM, ENERGY, tolerance=0.1, rng=1, n_threads=1)
    assert abs(result.value - exact) < 2 * (result.high - result.value)
    assert result.high - result.value <= 0.1
    assert result.levels["n_tokens"].max() > 8
    assert result.levels["n_steps"].max() > 4


@pytest.mark.usefixtures("few_tokens")
def test_variances_fall_with_tokens_and_with_steps():
    """Null: variances fall as N⁻² between levels of 16 and 64 tokens, and as h between 8 and 32 steps.

    Samples of kurtosis below 12: the logarithm of a ratio of two variances of 600 has a standard deviation of at most
    √(2 · 11 / 600) = 0.19, which 5 of them (false-alarm rate 6e-7) make 0.96.
    """
    by_tokens = [samples(NOISE, index, 600).var() for index in ((1, 0), (3, 0))]
    assert abs(np.log(by_tokens[0] / by_tokens[1]) - 4 * np.log(2)) < 0.96
    by_steps = [samples(NOISE, index, 600).var() for index in ((0, 1), (0, 3))]
    assert abs(np.log(by_steps[0] / by_steps[1]) - 2 * np.log(2)) < 0.96


@pytest.mark.usefixtures("few_tokens")
def test_extrapolation_removes_the_bias_of_the_diagonal():
    """Null: the mean energy of N independent tokens is (1 − 1/N) times that of pairs, so 2 Δ₂ = Δ₁; 5 standard errors.

    300 samples of each level; false-alarm rate 6e-7.
    """
    own = [samples(NOISE, (a, 0), 300) for a in (1, 2)]
    difference = 2 * own[1].mean() - own[0].mean()
    assert abs(difference) < 5 * np.sqrt((4 * own[1].var() + own[0].var()) / 300)
    assert own[0].mean() > 10 * own[0].std() / np.sqrt(300)  # there is a bias to remove


def test_systems_of_a_level_are_runs_of_their_own():
    """The finest system is the run of `simulate` with that seed, the others are those of half of its tokens."""
    fine = dataclasses.replace(MODEL.with_steps(8), temperature=0.1)
    level = Level(models=(fine, fine.coarsen(2)), n_tokens=6, has_halves=True)
    final = cs.simulate(LevelModel(level=level), level.arranged(X), rng=3).final
    for model, rows in zip(level.models, (level.blocks[:3], level.blocks[3:]), strict=True):
        assert np.array_equal(final[rows[0]], cs.simulate(model, X, rng=3).final)
    # Without attention tokens do not see each other, so that those of a half move as they do among all.
    free = dataclasses.replace(fine, attention=None)
    level = dataclasses.replace(level, models=(free,))
    blocks = [cs.simulate(LevelModel(level=level), level.arranged(X), rng=3).final[rows] for rows in level.blocks]
    np.testing.assert_allclose(blocks[0][::2], blocks[1], rtol=1e-13)
    np.testing.assert_allclose(blocks[0][1::2], blocks[2], rtol=1e-13)


def test_the_last_levels_sum_to_what_is_beyond():
    """Differences that halve from level to level: the sum is exact, also where there is a last level."""
    a, b = np.arange(40)[:, None], np.arange(40)
    for finest, layer in (((None, None), 2), ((None, 3), 2), ((0, 3), 2), ((None, 0), 4), ((2, 1), 3)):
        telescope = Telescope(layer=layer, finest=finest)
        last_a, last_b = (39 if last is None else last for last in finest)
        exact = (2.0 ** -(a + b))[: last_a + 1, : last_b + 1].sum()
        means = np.array([2.0 ** -(i + j) for i, j in telescope.indices])
        coefficients = telescope.extrapolated().sum(axis=0)
        assert coefficients @ means == pytest.approx(exact, rel=1e-10)
        assert telescope.is_complete == (finest == (2, 1))
    assert telescope.bias_bound(means) == 0


@pytest.mark.parametrize(("ratio", "is_slow"), [(0.4, False), (0.5, False), (0.55, False), (0.7, True), (0.85, True)])
def test_the_bound_of_the_bias_holds_for_any_ratio(ratio, is_slow):
    """Differences that are multiplied by a ratio, known exactly: the limit is in the interval from layer 2 on."""
    for layer in range(2, 8):
        telescope = Telescope(layer=layer, finest=(None, 0))
        means = 1e-3 * ratio ** np.arange(layer + 1.0)
        variances, n_samples = np.full(layer + 1, 1e-30), np.full(layer + 1, 32)
        moments = Moments(telescope=telescope, means=means, variances=variances, n_samples=n_samples)
        assert moments.decays[0].is_slow == is_slow
        assert abs(moments.value - 1e-3 / (1 - ratio)) <= moments.bias + 1e-12
    growing = dataclasses.replace(moments, means=means[::-1].copy())
    assert growing.decays[0].is_still
    assert growing.bias == np.inf


def test_a_small_difference_by_chance_does_not_hide_the_bias():
    """Of r = 0.7 two differences may look as if they halved, if their errors allow it."""
    moments = Moments(
        telescope=Telescope(layer=2, finest=(None, 0)),
        means=np.array([0.0, 0.1, 0.05]),
        variances=np.full(3, 32 * 0.01**2),
        n_samples=np.full(3, 32),
    )
    assert moments.bias > 0.1 * 0.7**3 / 0.3 - 0.05


def test_a_bias_of_the_inverse_root_is_in_the_interval():
    """The size of the mean of N uniform tokens is of order N^{-1/2}, its limit 0; the cases of the seeds are fixed."""
    still = cs.Transformer(attention=cs.SoftmaxAttention(value_scale=0.1), mlp=None, depth=1, horizon=0.1)

    def size(t, x):
        return np.linalg.norm(x.mean(axis=1), axis=-1)

    for seed in range(3):
        result = cs.estimate(still, UNIFORM, size, tolerance=0.05, rng=seed, n_threads=1)
        assert result.low <= 0 <= result.high


def test_numbers_of_samples_are_those_of_least_work():
    telescope = Telescope(layer=2, finest=(0, 2))
    moments = Moments(
        telescope=telescope,
        means=np.zeros(3),
        variances=np.array([1.0, 0.1, 0.01]),
        n_samples=np.full(3, 10**6),
    )
    work = np.array([1.0, 2.0, 4.0])
    wanted = moments.wanted(0.01, work=work)
    reached = dataclasses.replace(moments, n_samples=wanted)
    assert 0.95 < reached.half_width / 0.01 < 1
    np.testing.assert_allclose(wanted / wanted[0], np.sqrt(moments.variances / work), rtol=1e-3)


def test_ladders():
    assert [Ladder.of(model).last for model in (MODEL, NETWORK, dataclasses.replace(NETWORK, depth=7))] == [None, 1, 0]
    assert Ladder.of(NETWORK).at(0)[0].depth == 4
    assert Ladder.of(dataclasses.replace(MODEL, n_steps=64)).n_steps == 4
    scales = cs.Transformer(attention=None, mlp=cs.MLP(width=8), depth=8, horizon=0.5, noise_scale=[1.0] * 8)
    assert Ladder.of(scales).last == 0
    per_step = dataclasses.replace(MODEL, noise_scale=[1.0] * 4)
    assert Ladder.of(per_step).last == 0
    assert Ladder.of(per_step).at(0) == (per_step,)


def test_fixed_tokens_of_a_network_have_no_bias():
    """Null: plain samples of the whole network have the same mean; 2000 of them, 5 standard errors of both."""
    result = cs.estimate(NETWORK, X, ENERGY, tolerance=0.03, rng=0, n_threads=1)
    assert result.bias == 0
    assert result.levels["n_steps"].tolist() == [4, 8]
    assert result.levels["n_tokens"].tolist() == [6, 6]
    data = cs.ensemble(NETWORK, X, seeds=range(2000), observe={"e": ENERGY}, save_at=[0.5], n_threads=1)["e"]
    error = np.hypot(result.standard_error, data.std() / np.sqrt(2000))
    assert abs(result.value - data.mean()) < 5 * error


def test_a_rare_event_is_seen():
    """An event of probability 0.03 that the first 32 samples do not show.

    Null: the interval misses with probability 1 %; with twice its width 1e-6 (5.1 standard errors). The quantile is one
    of 4000 other samples, whose own error, 0.0027, is added five times.
    """

    def size(t, x):
        return np.linalg.norm(x.mean(axis=1), axis=-1)

    model = dataclasses.replace(NETWORK, depth=7)
    data = cs.ensemble(model, X, seeds=range(4000), observe={"size": size}, save_at=[0.5], n_threads=1)["size"]
    limit = np.quantile(data, 0.97)

    def event(t, x):
        return (size(t, x) > limit).astype(float)

    runs = LevelRuns(question(model, X, event), (0, 0), n_samples=32)
    runs.extend(32)
    assert not runs.values.any()
    result = cs.estimate(model, X, event, tolerance=0.02, rng=0, n_threads=1)
    assert 0 < result.high - result.value <= 0.02
    assert abs(result.value - 0.03) < 2 * (result.high - result.value) + 0.014
    never = cs.estimate(model, X, lambda t, x: np.zeros(len(x)), tolerance=0.02, rng=0, n_threads=1)
    assert never.levels["n_samples"].tolist() == [1000]
    still = dataclasses.replace(model, mlp=None)  # no sample can differ
    assert cs.estimate(still, X, event, tolerance=0.02, rng=0, n_threads=1).levels["n_samples"].tolist() == [32]


def test_few_samples_that_differ_have_the_variance_that_their_number_allows():
    """The normal interval of k events of n reaches the upper limit of Clopper and Pearson, to order 1/n."""
    for n_events in (1, 4, 30):
        samples = np.repeat([0.0, 1.0], [10_000 - n_events, n_events])
        telescope = Telescope(layer=0, finest=(0, 0))
        moments = Moments.of(telescope, [samples])
        limit = beta.isf(0.005, n_events + 1, 10_000 - n_events)
        assert moments.value + moments.half_width == pytest.approx(limit, rel=2e-3)
    even = np.arange(10_000.0)
    assert Moments.of(telescope, [even]).variances == even.var(ddof=1)


@pytest.mark.parametrize("model", [FEATURES, HEADS])
def test_one_level_alone_may_have_any_noise(model):
    """Nothing is compared for a MeanField, and for one value of each step with given tokens: the mean of plain runs."""
    limit = cs.MeanField(model=model, law=UNIFORM, n_nodes=50)
    for alone, x in ((limit, limit.start()), (dataclasses.replace(model, noise_scale=[1.0, 0.5, 0.5, 1.0]), X)):
        result = cs.estimate(alone, x, ENERGY, tolerance=1.0, rng=0, n_threads=1)
        assert result.bias == 0
        assert result.levels["n_steps"].tolist() == [4]
        plain = cs.ensemble(alone, x, seeds=range(200), observe={"e": ENERGY}, save_at=[0.5], n_threads=1)["e"]
        assert abs(result.value - plain.mean()) < 5 * np.hypot(result.standard_error, plain.std() / 200**0.5)
    with pytest.raises(ValueError, match="field must be"):
        cs.estimate(dataclasses.replace(model, noise_scale=[1.0] * 4), UNIFORM, ENERGY, tolerance=1.0, rng=0)


def test_radii():
    model = cs.Transformer(attention=NETWORK.attention, mlp=None, depth=4, horizon=0.5, normalization="pre")
    result = cs.estimate(model, X, cs.measures.RadiusMoment(power=1), tolerance=0.1, rng=0, n_threads=1)
    sol = cs.simulate(model, X, rng=0)
    assert result.value == pytest.approx(sol.final_radii.mean(), abs=1e-12)
    assert result.low == pytest.approx(result.high, abs=1e-12)


def test_same_result_on_any_executor_with_any_store(tmp_path, monkeypatch):
    def run(**options):
        return cs.estimate(NETWORK, X, ENERGY, tolerance=0.05, rng=5, **options)

    here = run(n_threads=1)
    assert same(here, run(n_threads=2))
    with ThreadPoolExecutor(2) as pool:
        assert same(here, run(executor=pool))
    assert same(here, run(store=tmp_path / "s"))
    assert not same(here, cs.estimate(NETWORK, X, ENERGY, tolerance=0.05, rng=6))
    monkeypatch.setattr("chaosphere.ensembles.worker.simulate", None)  # nothing is run again
    assert same(here, run(store=tmp_path / "s"))


def test_a_stopped_estimate_continues(tmp_path, monkeypatch):
    def run(tolerance, **options):
        return cs.estimate(NETWORK, X, ENERGY, tolerance=tolerance, rng=5, n_threads=1, **options)

    uninterrupted, calls = run(0.01), []
    extend = LevelRuns.extend

    def stopping(self, n_samples):
        calls.append(n_samples)
        if len(calls) == 4:  # in the second round
            raise KeyboardInterrupt
        extend(self, n_samples)

    with monkeypatch.context() as patch:
        patch.setattr(LevelRuns, "extend", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(0.01, store=tmp_path / "s")
    assert same(uninterrupted, run(0.01, store=tmp_path / "s"))
    # A larger tolerance takes the first of the samples that are there.
    assert same(run(0.06), run(0.06, store=tmp_path / "s"))
    with pytest.raises(ValueError, match="another study"):
        cs.estimate(NETWORK, X, cs.measures.Energy(beta=2.0), tolerance=0.03, rng=5, store=tmp_path / "s")


def test_repr_and_dataset():
    result = cs.estimate(NETWORK, X, ENERGY, tolerance=0.1, rng=0, n_threads=1)
    assert repr(result).splitlines()[0] == "Estimate"
    assert "99 % interval" in repr(result)
    assert "<table" in result._repr_html_()
    data = result.to_xarray()
    assert data["mean"].dims == ("level",)
    assert float(data["low"]) < float(data["value"]) < float(data["high"])
    assert result.cost == float((data["pairs"] * data["n_samples"]).sum())
    assert result.levels["pairs"].tolist() == [4 * 36, (8 + 4) * 36]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"tolerance": 0}, ValueError, "tolerance must be a finite number > 0"),
        ({"tolerance": "0.1"}, TypeError, "tolerance must be a real number"),
        ({"rng": None}, TypeError, "rng must be"),
        ({"rng": -1}, ValueError, "rng must be"),
        ({"model": cs.SoftmaxAttention()}, TypeError, "model must be a model"),
        ({"x0": X[None]}, ValueError, "x0 must be a law, or tokens of shape"),
        ({"x0": 2 * X}, ValueError, "x0 must"),
        ({"x0": "uniform"}, TypeError, "x0 must be an array of tokens or a law"),
        ({"x0": cs.laws.Uniform(dim=4)}, ValueError, "dim"),
        ({"model": LIMIT}, ValueError, "x0 must be the tokens of start"),
        ({"model": LIMIT, "x0": X}, ValueError, "x0 must begin with the . nodes"),
        ({"model": FEATURES}, ValueError, "method 'spectral', got 'features'"),
        ({"model": HEADS}, ValueError, "field must be a RandomAttention with beta=, got one with head_dim="),
        ({"model": HEADS, "x0": X}, ValueError, "field must be a RandomAttention with beta="),
        ({"observable": "energy"}, TypeError, "must be callable"),
        ({"observable": lambda x: x}, TypeError, "must be callable on"),
        ({"observable": lambda t, x: x}, ValueError, "observable must return one real number for each replica"),
        ({"observable": cs.measures.RadiusMoment(power=1)}, ValueError, "needs a model with radii"),
        ({"executor": 3}, TypeError, "executor must be"),
        ({"n_threads": 0}, ValueError, "n_threads must be"),
        ({"memory_limit": 1000}, ValueError, "memory_limit"),
    ],
)
def test_bad_arguments_are_refused_before_any_run(change, error, text, monkeypatch):
    monkeypatch.setattr("chaosphere.ensembles.worker.simulate", None)
    arguments = {"model": MODEL, "x0": UNIFORM, "observable": ENERGY, "tolerance": 0.1, "rng": 0} | change
    model, x0, observable = (arguments.pop(name) for name in ("model", "x0", "observable"))
    with pytest.raises(error, match=text):
        cs.estimate(model, x0, observable, **arguments)


def test_what_only_the_runs_show_is_an_error():
    def cold(t, x):
        return np.full(len(x), np.nan if t else 0.0)

    with pytest.raises(ValueError, match="observable must return finite numbers, got"):
        LevelRuns(question(NETWORK, observable=cold), (1, 0), n_samples=4).extend(4)
    with pytest.raises(ValueError, match="tolerance=1e-200 would take about"):
        cs.estimate(NETWORK, X, ENERGY, tolerance=1e-200, rng=0)


def test_a_bias_that_does_not_fall_is_an_error():
    """An observable that is no function of the measure: the number of tokens."""
    still = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=1, horizon=0.1)
    with pytest.raises(ArithmeticError, match="tokens doubles: its mean last changed by 128 and 256"):
        cs.estimate(still, UNIFORM, lambda t, x: np.full(len(x), float(x.shape[1])), tolerance=1.0, rng=0)


@pytest.mark.slow
def test_same_result_in_processes():
    here = cs.estimate(NETWORK, X, ENERGY, tolerance=0.05, rng=5)
    with Pool(2) as pool:
        assert same(here, cs.estimate(NETWORK, X, ENERGY, tolerance=0.05, rng=5, executor=pool))
