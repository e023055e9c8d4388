"""Antithetic runs of `estimate`: what they are, which models have them, and how their variance falls."""

import dataclasses

import numpy as np
from support import estimates
from support.estimates import ENERGY, NETWORK, UNIFORM, X, samples

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise
from chaosphere.ensembles import level_runs
from chaosphere.ensembles.levels import Level, LevelModel
from chaosphere.models.protocol import StepContext

NOISE, MODEL = (dataclasses.replace(model, scheme="heun") for model in (estimates.NOISE, estimates.MODEL))


def test_variances_fall_as_the_square_of_the_step(monkeypatch):
    """Null: variances fall as h² between 8 and 32 steps.

    Samples of kurtosis below 12: the logarithm of a ratio of two variances of 600 has a standard deviation of at most
    √(2 · 11 / 600) = 0.19, which 5 of them (false-alarm rate 6e-7) make 0.96. The means are those of a difference
    without an antithetic run: 5 standard errors.
    """
    monkeypatch.setattr(level_runs, "COARSEST_TOKENS", 8)
    first, last = (samples(NOISE, index, 600) for index in ((0, 1), (0, 3)))
    assert abs(np.log(first.var() / last.var()) - 4 * np.log(2)) < 0.96
    tokens = np.stack([UNIFORM.sample(8, rng=seed) for seed in range(600)])
    fine = NOISE.with_steps(8)
    values = [ENERGY(0.5, cs.simulate(m, tokens, rng=list(range(600))).final) for m in (fine, fine.coarsen(2))]
    plain = values[0] - values[1]
    assert plain.var() > 3 * first.var()
    assert abs(first.mean() - plain.mean()) < 5 * np.sqrt((first.var() + plain.var()) / 600)


class Exchanged:
    """The noise of a run, with that of each two steps exchanged: 1, 0, 3, 2, …"""

    def __init__(self, noise):
        self.noise = noise

    def __getattr__(self, name):
        return getattr(self.noise, name)

    def draws(self, stream, step):
        return self.noise.draws(stream, step + 1 - 2 * (step % 2))


def test_an_antithetic_run_takes_the_noise_of_each_two_steps_exchanged():
    """Bitwise that of the model under such a noise, in a level whose other systems are runs of their own."""
    fine = dataclasses.replace(MODEL.with_steps(8), temperature=0.1)
    level = Level(models=(fine, fine.coarsen(2)), n_tokens=6, has_halves=False)
    final = cs.simulate(LevelModel(level=level), level.arranged(X), rng=3).final
    runs = [final[rows] for rows in level.blocks]
    context = StepContext(noise=Exchanged(Noise(3)), n_threads=1)
    state = X[None]
    for step in range(8):
        state = fine.plan(Shape.of(state)).advance(state, range(step, step + 1), context)
    assert len(runs) == 3
    assert np.array_equal(runs[0], cs.simulate(fine, X, rng=3).final)
    assert np.array_equal(runs[1], state[0])
    assert not np.array_equal(runs[0], runs[1])
    assert np.array_equal(runs[2], cs.simulate(fine.coarsen(2), X, rng=3).final)
    assert level.differences(np.array([[1.0, 2.0, 0.5]])) == 1.0
    halves = dataclasses.replace(level, has_halves=True)
    assert halves.differences(np.array([[1.0, 0.0, 0.5, 2.0, 1.0, 2.0, 0.5, 0.0, 0.0]])) == (0.75 + 0.5) / 2 - 0.5


def test_models_without_noise_or_of_another_scheme_have_no_antithetic_run():
    others = [dataclasses.replace(MODEL, **change) for change in ({"field": None}, {"scheme": "split"})]
    for model in (*others, NETWORK):
        fine = model.coarsen(1)
        assert len(Level(models=(fine, fine.coarsen(2)), n_tokens=6, has_halves=False).runs) == 2
