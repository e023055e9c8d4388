"""Tokens that are drawn in blocks."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.geometry import sample as module

VMF = cs.laws.VonMisesFisher(mean_direction=(0.0, 0.6, 0.8), concentration=2.0)


@pytest.mark.parametrize("n_replicas", [None, 2])
def test_any_rows_have_the_bits_of_all(n_replicas, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 64)
    sample = cs.laws.Sample(law=VMF, n_tokens=300, rng=3, n_replicas=n_replicas, dtype="float32")
    x = sample.rows(0, 300)
    assert x.dtype == np.float32
    for first, stop in ((0, 64), (64, 128), (10, 20), (60, 70), (63, 300), (299, 300)):
        assert np.array_equal(sample.rows(first, stop), x[..., first:stop, :])


def test_blocks_are_independent(monkeypatch):
    """Under the null the mean cosine of token i of one block with token i of another is N(0, 1/3 / 20 000).

    Six deviations: a false alarm at 2e-9 a pair, two pairs.
    """
    monkeypatch.setattr(module, "BLOCK", 20_000)
    x = cs.laws.Sample(law=cs.laws.Uniform(dim=3), n_tokens=60_000, rng=0).rows(0, 60_000).reshape(3, 20_000, 3)
    for one, other in ((0, 1), (1, 2)):
        assert abs((x[one] * x[other]).sum(axis=1).mean()) < 6 / np.sqrt(3 * 20_000)


def test_a_run_draws_them():
    sample = cs.laws.Sample(law=VMF, n_tokens=30, rng=1)
    model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=2, horizon=1.0)
    final = cs.simulate(model, sample, rng=0).final
    assert np.array_equal(final, cs.simulate(model, VMF.sample(30, rng=1), rng=0).final)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"law": 3}, "law must have dim"),
        ({"n_tokens": 0}, "n_tokens must be"),
        ({"rng": np.random.default_rng(0)}, "rng must be an int >= 0 or a SeedSequence, got a Generator"),
        ({"rng": -1}, "rng must be"),
        ({"n_replicas": 0}, "n_replicas must be"),
        ({"dtype": "float16"}, "dtype: unknown"),
    ],
)
def test_refusals(changes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        cs.laws.Sample(**{"law": VMF, "n_tokens": 10, "rng": 0} | changes)
    with pytest.raises(ValueError, match="stop must be"):
        cs.laws.Sample(law=VMF, n_tokens=10, rng=0).rows(3, 3)
