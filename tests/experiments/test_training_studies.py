"""Training beside its limit: what the two studies measure, and bad arguments of theirs."""

import numpy as np
import pytest

from chaosphere.experiments import training
from chaosphere.experiments.training import grid, paths, tokens
from chaosphere.training import AdamW, MeanRegression

SIZES = {"n_tokens": 4, "sizes": [2, 4], "steps": [0, 2], "n_limit_heads": 8, "n_replicas": 2}
TOKENS = {
    "token_counts": [4, 8],
    "token_steps": [0, 1],
    "network_size": 2,
    "n_token_heads": 8,
    "n_token_replicas": 2,
}


def setting(normalization="post"):
    options = {"dim": 3, "horizon": 2.0, "std": 1.0, "value_scale": 1.0, "mask": None, "normalization": normalization}
    x = paths.sequences(5, 3, n_sequences=2, rng=np.random.SeedSequence(0))
    return paths.Setting(options=options, x=x, learning_rate=0.1, steps=[0, 2], n_threads=1)


@pytest.mark.parametrize("normalization", ["post", "identity"])
def test_a_path_is_that_of_single_steps(normalization):
    own = setting(normalization)
    network = own.network(3, 2)
    path = own.follow(network, np.random.SeedSequence(1))
    loss, adamw = MeanRegression(targets=0.5 * np.eye(3)[:2]), AdamW(learning_rate=0.1, epsilon=paths.EPSILON)
    state, losses = adamw.start(network.initial(np.random.SeedSequence(1))), []
    for step in range(3):
        result = network.gradient(state.parameters, own.x, objective=loss, save_states=True)
        losses.append(result.value)
        if step in (0, 2):
            assert (path.states[step // 2] == result.states).all()
            x, p = result.states, 10 * result.adjoints
            if normalization == "post":
                p = p - (x * p).sum(axis=-1, keepdims=True) * x
            assert np.allclose(path.adjoints[step // 2], p, rtol=1e-13, atol=1e-15)
        state = adamw.step(state, result.parameters, n_units=6)
    assert np.allclose(path.losses, losses, rtol=1e-13)


def test_squares_are_the_largest_over_the_depth():
    own = setting()
    few, many = (own.follow(own.network(depth, 2), np.random.SeedSequence(1)) for depth in (2, 4))
    expected = np.zeros((2, 2))
    for step in range(2):
        for layer in range(3):
            for kind, (a, b) in enumerate(((few.states, many.states), (few.adjoints, many.adjoints))):
                square = ((a[step, layer] - b[step, 2 * layer]) ** 2).sum() / 10
                expected[step, kind] = max(expected[step, kind], square)
    assert np.allclose(paths.squares(few, many), expected, rtol=1e-13)


def test_networks_approach_the_limit():
    """L = H = 16 is four times nearer than 4, up to what three replicas leave open."""
    sizes = {"n_tokens": 6, "sizes": [4, 16], "steps": [0, 2], "n_limit_heads": 64, "n_replicas": 4}
    data = grid.run(rng=0, **sizes)
    error = np.sqrt(grid.diagonal(data["mean_square"].values).mean(axis=0))
    assert (error[1] < 0.5 * error[0]).all()
    loss = np.sqrt(grid.diagonal(grid.loss_squares(data)).mean(axis=0))
    assert loss[1] < 0.7 * loss[0]
    assert len(grid.claims(data)) == 12
    assert "L = H = 16" in grid.table(data)


def test_fluctuations_are_those_between_replicas():
    data = grid.run(rng=0, **SIZES | {"n_replicas": 4})
    final = data["final"].values
    for pair in range(2):
        gap = final[2 * pair] - final[2 * pair + 1]
        assert np.allclose(data["fluctuation"].values[pair], (gap**2).sum(axis=(2, 3, 4)) / 16, rtol=1e-13)


def test_tokens_of_fewer_are_the_first_of_more():
    data = tokens.run(rng=0, **TOKENS)
    assert data["mean_square"].shape == (2, 2, 2, 2)
    x = [paths.sequences(n, 3, n_sequences=1, rng=np.random.SeedSequence(0)) for n in (4, 8)]
    assert (x[0] == x[1][:, :4]).all()
    alone = tokens.run(rng=0, **TOKENS | {"token_counts": [4, 6]})
    assert (alone["mean_square"].values[:, 0] == data["mean_square"].values[:, 0]).all()
    assert all(claim.is_bound for claim in training.tokens.claims(data))


@pytest.mark.parametrize(
    ("run", "changed", "message"),
    [
        (grid.run, {"sizes": [3, 8]}, "sizes must divide the largest"),
        (grid.run, {"sizes": [8]}, "sizes"),
        (grid.run, {"steps": [1, 2]}, "steps must be increasing, and begin with 0"),
        (grid.run, {"steps": [0, 2, 2]}, "steps must be increasing"),
        (grid.run, {"n_limit_heads": 6}, "n_limit_heads must be a multiple of 4"),
        (grid.run, {"n_replicas": 3}, "n_replicas must be even"),
        (grid.run, {"learning_rate": 0.0}, "learning_rate must be"),
        (grid.run, {"mask": "future"}, "mask"),
        (grid.run, {"normalization": "pre"}, "normalization"),
        (tokens.run, {"token_counts": [8, 4]}, "token_counts"),
        (tokens.run, {"n_token_heads": 3}, "n_token_heads must be even"),
        (tokens.run, {"network_size": 0}, "network_size must be"),
        (tokens.run, {"n_token_replicas": 1}, "n_token_replicas must be"),
    ],
)
def test_wrong_arguments_of_the_studies_of_training(run, changed, message):
    with pytest.raises(ValueError, match=message):
        run(rng=0, **(SIZES if run is grid.run else TOKENS) | changed)
