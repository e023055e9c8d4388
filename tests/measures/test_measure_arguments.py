"""What functions of an empirical measure refuse: arrays with an arithmetic of their own, numbers out of range."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere import measures
from chaosphere.models import densities

X = cs.sample_uniform(6, 3, rng=0)
P = np.full(6, 1 / 6)
FUNCTIONS = {
    "energy": measures.energy,
    "mean_vector": measures.mean_vector,
    "order_parameter": measures.order_parameter,
    "mean_direction": measures.mean_direction,
    "mean_cosine": measures.mean_cosine,
    "cosine_histogram": measures.cosine_histogram,
    "power_spectrum": lambda x, **k: measures.power_spectrum(x, 3, **k),
    "pairwise_cosines": measures.pairwise_cosines,
    "pair_fraction": lambda x: measures.pair_fraction(x, 0.5),
    "cluster_count": lambda x: measures.cluster_count(x, 0.1),
    "cluster_labels": lambda x: measures.cluster_labels(x, 0.1),
    "cluster_sizes": lambda x: measures.cluster_sizes(x, 0.1),
    "moments": lambda x, **k: densities.moments(cs.normalize(x[:, :2]) if type(x) is np.ndarray else x, 2, **k),
}
WEIGHTED = [name for name in FUNCTIONS if name not in ("pairwise_cosines", "pair_fraction") and "cluster" not in name]


@pytest.mark.parametrize("kind", [np.matrix, np.ma.array])
@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_tokens_with_an_arithmetic_of_their_own_are_refused(name, kind):
    with pytest.raises(TypeError, match="x must not be a"):
        FUNCTIONS[name](kind(X))


@pytest.mark.parametrize("kind", [np.matrix, np.ma.array])
@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_with_an_arithmetic_of_their_own_are_refused(name, kind):
    FUNCTIONS[name](X, weights=P)
    with pytest.raises(TypeError, match="weights must not be a"):
        FUNCTIONS[name](X, weights=kind(P))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: measures.cosine_histogram(x, 2**70), "n_bins must be an integer <= 16777216, got 1180591620717411"),
        (lambda x: measures.cosine_histogram(x, 2**40), "n_bins must be an integer <= 16777216"),
        (lambda x: measures.cluster_sizes(x, 0.1, n_largest=0), "n_largest must be an integer >= 1"),
        (lambda x: measures.cluster_sizes(x, 0.1, n_largest=2**40), "n_largest must be an integer <= 16777216"),
        (lambda x: measures.cluster_labels(x, 0), "tolerance must be a finite number > 0"),
        (lambda x: measures.power_spectrum(x, 2**70), "n_max must be an integer <= 16777216"),
        (lambda x: measures.power_spectrum(x, 2**40), "n_max must be an integer <= 16777216"),
        (lambda x: measures.sobolev(x, x, order=1.0, n_max=2**40), "n_max must be an integer <= 16777216"),
        (lambda x: densities.moments(x, 2**40), "n_max|n_modes must be an integer <= 16777216"),
    ],
)
def test_counts_out_of_range(call, message):
    with pytest.raises(ValueError, match=message):
        call(cs.sample_uniform(20, 2, rng=0))


def test_numbers_of_any_type():
    assert measures.Energy(beta=np.float32(2)) == measures.Energy(beta=2)
    assert type(measures.Energy(beta=np.float32(2)).beta) is float
    assert measures.energy(X, np.float32(2)) == measures.energy(X, 2)
    assert (measures.cosine_histogram(X, np.uint8(50))[0] == measures.cosine_histogram(X, 50)[0]).all()
