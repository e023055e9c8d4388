"""Attention-only transformers: their layers, their gradients, and what a seed fixes."""

import tracemalloc

import numpy as np
import pytest
from support.attention_network import network as twin

import chaosphere as cs
from chaosphere.geometry.sphere import DegenerateTokenError
from chaosphere.training import AttentionNetwork, KernelMatching, MeanRegression

TARGETS = np.array([[0.3, 0.1, -0.2], [0.0, 0.5, 0.1]])


def sequences(n_tokens=7):
    return np.stack([cs.sample_uniform(n_tokens, 3, rng=seed) for seed in range(2)])


@pytest.fixture(params=[(None, "post"), ("causal", "post"), (None, "identity"), ("causal", "identity")])
def network(request):
    mask, normalization = request.param
    options = {"mask": mask, "normalization": normalization}
    return AttentionNetwork(depth=5, n_heads=3, dim=3, key_dim=2, horizon=2.0, std=2.0, **options)


def losses():
    return [MeanRegression(targets=TARGETS), KernelMatching(points=cs.sample_uniform(4, 3, rng=9), beta=2.0)]


def test_layers_are_those_of_the_formula(network):
    x, parameters = sequences(), network.initial(0)
    options = {"is_causal": network.mask is not None, "is_normalized": network.normalization == "post"}
    expected = [twin(parameters, of_one, key_dim=2, horizon=2.0, **options) for of_one in x]
    assert abs(network.forward(parameters, x) - expected).max() < 1e-13


@pytest.mark.parametrize("loss", losses(), ids=["regression", "kernel"])
def test_gradients_are_differences(network, loss):
    x, parameters = sequences(), network.initial(0)
    result = network.gradient(parameters, x, objective=loss)
    direction = np.random.default_rng(0).standard_normal(parameters.shape)

    def along(h):
        return loss(network.forward(parameters + h * direction, x))[0]

    h = 1e-3  # a difference of order h⁶
    slope = (45 * (along(h) - along(-h)) - 9 * (along(2 * h) - along(-2 * h)) + along(3 * h) - along(-3 * h)) / (60 * h)
    assert abs((result.parameters * direction).sum() - slope) < 1e-9 * max(1, abs(slope))
    assert result.value == along(0)


def test_gradients_in_tokens_are_differences(network):
    x, parameters, loss = sequences(), network.initial(1), losses()[0]
    gradient = network.gradient(parameters, x, objective=loss).tokens
    v = np.random.default_rng(0).standard_normal(x.shape)
    v -= (v * x).sum(axis=2, keepdims=True) * x
    length, h = np.linalg.norm(v, axis=2, keepdims=True), 1e-4

    def along(t):
        return loss(network.forward(parameters, np.cos(t * length) * x + np.sin(t * length) * v / length))[0]

    slope = (8 * (along(h) - along(-h)) - along(2 * h) + along(-2 * h)) / (12 * h)
    assert abs((gradient * v).sum() - slope) < 1e-9


def test_a_loss_is_differentiated_at_any_tokens():
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((2, 2, 6, 3))
    for loss in losses():
        slope = (loss(x + 1e-5 * v)[0] - loss(x - 1e-5 * v)[0]) / 2e-5
        assert (loss(x)[1] * v).sum() == pytest.approx(slope, rel=1e-7)


def test_threads_do_not_change_a_bit(network):
    x, parameters = sequences(40), network.initial(0)
    one, two = (network.gradient(parameters, x, objective=losses()[1], n_threads=n) for n in (1, 2))
    assert one.value == two.value
    assert (one.final == two.final).all()
    assert (one.parameters == two.parameters).all()
    assert (one.tokens == two.tokens).all()


def test_the_layout_of_parameters_does_not_matter(network):
    x, parameters = sequences(), network.initial(0)
    other = np.asfortranarray(parameters)
    assert np.array_equal(network.forward(other, x), network.forward(parameters, x))
    one, two = (network.gradient(p, x, objective=losses()[0]).parameters for p in (other, parameters))
    assert np.array_equal(one, two)


def test_heads_depend_on_seed_layer_and_head_alone():
    small = AttentionNetwork(depth=2, n_heads=2, dim=3, key_dim=2).initial(5)
    large = AttentionNetwork(depth=4, n_heads=6, dim=3, key_dim=2).initial(5)
    assert (small == large[:2, :2]).all()
    assert len(np.unique(large)) == large.size
    # Null: N(0, 1/3). The variance of 504 entries has a standard deviation of 6.3 per cent: five of them, 6e-7.
    assert abs(3 * large.var() - 1) < 0.32


def test_a_gradient_of_a_head_shrinks_as_the_number_of_heads_grows():
    """L H times the gradient in a head has a limit: equal heads in equal layers, which show it without noise."""
    head = AttentionNetwork(depth=1, n_heads=1, dim=3, std=2.0).initial(3)[0, 0]
    x, scaled = sequences(), []
    for depth, n_heads in ((32, 1), (32, 4), (64, 2), (128, 1)):
        net = AttentionNetwork(depth=depth, n_heads=n_heads, dim=3)
        parameters = np.ascontiguousarray(np.broadcast_to(head, net.shape))
        scaled.append(depth * n_heads * net.gradient(parameters, x, objective=losses()[0]).parameters[0, 0])
    assert np.allclose(scaled[0], scaled[1], rtol=1e-12, atol=1e-15)
    changes = [np.linalg.norm(scaled[i + 1] - scaled[i]) for i in (1, 2)]
    assert 1.7 < changes[0] / changes[1] < 2.3  # the first order in 1/L halves


def test_states_that_are_computed_again_are_bitwise_those_that_are_kept(network, monkeypatch):
    x, parameters = sequences(), network.initial(0)
    kept = network.gradient(parameters, x, objective=losses()[0])
    monkeypatch.setattr("chaosphere.training.stack._KEPT_BYTES", 0)
    again = network.gradient(parameters, x, objective=losses()[0])
    assert (kept.parameters == again.parameters).all()
    assert (kept.tokens == again.tokens).all()


def test_memory_grows_as_the_root_of_the_number_of_layers(monkeypatch):
    """Of 256 layers 16 states are kept, and 16 more of one part: 1 MB here, in place of 10."""
    network = AttentionNetwork(depth=256, n_heads=1, dim=3)
    x, parameters = sequences(400), network.initial(0)
    peaks = []
    for limit in (0, 2**27):
        monkeypatch.setattr("chaosphere.training.stack._KEPT_BYTES", limit)
        tracemalloc.start()
        network.gradient(parameters, x, objective=losses()[0])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    state = x.nbytes
    assert peaks[0] < 60 * state
    assert peaks[1] > 256 * state


def test_gradients_in_single_precision(network):
    x, parameters = sequences(), network.initial(0)
    double, single = (network.gradient(parameters, y, objective=losses()[0]) for y in (x, x.astype(np.float32)))
    assert single.final.dtype == single.tokens.dtype == np.float32
    assert single.parameters.dtype == np.float64
    for name in ("final", "tokens", "parameters"):
        expected = getattr(double, name)
        assert abs(getattr(single, name) - expected).max() < 1e-5 * abs(expected).max()


def test_tokens_without_a_limit_are_refused():
    network = AttentionNetwork(depth=4, n_heads=1, dim=3, normalization="identity")
    parameters = np.zeros(network.shape)
    parameters[:, :, 6:] = 1e99
    with pytest.raises(DegenerateTokenError, match="token 0 of sequence 0 is not finite after layer 3"):
        network.forward(parameters, sequences())


@pytest.mark.parametrize(("size", "message"), [(1e37, "finite in float32 before layer"), (1e39, "finite gradient")])
def test_gradients_that_overflow_are_refused(size, message):
    network = AttentionNetwork(depth=4, n_heads=1, dim=3, normalization="identity", value_scale=100.0, horizon=4.0)
    x, parameters = sequences(), network.initial(0)
    with pytest.raises(ValueError, match=message):
        network.gradient(parameters, x.astype(np.float32), objective=lambda y: (0.0, np.full(y.shape, size)))
    double = network.gradient(parameters, x, objective=lambda y: (0.0, np.full(y.shape, size)))
    assert np.isfinite(double.parameters).all()


def test_wrong_arguments_are_named(network):
    x, parameters = sequences(), network.initial(0)
    with pytest.raises(ValueError, match="parameters must have the shape"):
        network.forward(parameters[:1], x)
    with pytest.raises(ValueError, match="x must have shape"):
        network.forward(parameters, x[0])
    with pytest.raises(TypeError, match="x must be a float64 or float32 array"):
        network.forward(parameters, x.astype(int))
    with pytest.raises(ValueError, match="parameters must be <= "):
        network.forward(parameters * 1e35, x.astype(np.float32))
    with pytest.raises(ValueError, match="normalization"):
        AttentionNetwork(depth=1, n_heads=1, dim=3, normalization="pre")
    with pytest.raises(ValueError, match="parameters must be finite"):
        network.forward(np.full(network.shape, np.nan), x)
    with pytest.raises(ValueError, match="targets must have shape"):
        network.gradient(parameters, x, objective=MeanRegression(targets=TARGETS[:1]))
    with pytest.raises(ValueError, match="finite gradient"):
        network.gradient(parameters, x, objective=lambda y: (0.0, y * np.nan))
    with pytest.raises(ValueError, match="n_heads"):
        AttentionNetwork(depth=1, n_heads=0, dim=3)
    with pytest.raises(ValueError, match="points must lie on the unit sphere"):
        KernelMatching(points=[[1.0, 1.0]])
