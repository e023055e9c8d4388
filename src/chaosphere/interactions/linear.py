"""The response of e^{β⟨x,y⟩} to harmonics; λ_l are its multipliers as in `chaosphere.geometry.expansions`."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import scipy

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.geometry import expansions

MAX_SIZE = 100_000  # of degrees and dimensions
_MAX_BETA = 1e8  # where a recurrence takes a tenth of a second


def relative_response(degree: int, *, dim: int, beta: float) -> float:
    """Return λ_l/(β λ_0) = I_{l+ν}(β)/(β I_ν(β)), ν = d/2 − 1, to a few ε; at β = 0 1/d for l = 1, else 0.

    λ_l of −β is (−1)^l times that of β: it is the multiplier of e^{β⟨−x, y⟩}.
    """
    degree = checks.integer(degree, "degree", low=1, high=MAX_SIZE)
    dim = checks.integer(dim, "dim", low=2, high=MAX_SIZE)
    if abs(beta) > _MAX_BETA:
        name = "beta" if beta > 0 else "the size of beta"
        raise ValueError(f"{name} must be <= {_MAX_BETA:g} for the linear response, got {abs(beta):.6g}")
    sign, beta = (-1 if beta < 0 and degree % 2 == 0 else 1), abs(beta)
    ratios = _ratios(max(64, 1 << (degree - 1).bit_length()), beta, dim)
    return sign * float(np.prod(ratios[1:degree]) / (dim + beta * ratios[1]))


@lru_cache(maxsize=16)
def _ratios(n: int, beta: float, dim: int) -> Floats:
    """Return `expansions.ratios`, made once for all degrees of an interaction; not to be written to."""
    return expansions.ratios(n, beta, dim)


def uniform_partition(beta: float, dim: int) -> float:
    """Return e^{−β} λ_0 = Γ(d/2) (2/β)^ν e^{−β} I_ν(β), the partition sum of the uniform law in units of e^β.

    Where the Bessel function underflows, in many dimensions or for tiny β, by the logarithms of its power series.
    """
    if beta == 0:
        return 1.0
    special, order, log_half = scipy.special, 0.5 * dim - 1, math.log(beta) - math.log(2)
    bessel = float(special.ive(order, beta))
    if bessel > 1e-290:
        return math.exp(math.lgamma(0.5 * dim) - order * log_half + math.log(bessel))
    n = np.arange(beta + 10 * math.sqrt(beta) + 60)
    logarithms = 2 * n * log_half - special.gammaln(n + 1) - special.gammaln(n + 0.5 * dim)
    return float(np.exp(special.logsumexp(logarithms) + math.lgamma(0.5 * dim) - beta))
