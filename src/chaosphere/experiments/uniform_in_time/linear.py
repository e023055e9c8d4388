"""What is known of the distance of N tokens from their limit: about the uniform law, and where both are points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy

from chaosphere.common.checks import Floats
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.theory.linear_growth import growth_rate

_N_DEGREES = 64
_N_RISES = 2001


def growth_rates(beta: float) -> Floats:
    """Return the rates σ_l of the first harmonics about the uniform law under attraction, from l = 1 on."""
    return np.array([growth_rate(SoftmaxAttention(beta=beta), k, 2) for k in range(1, _N_DEGREES + 1)])


def linear_theory(beta: float, *, tokens: Sequence[int], times: Floats) -> Floats:
    """Return E W2² of N uniform tokens from the uniform law to leading order, for each N and time."""
    degree, rates = np.arange(1, _N_DEGREES + 1), growth_rates(beta)
    rest = math.pi**2 / 6 - (degree**-2.0).sum()  # of the degrees beyond, which hardly grow
    sums = (np.exp(2 * np.outer(times, rates)) * degree**-2.0).sum(axis=1) + rest
    return np.outer([2 / n for n in tokens], sums)


def partition_variance(beta: float, *, n_tokens: int, times: Floats) -> Floats:
    """Return the relative variance of the partition function of a token in the linear theory, for each time.

    The harmonic of degree l of Σ_j e^{β⟨x, x_j⟩} is I_l(β)/I_0(β) times that of the tokens. The theory is that of small
    changes of this sum: it holds while Σ_l (2/N) (I_l(β)/I_0(β))² e^{2 σ_l t} is small.
    """
    degree = np.arange(1, _N_DEGREES + 1)
    share = (scipy.special.ive(degree, beta) / scipy.special.ive(0, beta)) ** 2
    return np.asarray(2 / n_tokens * (np.exp(2 * np.outer(times, growth_rates(beta))) * share).sum(axis=1))


def growth_left(*, n_tokens: int, time: float) -> float:
    """Return log2 of E sup θ² over all times less that of E sup θ² up to a time, of two points N^{−1/2} apart at first.

    Under the noise alone log θ has drift λ1 = −¾ and variance κ(1) + κ′(1) = 3/2 in unit time while θ is small, and θ
    is at most π. That log θ rises by b up to t has probability Φ((−b − ¾t)/s) + e^{−b} Φ((−b + ¾t)/s), s² = 3t/2, which
    tends to e^{−b}.
    """
    rise, s = np.linspace(0.0, math.log(math.pi) + 0.5 * math.log(n_tokens), _N_RISES), math.sqrt(1.5 * time)
    high, low = (scipy.special.ndtr((sign * 0.75 * time - rise) / s) for sign in (1, -1))
    all_times, so_far = (
        1.0 + np.trapezoid(2.0 * np.exp(2.0 * rise) * probability, rise)
        for probability in (np.exp(-rise), low + np.exp(-rise) * high)
    )
    return math.log2(all_times / so_far)


def is_one_cluster_first(beta: float) -> bool:
    """Whether the first harmonic grows fastest, so that all tokens come to one point without clusters before."""
    return int(growth_rates(beta).argmax()) == 0
