"""Distances between two empirical measures on the sphere, μ = Σ p_i δ_{x_i} and ν = Σ q_j δ_{y_j}.

With replicas, the distance in replica r is that of a call with its clouds alone, bit by bit.
"""

from chaosphere.measures.distances.kernels import mmd, sobolev
from chaosphere.measures.distances.line import circular_wasserstein2, sliced_wasserstein2
from chaosphere.measures.distances.transport import coupled_distance, entropic_wasserstein2, wasserstein2

__all__ = [
    "circular_wasserstein2",
    "coupled_distance",
    "entropic_wasserstein2",
    "mmd",
    "sliced_wasserstein2",
    "sobolev",
    "wasserstein2",
]
