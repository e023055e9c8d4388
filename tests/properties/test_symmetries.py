"""Exact properties of the dynamics: symmetries, fixed points, and couplings by shared noise."""

import numpy as np
import pytest
from scipy.stats import ortho_group

import chaosphere as cs
from chaosphere.common.streams import Draws


@pytest.fixture
def x():
    return cs.sample_uniform(333, 5, rng=1)


def model(**changes):
    options = {"attention": cs.SoftmaxAttention(beta=2.0), "mlp": cs.MLP(width=24, activation="tanh", bias_std=0.3)}
    return cs.Transformer(**(options | {"depth": 12, "horizon": 1.0} | changes))


@pytest.mark.parametrize("value_scale", [1.0, -1.0])
def test_attention_commutes_with_rotations(x, value_scale):
    attention = cs.SoftmaxAttention(beta=3.0, value_scale=value_scale)
    rotation = ortho_group.rvs(5, random_state=0)
    rotated = cs.normalize(x @ rotation.T)
    np.testing.assert_allclose(attention(rotated), attention(x) @ rotation.T, rtol=0, atol=3e-15)


def test_attention_commutes_with_permutations(x):
    attention = cs.SoftmaxAttention(beta=3.0)
    order = np.random.default_rng(0).permutation(len(x))
    # Sums run in another order: equal to rounding, not to the bit.
    np.testing.assert_allclose(attention(x[order]), attention(x)[order], rtol=0, atol=2e-15)


def test_a_layer_acts_token_by_token(x):
    layer = cs.MLP(width=50, activation="gelu", bias_std=0.1, output_bias_std=0.2).draw(5, rng=np.random.default_rng(0))
    order = np.random.default_rng(1).permutation(len(x))
    assert np.array_equal(layer(x[order]), layer(x)[order])
    assert np.array_equal(layer(x[:7]), layer(x)[:7])


def test_beta_zero_gives_the_mean(x):
    expected = np.broadcast_to(x.mean(axis=0), x.shape)
    np.testing.assert_allclose(cs.SoftmaxAttention(beta=0.0)(x), expected, rtol=0, atol=3e-16)


def test_beta_zero_gives_the_weighted_mean(x):
    p = np.random.default_rng(0).random(len(x))
    p /= p.sum()
    expected = np.broadcast_to(p @ x, x.shape)
    np.testing.assert_allclose(cs.SoftmaxAttention(beta=0.0)(x, p), expected, rtol=0, atol=1e-15)


def test_consensus_is_fixed_by_attention_and_kept_by_noise():
    consensus = np.repeat(cs.sample_uniform(1, 4, rng=0), 50, axis=0)
    attended = cs.simulate(model(mlp=None), consensus, rng=0).final
    np.testing.assert_allclose(attended, consensus, rtol=0, atol=1e-14)
    final = cs.simulate(model(), consensus, rng=0).final
    assert np.ptp(final, axis=0).max() < 1e-14
    assert np.abs(final - consensus).max() > 0.05
    assert cs.measures.energy(consensus, 1.0) == 0.0


@pytest.mark.parametrize("activation", ["tanh", "erf", "sin", "linear"])
def test_odd_activation_without_bias_keeps_antipodes(activation):
    half = cs.sample_uniform(40, 3, rng=0)
    x = np.concatenate([half, -half])
    final = cs.simulate(model(mlp=cs.MLP(width=16, activation=activation), depth=50), x, rng=3).final
    np.testing.assert_allclose(final[40:], -final[:40], rtol=0, atol=1e-13)


def test_bias_breaks_antipodes():
    x = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    final = cs.simulate(model(attention=None), x, rng=3).final
    assert np.abs(final[0] + final[1]).max() > 1e-3


def test_states_stay_on_the_sphere(x):
    sol = cs.simulate(model(depth=100), x, rng=0, save_at=np.linspace(0, 1, 11))
    assert np.abs(np.linalg.norm(sol.states, axis=-1) - 1).max() < 4e-16


def test_same_layers_for_every_number_of_tokens(x):
    run = model(attention=None)
    assert np.array_equal(cs.simulate(run, x[:10], rng=5).final, cs.simulate(run, x, rng=5).final[:10])


def test_replicas_are_single_runs():
    x = cs.sample_uniform(50, 3, rng=2, n_replicas=3)
    together = cs.simulate(model(), x, rng=9).final
    assert np.array_equal(together[0], cs.simulate(model(), x[0], rng=9).final)
    assert np.array_equal(together[:2], cs.simulate(model(), x[:2], rng=9).final)
    assert not np.array_equal(together[1], cs.simulate(model(), x[1], rng=9).final)


def test_shared_noise_gives_all_replicas_the_same_layers():
    x = np.repeat(cs.sample_uniform(50, 3, rng=2)[None], 3, axis=0)
    shared = cs.simulate(model(), x, rng=9, shared_noise=True).final
    assert np.array_equal(shared[0], shared[2])
    assert np.array_equal(shared[0], cs.simulate(model(), x[0], rng=9).final)
    own = cs.simulate(model(), x, rng=9).final
    assert not np.array_equal(own[0], own[2])


def test_merged_layer_is_the_scaled_sum_of_its_parts(x):
    mlp = cs.MLP(width=13, activation="silu", bias_std=0.4, output_bias_std=0.7)
    merged = mlp.plan(5).draw([Draws.of(np.random.default_rng(k)) for k in range(4)])(x)
    parts = [mlp.draw(5, rng=np.random.default_rng(k))(x) for k in range(4)]
    np.testing.assert_allclose(merged, sum(parts) / 2, rtol=0, atol=1e-14)


def test_coarsening_uses_the_layers_of_the_fine_network(x):
    fine = model(depth=24, attention=None)
    coarse = fine.coarsen(4).coarsen(2)
    assert (coarse.depth, coarse.n_fine_steps) == (3, 8)
    # On a short horizon both follow the same path up to O(T): far closer than paths under other layers.
    short = model(depth=24, attention=None, horizon=1e-4)
    a, b = cs.simulate(short, x, rng=0).final, cs.simulate(short.coarsen(8), x, rng=0).final
    other = cs.simulate(short, x, rng=1).final
    assert np.abs(a - b).max() < 0.02 * np.abs(a - other).max()


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_threads_do_not_change_a_bit(x, n_threads):
    a = cs.simulate(model(), x, rng=0, n_threads=1, observe={"e": cs.measures.Energy(n_threads=1)})
    b = cs.simulate(model(), x, rng=0, n_threads=n_threads, observe={"e": cs.measures.Energy(n_threads=n_threads)})
    assert np.array_equal(a.final, b.final)
    assert np.array_equal(a.observables["e"], b.observables["e"])
