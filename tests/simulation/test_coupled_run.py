"""A network and its limit under one noise: each has its own law, and they are close."""

import numpy as np
import pytest

import chaosphere as cs

MLP = cs.MLP(width=64, activation="tanh", bias_std=0.3, output_bias_std=0.2)
X = cs.sample_uniform(12, 3, rng=0)


def network(mlp=MLP, depth=8, noise_scale=1.0, attention=True):
    return cs.Transformer(
        attention=cs.SoftmaxAttention(beta=1.0) if attention else None,
        mlp=mlp,
        depth=depth,
        horizon=1.0,
        noise_scale=noise_scale,
    )


def distance(run):
    return float(((run.network.final - run.limit.final) ** 2).sum(axis=-1).mean() ** 0.5)


@pytest.mark.parametrize("noise_scale", [1.0, 0.5])
def test_the_limit_is_the_run_of_the_equation_with_the_same_seed(noise_scale):
    run = cs.coupled_run(network(noise_scale=noise_scale), X, rng=3, refinement=4, save_at=[0.25, 1.0])
    field = cs.GaussianField(kernel=MLP.kernel(3).scaled(noise_scale), method="spectral")
    sde = cs.LimitSDE(attention=cs.SoftmaxAttention(beta=1.0), field=field, horizon=1.0, n_steps=32, scheme="split")
    assert np.array_equal(run.limit.states, cs.simulate(sde, X, rng=3, save_at=[0.25, 1.0]).states)


def test_the_network_has_the_law_of_the_transformer():
    """Null: the first two moments of cosines and coordinates agree; 1 500 replicas of each, independent seeds.

    Five and a half standard errors, which 4e-8 of all draws pass, for each of twelve comparisons: 5e-7 in all.
    """
    x = np.repeat(X[:3][None], 1500, axis=0)
    model = network(cs.MLP(width=3, activation="relu", bias_std=0.3, output_bias_std=0.2), depth=2)
    ours = cs.coupled_run(model, x, rng=1, refinement=1).network.final
    theirs = cs.simulate(model, x, rng=2).final
    for power in (1, 2):
        a, b = (np.einsum("rik,rjk->rij", y, y)[:, *np.triu_indices(3, 1)] ** power for y in (ours, theirs))
        error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / 1500)
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 5.5 * error).all()
        overlaps = [(y[:, :, 0] * X[:3, 0]) ** power for y in (ours, theirs)]
        error = np.sqrt(sum(m.var(axis=0) for m in overlaps) / 1500)
        assert (np.abs(overlaps[0].mean(axis=0) - overlaps[1].mean(axis=0)) < 5.5 * error).all()


@pytest.mark.slow
def test_deeper_and_wider_networks_are_closer():
    """The mean square falls like 1/L + 1/m: by some 9 here, over 5 seeds; paths without the coupling are 1 apart."""
    runs = {
        (depth, width): np.mean(
            [distance(cs.coupled_run(network(cs.MLP(width=width), depth), X, rng=seed)) ** 2 for seed in range(5)]
        )
        for depth, width in ((8, 16), (64, 256))
    }
    assert runs[64, 256] < runs[8, 16] / 4
    uncoupled = [
        ((cs.simulate(network(), X, rng=s).final - cs.coupled_run(network(), X, rng=s).limit.final) ** 2).sum(-1).mean()
        for s in range(3)
    ]
    assert np.mean(uncoupled) > 10 * runs[64, 256]


def test_coarser_networks_and_replicas_are_coupled_too():
    x = np.repeat(X[None], 3, axis=0)
    seeds = [5, 6, 7]
    together = cs.coupled_run(network().coarsen(2), x, rng=seeds)
    for replica, seed in enumerate(seeds):
        alone = cs.coupled_run(network().coarsen(2), X, rng=seed)
        assert np.array_equal(together.network.final[replica], alone.network.final)
        assert np.array_equal(together.limit.final[replica], alone.limit.final)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_threads_change_nothing(n_threads):
    runs = [cs.coupled_run(network(), X, rng=0, n_threads=n) for n in (1, n_threads)]
    assert np.array_equal(runs[0].network.final, runs[1].network.final)


def test_observables_and_checkpoints(tmp_path):
    path = tmp_path / "run.npz"
    first = {"first": lambda t, x: x[0]}
    run = cs.coupled_run(network(), X, rng=0, observe=first, save_at=[0.5, 1.0], checkpoint=path)
    for part in (run.network, run.limit):
        assert part.times.tolist() == [0.5, 1.0]
        assert np.array_equal(part.observables["first"], part.states[:, 0])
        assert part.to_xarray().sizes["token"] == 12
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cs.coupled_run(network(mlp=None), X, rng=0), ValueError, "there is no noise to couple"),
        (lambda: cs.coupled_run(network(noise_scale=0.0), X, rng=0), ValueError, "there is no noise to couple"),
        (lambda: cs.coupled_run(network(), X.astype("float32"), rng=0), TypeError, "x must be a float64 array"),
        (lambda: cs.coupled_run(MLP, X, rng=0), TypeError, "model must be a Transformer"),
        (lambda: cs.coupled_run(network(), X, rng=0, refinement=0), ValueError, "refinement must be"),
        (lambda: cs.coupled_run(network(), cs.sample_uniform(3000, 3, rng=0), rng=0), ValueError, "at most 2000 tok"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
