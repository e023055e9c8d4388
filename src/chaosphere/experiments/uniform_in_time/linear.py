"""N tokens about the uniform law on the circle: growth of their harmonics, and how long the linear theory holds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy

from chaosphere.common.checks import Floats
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.theory.linear_growth import growth_rate

_N_DEGREES = 64


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


def is_one_cluster_first(beta: float) -> bool:
    """Whether the first harmonic grows fastest, so that all tokens come to one point without clusters before."""
    return int(growth_rates(beta).argmax()) == 0
