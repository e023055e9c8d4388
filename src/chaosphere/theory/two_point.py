"""Two tokens in law: the diffusion of their cosine u = ⟨X, Y⟩ on [−1, 1].

Without attention, and whatever the number of tokens, the cosine of two of them has the generator

    L f = (1−u²)[κ(1) − uκ(u) + (1−u²)η(u)] f″ + G0(u) f′,
    G0(u) = (d−2+u²)κ(u) − (d−1)κ(1)u − u(1−u²)η(u)

(arXiv:2604.26898, two-point motion of the limiting SDE; η = 0 there). For exactly two tokens with QᵀK = βI and
V = δI, attention adds the drift 2δ(1−u²) e^{βu}/(e^β + e^{βu}). `PairNoise` is a noise that depends on the two tokens,
as random attention does; every function takes it in place of a kernel.

All functions here take `beta=None` for no attention; otherwise `beta` ≥ 0 and `value_scale` = δ
describe the attention of a system of two tokens.
"""

from chaosphere.noise.pair_noise import PairNoise
from chaosphere.theory.pair_expectation import PairSolution, energy_ratio, expectation, solve
from chaosphere.theory.pair_hitting_time import mean_hitting_time
from chaosphere.theory.pair_long_time import (
    HittingProbabilities,
    LongTime,
    hitting_probabilities,
    long_time,
    stationary_density,
)

__all__ = [
    "HittingProbabilities",
    "LongTime",
    "PairNoise",
    "PairSolution",
    "energy_ratio",
    "expectation",
    "hitting_probabilities",
    "long_time",
    "mean_hitting_time",
    "solve",
    "stationary_density",
]


def __dir__() -> list[str]:
    return __all__
