"""Models of a user in `estimate`: the levels that they offer, and what their plans refuse."""

import dataclasses

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common.streams import Stream
from chaosphere.models.protocol import ModelPlan


class ShakePlan(ModelPlan):
    def __init__(self, model):
        self.scale, self.fine = model.strength * (model.horizon / model.n_steps) ** 0.5, model.n_fine_steps
        self.is_own = model.is_own

    def advance(self, x, steps, context):
        for step in steps:
            parts = range(step * self.fine, (step + 1) * self.fine)
            draws = [context.noise.draws(Stream.LAYER, k).normals((x.shape[2],))[0] for k in parts]
            x = cs.normalize(x + self.scale * np.sum(draws, axis=0)[:, None, :] / self.fine**0.5)
        return x

    def check_levels(self, x0):
        if self.is_own:
            raise ValueError("shakes of one's own have no levels")


@dataclasses.dataclass(frozen=True)
class Shake:
    """A model of a user: a random vector for all tokens in each step, and of a coarse step the sum of finer ones."""

    strength: float = 0.5
    n_steps: int = 4
    horizon: float = 0.5
    n_fine_steps: int = 1
    is_own: bool = False

    def plan(self, shape, weights=None):
        return ShakePlan(self)


class CoarseShake(Shake):
    def coarsen(self, factor):
        if self.n_steps % factor:
            raise ValueError("factor must divide n_steps")
        changes = {"n_steps": self.n_steps // factor, "n_fine_steps": self.n_fine_steps * factor}
        return dataclasses.replace(self, **changes)


class LimitShake(CoarseShake):
    def with_steps(self, n_steps):
        return dataclasses.replace(self, n_steps=n_steps, n_fine_steps=1)


@pytest.mark.parametrize(
    ("kind", "n_steps", "steps"), [(Shake, 16, {16}), (CoarseShake, 16, {4, 8, 16}), (LimitShake, 4, {4, 8, 16})]
)
def test_a_model_of_a_user_has_the_levels_that_it_offers(kind, n_steps, steps):
    """Null: the mean of 4000 runs of 16 steps, or of 64 for the limit, is that of the estimate; 5 standard errors."""
    model, x = kind(n_steps=n_steps), np.eye(3)[:1]
    result = cs.estimate(model, x, first_coordinate, tolerance=0.04, rng=0, n_threads=1)
    assert set(result.levels["n_steps"].tolist()) == steps
    is_limit = kind is LimitShake
    assert (result.bias > 0) == is_limit
    plain = cs.ensemble(
        kind(n_steps=64 if is_limit else 16), x, seeds=range(4000), observe={"mean": first_coordinate}, save_at=[0.5],
        n_threads=1,
    )["mean"]  # fmt: skip
    error = np.hypot(result.standard_error, plain.std() / 4000**0.5)
    assert abs(result.value - plain.mean()) < 5 * error + result.bias


def first_coordinate(t, x):
    return x[:, :, 0].mean(axis=1)


def test_a_plan_may_refuse_levels():
    with pytest.raises(ValueError, match="shakes of one's own have no levels"):
        cs.estimate(LimitShake(is_own=True), cs.laws.Uniform(dim=3), first_coordinate, tolerance=0.1, rng=0)
