"""Lists, tables of pandas and tensors of torch: taken where that is exact, or refused with the line that converts."""

import re

import numpy as np
import pandas as pd
import pytest

import chaosphere as cs
from chaosphere.common.streams import roots

X = cs.sample_uniform(6, 3, rng=0)
ATTENTION = cs.SoftmaxAttention(beta=2.0)
MODEL = cs.Transformer(attention=ATTENTION, mlp=cs.MLP(width=4), depth=4, horizon=1.0)
P = np.array([0.5, 0.25, 0.125, 0.0625, 0.03125, 0.03125])


class Tensor:
    """What a tensor of torch does, as far as it matters here: NumPy cannot take one that has a gradient."""

    def __init__(self, values, requires_grad=False):
        self.values, self.requires_grad = values, requires_grad

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return np.asarray(self.values, dtype=dtype)

    def numpy(self, *, force=False):
        return self.values if force else np.asarray(self)


Tensor.__module__ = "torch"


def remedy(error, name, value):
    """What the line at the end of a message makes of the value."""
    line = re.search(r"; pass (.*)$", str(error))[1]
    return eval(line, {"np": np, name: value})


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (X.tolist(), "list"),
        (pd.DataFrame(X), "pandas.DataFrame"),
        (Tensor(X), "torch.Tensor"),
        (Tensor(X, requires_grad=True), "torch.Tensor"),
    ],
    ids=["list", "pandas", "torch", "torch-grad"],
)
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("x", ATTENTION),
        ("x", lambda x: cs.simulate(MODEL, x, rng=0)),
        ("x", cs.normalize),
        ("x", cs.measures.energy),
        ("x", cs.plot.tokens),
        ("y", lambda y: cs.measures.wasserstein2(X, y)),
        ("x0", lambda x0: cs.ensemble(MODEL, x0, seeds=[0], observe={"energy": cs.measures.Energy()})),
    ],
)
def test_tokens_are_refused_with_a_line_that_gives_them(name, call, value, kind):
    with pytest.raises(TypeError, match=f"^{name} must be .* got ") as info:
        call(value)
    assert name == "x0" or f"got {kind}; pass " in str(info.value)
    assert np.array_equal(remedy(info.value, name, value), X)
    assert len(str(info.value)) < 400


@pytest.mark.parametrize("of", [list, pd.Series, Tensor, lambda p: Tensor(p).values.tolist(), tuple])
def test_short_arrays_are_taken(of):
    assert np.array_equal(ATTENTION(X, of(P)), ATTENTION(X, P))
    times = np.array([0.0, 0.5, 1.0])
    assert np.array_equal(cs.simulate(MODEL, X, rng=0, save_at=of(times)).states[1], run_to(0.5))
    kernel = cs.MLP(width=1).kernel(3)
    assert np.array_equal(kernel(of(P)), kernel(P))


def run_to(time):
    return cs.simulate(MODEL, X, rng=0, save_at=[time]).states[0]


def test_matrices_are_taken():
    q = np.arange(9.0).reshape(3, 3)
    for matrix in (q.tolist(), pd.DataFrame(q), Tensor(q)):
        assert cs.SoftmaxAttention(query=matrix, key=matrix) == cs.SoftmaxAttention(query=q, key=q)


def test_a_tensor_with_a_gradient_is_refused_with_a_line_that_gives_its_numbers():
    p = Tensor(P, requires_grad=True)
    with pytest.raises(TypeError, match=r"weights must be an array of real numbers: .* requires grad") as info:
        ATTENTION(X, p)
    assert np.array_equal(remedy(info.value, "weights", p), P)


def test_seeds_may_be_an_array():
    x = np.stack([X, X])
    both = cs.simulate(MODEL, x, rng=np.array([3, 4])).final
    assert np.array_equal(both, cs.simulate(MODEL, x, rng=[3, 4]).final)
    assert not np.array_equal(both[0], both[1])
    assert roots(np.int64(3), n_replicas=1, is_shared=False)[0].entropy == 3
    for wrong in (np.array([0.5, 1.0]), np.array([True, False]), np.array(0.0)):
        with pytest.raises(TypeError, match="rng must be an int >= 0, a numpy SeedSequence or a numpy Generator, got "):
            cs.simulate(MODEL, x, rng=wrong)
    with pytest.raises(ValueError, match="rng must hold one seed per replica, 2, got 3"):
        cs.simulate(MODEL, x, rng=np.arange(3))


def test_a_wrong_seed_prints_briefly():
    with pytest.raises(TypeError) as info:
        cs.simulate(MODEL, X, rng=pd.Series(range(1000)))
    assert len(str(info.value)) < 400
