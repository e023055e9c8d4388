"""Every rule on arguments raises before any work, with a message that names the argument and the rule."""

from dataclasses import replace

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.experiments import cases, chaos, limits

X = cs.sample_uniform(8, 3, rng=0)
ATTENTION = cs.SoftmaxAttention(beta=1.0)
MLP = cs.MLP(width=4)
MODEL = cs.Transformer(attention=ATTENTION, mlp=MLP, depth=3, horizon=1.0)
BAD_ROW = X.copy()
BAD_ROW[5] *= 1.001
NOT_FINITE = X.copy()
NOT_FINITE[2, 1] = np.nan
NEGATIVE = np.full(8, 1 / 8)
NEGATIVE[3] = -0.1

RULES = [
    # tokens
    (lambda: ATTENTION([[1.0, 0.0]]), TypeError, r"x must be a float64 or float32 array, got list"),
    (lambda: ATTENTION(np.eye(3, dtype=int)), TypeError, r"x must be .* got array of int64"),
    (lambda: ATTENTION(X.astype(np.float16)), TypeError, r"got array of float16"),
    (lambda: ATTENTION(X[0]), ValueError, r"x must have shape \(n_tokens, dim\) or .* got \(3,\)"),
    (lambda: ATTENTION(np.empty((0, 3))), ValueError, r"at least one token, got shape \(0, 3\)"),
    (lambda: ATTENTION(np.ones((4, 1))), ValueError, r"dim >= 2 .* got shape \(4, 1\)"),
    (lambda: ATTENTION(BAD_ROW), ValueError, r"token 5 \| \|x\| - 1 \| = 0.001; chaosphere.normalize\(x\) projects"),
    (lambda: ATTENTION(np.stack([X, BAD_ROW])), ValueError, r"token 5 of replica 1"),
    (lambda: ATTENTION(NOT_FINITE), ValueError, r"token 2 it is not finite"),
    (lambda: cs.normalize(np.zeros((2, 3))), ValueError, r"row 0 is zero or not finite"),
    (lambda: cs.normalize([1.0, 2.0]), TypeError, r"x must be a float64 or float32 array, got list"),
    # weights
    (lambda: ATTENTION(X, np.ones(7) / 7), ValueError, r"weights must have shape \(8,\), one per token, got \(7,\)"),
    (lambda: ATTENTION(X, NEGATIVE), ValueError, r"weights must be finite and >= 0: weights\[3\] = -0.1"),
    (lambda: ATTENTION(X, np.ones(8)), ValueError, r"weights must sum to 1, got 8.0"),
    # attention
    (lambda: cs.UnnormalizedAttention(beta=-1.0), ValueError, r"beta must be a finite number >= 0, got -1.0"),
    (lambda: cs.UnnormalizedAttention(beta=np.inf), ValueError, r"beta must be a finite number >= 0, got inf"),
    (lambda: cs.SoftmaxAttention(beta=-np.inf), ValueError, r"beta must be a finite number, got -inf"),
    (lambda: cs.SoftmaxAttention(beta=-1e15), ValueError, r"the size of beta must be <= 4.5e\+13 for float64"),
    (lambda: cs.SoftmaxAttention(beta="1"), TypeError, r"beta must be a real number, got '1' \(str\)"),
    (lambda: cs.SoftmaxAttention(beta=1e15)(X), ValueError, r"beta must be <= 4.5e\+13 for float64 tokens"),
    (lambda: cs.SoftmaxAttention(query=np.eye(3)), ValueError, r"query and key must be given together"),
    (lambda: cs.SoftmaxAttention(beta=1.0, query=np.eye(3), key=np.eye(3)), ValueError, r"beta must not be given"),
    (lambda: cs.SoftmaxAttention(value=np.eye(3), value_scale=1.0), ValueError, r"value_scale must not be given"),
    (lambda: cs.SoftmaxAttention(value=np.ones((2, 3))), ValueError, r"value must be a square matrix .*\(2, 3\)"),
    (lambda: cs.SoftmaxAttention(value=np.full((2, 2), np.nan)), ValueError, r"value must be finite, found nan"),
    (lambda: cs.SoftmaxAttention(query=np.eye(3), key=np.eye(4)), ValueError, r"must have one shape"),
    (lambda: cs.SoftmaxAttention(value=np.eye(4))(X), ValueError, r"x must have dim 4, that of the matrices"),
    (lambda: ATTENTION(X, n_threads=0), ValueError, r"n_threads must be an integer >= 1, got 0"),
    (lambda: ATTENTION(X, n_threads=1.5), TypeError, r"n_threads must be an integer >= 1, got 1.5 \(float\)"),
    # MLP
    (lambda: cs.MLP(width=0), ValueError, r"width must be an integer >= 1, got 0"),
    (lambda: cs.MLP(width=True), TypeError, r"width must be an integer"),
    (lambda: cs.MLP(width=4, activation="rleu"), ValueError, r"unknown name 'rleu'; did you mean 'relu'\?"),
    (lambda: cs.MLP(width=4, activation=3), TypeError, r"activation must be a name, a callable"),
    (lambda: cs.MLP(width=4, bias_std=-0.1), ValueError, r"bias_std must be a finite number >= 0, got -0.1"),
    (lambda: cs.MLP(width=4, output_bias_std=np.nan), ValueError, r"output_bias_std must be a finite number"),
    (lambda: cs.MLP(width=4, weight_std=-0.1), ValueError, r"weight_std must be a finite number >= 0, got -0.1"),
    (lambda: MLP.draw(4, rng=np.random.default_rng(0))(X), ValueError, r"x must have dim 4, that of the layer"),
    # transformer
    (lambda: cs.Transformer(attention=None, mlp=None, depth=1, horizon=1.0), ValueError, r"must not both be None"),
    (lambda: cs.Transformer(attention=1.0, mlp=None, depth=1, horizon=1.0), TypeError, r"attention must be a Soft"),
    (
        lambda: cs.Transformer(attention=None, mlp=1.0, depth=1, horizon=1.0),
        TypeError,
        r"mlp must be an MLP, a FixedMLP",
    ),
    (
        lambda: cs.Transformer(attention=None, mlp=MLP, depth=0, horizon=1.0),
        ValueError,
        r"depth must be an integer >= 1",
    ),
    (lambda: cs.Transformer(attention=None, mlp=MLP, depth=1, horizon=0.0), ValueError, r"horizon must be .* > 0"),
    (
        lambda: cs.Transformer(attention=None, mlp=MLP, depth=1, horizon=1.0, noise_scale=-1.0),
        ValueError,
        r"noise_scale must be a finite number >= 0",
    ),
    (lambda: MODEL.coarsen(2), ValueError, r"factor must divide the depth 3, got 2"),
    # simulate
    (lambda: cs.simulate(MODEL, X, rng=None), TypeError, r"rng must be an int >= 0"),
    (lambda: cs.simulate(MODEL, X, rng=-1), ValueError, r"rng must be an int >= 0, .* got -1"),
    (lambda: cs.simulate(MODEL, BAD_ROW, rng=0), ValueError, r"x must lie on the unit sphere"),
    (lambda: cs.simulate(MODEL, X, rng=0, save_at=[2.0]), ValueError, r"save_at must increase within \[0, 1\]"),
    (lambda: cs.simulate(MODEL, X, rng=0, save_at=[0.5, 0.5]), ValueError, r"save_at must increase"),
    (lambda: cs.simulate(MODEL, X, rng=0, save_at=[]), ValueError, r"save_at must be a list of times"),
    (lambda: cs.simulate(MODEL, X, rng=0, observe={"e": 1}), TypeError, r"observe\['e'\] must be callable"),
    # laws and measures
    (lambda: cs.sample_uniform(0, 3, rng=0), ValueError, r"n_tokens must be an integer >= 1, got 0"),
    (lambda: cs.sample_uniform(5, 1, rng=0), ValueError, r"dim must be an integer >= 2, got 1"),
    (lambda: cs.sample_uniform(5, 3, rng=0, n_replicas=0), ValueError, r"n_replicas must be an integer >= 1"),
    (
        lambda: cs.sample_von_mises_fisher(5, [1.0, 1.0], concentration=1.0, rng=0),
        ValueError,
        r"mean_direction must lie on the unit sphere",
    ),
    (
        lambda: cs.sample_von_mises_fisher(5, [1.0, 0.0], concentration=0.0, rng=0),
        ValueError,
        r"concentration must be a finite number > 0",
    ),
    (lambda: cs.measures.energy(X, 0.0), ValueError, r"beta must be a finite number > 0 and <= 700, got 0.0"),
    (lambda: cs.measures.energy(X, 800.0), ValueError, r"beta must be .* <= 700, got 800"),
    (lambda: cs.measures.cosine_histogram(X, 0), ValueError, r"n_bins must be an integer >= 1, got 0"),
    (lambda: cs.measures.cosine_histogram(X[:1]), ValueError, r"at least two tokens"),
    (lambda: cs.measures.mean_cosine(X[:1]), ValueError, r"at least two tokens"),
    (lambda: cs.measures.mean_direction(np.array([[1.0, 0], [-1.0, 0]])), ValueError, r"must have a mean direction"),
    (lambda: cs.measures.cluster_count(X, 0.0), ValueError, r"tolerance must be .* > 0 and <= 2"),
    (
        lambda: cs.measures.pairwise_cosines(cs.sample_uniform(20_000, 2, rng=0)),
        ValueError,
        r"too large .*\(3.0 GiB, limit 1\); use cosine_histogram",
    ),
    (lambda: cs.measures.lyapunov_exponent(MODEL, X.astype(np.float32), rng=0), TypeError, r"x must be float64"),
    (lambda: cs.measures.lyapunov_exponent(MODEL, X, rng=0, separation=1.0), ValueError, r"separation must be"),
    # the experiment
    (lambda: cases.rates(MODEL, tokens=[64]), ValueError, r"at least two increasing numbers"),
    (lambda: cases.rates(MODEL, tokens=[64, 32]), ValueError, r"at least two increasing numbers"),
    (lambda: cases.rates(MODEL, concentration=-1.0), ValueError, r"concentration must be a finite number >= 0"),
    (lambda: cases.own_tokens(MODEL, X, tokens=[4, 8]), ValueError, r"tokens must be < 8, the number .* in x0"),
    (lambda: cases.regimes(replace(MODEL, mlp=None)), ValueError, r"model must have an attention .* and an MLP"),
    (lambda: chaos.run(cases.rates(MODEL), rng=0, n_replicas=1), ValueError, r"n_replicas must be an integer >= 2"),
    (lambda: chaos.run(cases.rates(MODEL, dims=[2, 2]), rng=0), ValueError, r"cases must have different names"),
    (lambda: limits.run(MLP, rng=0, attention=MODEL.attention, depths=[4, 6]), ValueError, r"depths must divide"),
]


@pytest.mark.parametrize(("call", "error", "message"), RULES)
def test_rule(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_token_brought_to_the_origin_stops_the_run_with_its_last_state():
    x = np.array([[1.0, 0.0], [-1.0, 0.0]])
    model = cs.Transformer(
        attention=cs.SoftmaxAttention(query=np.zeros((2, 2)), key=np.zeros((2, 2)), value=-np.eye(2)),
        mlp=None,
        depth=1,
        horizon=1.0,
    )
    # β = 0 and weights on one token only are not reachable here: push by V instead, x + Vx̄ = 0 at consensus.
    consensus = np.array([[1.0, 0.0], [1.0, 0.0]])
    with pytest.raises(
        cs.SimulationError, match=r"step 0 \(time 0\): token 0 of replica 0: .* zero or not finite"
    ) as info:
        cs.simulate(model, consensus, rng=0)
    assert info.value.step == 0
    assert np.array_equal(info.value.last_state[0], consensus)
    assert np.array_equal(cs.simulate(model, x, rng=0).final, x)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: MLP.draw(3, rng=2), TypeError, r"rng must be a numpy Generator, .* got 2"),
        (lambda: cs.measures.lyapunov_exponent(True, X, rng=0), TypeError, r"model must be a model .* got True"),
        (lambda: cs.two_point.energy_ratio(1.0, 0.5, beta=1.0, u0=0.3), TypeError, r"kernel must be a CovarianceK"),
        (
            lambda: cs.two_point.long_time("relu"),
            TypeError,
            r"kernel must be a CovarianceKernel or a PairNoise, got 'relu'",
        ),
        (lambda: cs.two_point.expectation(MLP.kernel(3), np.square, (), u0=0.3), ValueError, r"t must hold at least"),
        (lambda: MLP.kernel(3).best_beta(epsilon=lambda beta: np.nan), ValueError, r"epsilon must be a finite number"),
        (lambda: cs.sample_uniform(8, 3, rng=0, n_replicas=10**9), ValueError, r"take 192 GB, more than the"),
        (lambda: cs.laws.Uniform(dim=3).sample(2**40, rng=0), ValueError, r"n_tokens = 1099511627776 .* GB"),
        (lambda: cs.CovarianceKernel.from_activation("tanh", dim=3, weight_std=1e38), ValueError, r"sum <= 10000 for"),
        (lambda: ATTENTION.resolve(8, 3, {"n": len}), TypeError, r"dtype must be float64 or float32, got dict"),
        (lambda: ATTENTION.resolve(8, 3, "int8"), TypeError, r"dtype must be float64 or float32, got int8"),
        (
            lambda: cs.two_point.solve(MLP.kernel(3), np.square, 0.5, u0=0.3, beta=1.0, value_scale=1e9),
            ValueError,
            r"value_scale = 1e\+09 is too large for t = 0.5",
        ),
    ],
)
def test_what_fuzzing_found(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_layer_of_numbers_that_are_not_finite_is_refused():
    layer = MLP.draw(3, rng=np.random.default_rng(0))
    broken = replace(layer, w=layer.w * np.nan)
    with pytest.raises(ValueError, match="u, w, b, c and weight_std must be such that the layer is finite"):
        broken(cs.sample_uniform(5, 3, rng=0))
