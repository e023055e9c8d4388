"""Statistics of the empirical measure μ_x = Σ p_i δ_{x_i}, distances between two of them, and Lyapunov exponents."""

from chaosphere.measures.dimension import correlation_dimension
from chaosphere.measures.distances import (
    circular_wasserstein2,
    coupled_distance,
    entropic_wasserstein2,
    mmd,
    sliced_wasserstein2,
    sobolev,
    wasserstein2,
)
from chaosphere.measures.linkage import Clusters, clusters
from chaosphere.measures.lyapunov import LyapunovEstimate, lyapunov_exponent, lyapunov_spectrum
from chaosphere.measures.moments import MeanCosine, OrderParameter, PowerSpectrum
from chaosphere.measures.observables import RadiusMoment
from chaosphere.measures.pairwise import Energy, cosine_histogram, energy, pair_fraction, pairwise_cosines
from chaosphere.measures.peaks import Modes, modes
from chaosphere.measures.sphere_peaks import SphereModes, sphere_modes
from chaosphere.measures.states import Lifetimes, lifetimes
from chaosphere.measures.statistics import (
    cluster_count,
    cluster_labels,
    cluster_sizes,
    mean_cosine,
    mean_direction,
    mean_vector,
    order_parameter,
    power_spectrum,
)
from chaosphere.measures.token_means import TokenMean

__all__ = [
    "Clusters",
    "Energy",
    "Lifetimes",
    "LyapunovEstimate",
    "MeanCosine",
    "Modes",
    "OrderParameter",
    "PowerSpectrum",
    "RadiusMoment",
    "SphereModes",
    "TokenMean",
    "circular_wasserstein2",
    "cluster_count",
    "cluster_labels",
    "cluster_sizes",
    "clusters",
    "correlation_dimension",
    "cosine_histogram",
    "coupled_distance",
    "energy",
    "entropic_wasserstein2",
    "lifetimes",
    "lyapunov_exponent",
    "lyapunov_spectrum",
    "mean_cosine",
    "mean_direction",
    "mean_vector",
    "mmd",
    "modes",
    "order_parameter",
    "pair_fraction",
    "pairwise_cosines",
    "power_spectrum",
    "sliced_wasserstein2",
    "sobolev",
    "sphere_modes",
    "wasserstein2",
]


def __dir__() -> list[str]:
    return __all__
