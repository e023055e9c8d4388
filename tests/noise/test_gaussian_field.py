"""Gaussian fields have the covariance they claim, at any points, in every method.

Statistical tests: null as stated, seeds fixed, false-alarm rate 5.7e-7 (five standard errors) per comparison.
"""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common.streams import Draws, Noise, Stream
from chaosphere.noise.increments import covariance_matrix, covariance_root

KERNELS = {
    "relu d=2": cs.MLP(width=1, activation="relu").kernel(2),
    "tanh d=3": cs.MLP(width=1, activation="tanh", bias_std=0.3).kernel(3),
    "gelu d=5": cs.MLP(width=1, activation="gelu", output_bias_std=0.2).kernel(5).scaled(2.0),
    "relu d=16": cs.MLP(width=1, activation="relu", bias_std=0.1).kernel(16),
}


def points(dim):
    """Spread points, a duplicate, an antipode and a close pair."""
    x = cs.sample_uniform(8, dim, rng=3)
    x[5], x[6] = x[4], -x[4]
    x[7] = cs.normalize(x[3:4] + 1e-6 * x[:1])[0]
    return x


COVARIANCES = [(name, method) for name in KERNELS for method in ("spectral", "dense", "features")]
LONG = [("relu d=2", "dense"), ("tanh d=3", "dense"), ("relu d=16", "dense")]


@pytest.mark.parametrize(
    ("name", "method"), [pytest.param(*case, marks=[pytest.mark.slow] * (case in LONG)) for case in COVARIANCES]
)
def test_covariance(name, method):
    """Null: E[ΔW(x) ΔW(y)ᵀ] = κ(⟨x, y⟩) I Δt, the spectral one up to its tolerance; 20 000 draws."""
    kernel = KERNELS[name]
    if method == "spectral" and kernel.dim == 16:
        with pytest.raises(ValueError, match=r"would need more than 20000 harmonics in dim 16"):
            cs.GaussianField(kernel=kernel, method="spectral")
        return
    n = 20_000
    field = cs.GaussianField(kernel=kernel, method=method, tolerance=1e-4, width=32)
    x = points(kernel.dim)
    noise = Noise(5, n_replicas=n)
    # The spectral field is linear in its coefficients: draw those in smaller batches to bound memory.
    g = np.concatenate(
        [
            field.increment([Draws(keys=keys)], duration=0.25, n_tokens=8)(np.repeat(x[None], len(keys), axis=0))
            for keys in np.array_split(noise.draws(Stream.BROWNIAN, 0).keys, 20)
        ]
    )
    expected = 0.25 * covariance_matrix(kernel, x)
    slack = 0.25 * kernel(1.0) * (1e-4 if method == "spectral" else 1e-12)
    for a, b in ((0, 0), (1, 1), (0, 1)):
        products = g[:, :, None, a] * g[:, None, :, b]
        error = products.std(axis=0, ddof=1) / np.sqrt(n)
        assert (np.abs(products.mean(axis=0) - expected * (a == b)) <= 5 * error + slack).all()
    assert np.abs(g[:, 4] - g[:, 5]).max() < 1e-6 * np.sqrt(kernel(1.0))


def test_gaussian_law_of_the_spectral_field():
    """Null: the fourth moment is 3 κ(1)²; 20 000 draws."""
    kernel = KERNELS["tanh d=3"]
    field = cs.GaussianField(kernel=kernel)
    noise = Noise(6, n_replicas=20_000)
    g = field.increment([noise.draws(Stream.BROWNIAN, 0)], duration=1.0, n_tokens=1)(
        np.repeat(cs.sample_uniform(1, 3, rng=0)[None], 20_000, axis=0)
    )[:, 0, 0]
    fourth = g**4
    assert abs(fourth.mean() - 3 * kernel(1.0) ** 2) < 5 * fourth.std() / np.sqrt(20_000)


@pytest.mark.parametrize("method", ["spectral", "dense", "features"])
def test_coarse_increment_is_the_sum_of_its_parts(method):
    kernel = KERNELS["tanh d=3"]
    field = cs.GaussianField(kernel=kernel, method=method, width=16)
    x = cs.sample_uniform(9, 3, rng=0)[None]
    noise = Noise(1)
    coarse = field.increment((noise.draws(Stream.BROWNIAN, k) for k in range(4)), duration=0.4, n_tokens=9)(x)
    parts = [field.increment([noise.draws(Stream.BROWNIAN, k)], duration=0.1, n_tokens=9)(x) for k in range(4)]
    np.testing.assert_allclose(coarse, sum(parts), rtol=0, atol=1e-14)


@pytest.mark.parametrize("method", ["spectral", "features"])
def test_a_field_is_the_same_at_every_point_set(method):
    field = cs.GaussianField(kernel=KERNELS["tanh d=3"], method=method, width=16)
    x = cs.sample_uniform(300, 3, rng=0)[None]
    noise = Noise(1)
    few, many = (
        field.increment([noise.draws(Stream.BROWNIAN, 0)], duration=1.0, n_tokens=n)(x[:, :n]) for n in (10, 300)
    )
    assert np.array_equal(few, many[:, :10])


def test_root_of_a_singular_matrix():
    for kernel in KERNELS.values():
        x = np.repeat(points(kernel.dim), 3, axis=0)
        root = covariance_root(kernel, x)
        np.testing.assert_allclose(root @ root.T, covariance_matrix(kernel, x), rtol=0, atol=1e-12 * kernel(1.0))


def test_automatic_choice():
    assert cs.GaussianField(kernel=KERNELS["tanh d=3"]).resolve(10**6).method == "spectral"
    high = cs.GaussianField(kernel=KERNELS["relu d=16"])
    assert [high.resolve(n).method for n in (64, 1000, 1001, 10**6)] == ["dense", "dense", "features", "features"]
    alone = cs.CovarianceKernel.from_function(lambda u: np.exp(3 * u), dim=16)
    assert cs.GaussianField(kernel=alone).resolve(4000).method == "dense"
    with pytest.raises(ValueError, match=r"no method serves 4001 tokens in dim 16"):
        cs.GaussianField(kernel=alone).resolve(4001)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kernel": 1.0}, TypeError, r"kernel must be a CovarianceKernel"),
        (
            {"kernel": KERNELS["relu d=2"], "method": "fourier"},
            ValueError,
            r"method: unknown 'fourier'; known: auto, spectral",
        ),
        ({"kernel": KERNELS["relu d=2"], "tolerance": 0.0}, ValueError, r"tolerance must be .* > 0"),
        ({"kernel": KERNELS["relu d=2"], "width": 0}, ValueError, r"width must be an integer >= 1"),
        (
            {"kernel": cs.CovarianceKernel.from_spectrum([1.0], dim=3), "method": "features"},
            ValueError,
            r"method='features' needs a kernel that comes from an activation",
        ),
    ],
)
def test_bad_input(options, error, message):
    with pytest.raises(error, match=message):
        cs.GaussianField(**options)
