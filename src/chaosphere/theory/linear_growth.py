"""Linear growth of harmonics about the uniform law."""

from __future__ import annotations

from typing import Any

from chaosphere.common import checks
from chaosphere.interactions.protocol import offered


def growth_rate(interaction: Any, degree: int, dim: int) -> float:
    """Return the rate at which a small harmonic of one degree grows about the uniform law, without noise.

    The uniform law is stationary for every interaction that commutes with rotations. The density 1 + εY with respect to
    it, Y a harmonic of degree l, is 1 + ε e^{σt} Y + O(ε²) at time t, with

        σ_l = l (l + d − 2) (δ/β) g_l

    and g_l = r = I_{l+ν}(β)/I_ν(β) for softmax attention, r/(1 + r) for doubly stochastic attention, and
    Γ(d/2) (2/β)^ν I_{l+ν}(β) for unnormalised attention, times e^{−β} if that is rescaled; ν = d/2 − 1. For the drift
    along a potential W it is σ_l = l (l + d − 2) W_l, with the Funk–Hecke coefficient W_l of W for the uniform
    probability. Noise of each token's own, of temperature τ, lowers the rate by τ l (l + d − 2).

    Parameters
    ----------
    interaction : SoftmaxAttention, UnnormalizedAttention, SinkhornAttention, PotentialInteraction, or another one
        Attention with QᵀK = βI and V = δI; another one needs a method `linear_response(degree, dim)`.
    degree : int
        Degree l of the harmonic, in [0, 100 000].
    dim : int
        Dimension d of the space, in [2, 100 000].

    Returns
    -------
    float
        The rate σ_l. For β = 0 it is the limit β → 0. Below the smallest float it is 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the interaction has no linear response, or its β is larger than 1e8.

    See Also
    --------
    chaosphere.theory.equiangular : Cosine and radius of tokens that start with one cosine.
    chaosphere.SoftmaxAttention.linear_response : Response of softmax attention to a small harmonic.
    chaosphere.UnnormalizedAttention.linear_response : Response of unnormalised attention to a small harmonic.
    chaosphere.PotentialInteraction.linear_response : Response of the drift along a potential to a small harmonic.
    chaosphere.UnnormalizedAttention : Attention without the division by the partition sum.
    chaosphere.theory.causal_covariance : Covariance of tokens under causal attention.
    chaosphere.PotentialInteraction : Drift along the gradient of any potential of the cosine.
    chaosphere.SinkhornAttention.linear_response : Response of doubly stochastic attention to a small harmonic.
    chaosphere.SinkhornAttention : Doubly stochastic attention.
    chaosphere.measures.power_spectrum : Mean squares of the harmonics of tokens.
    chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.

    Examples
    --------
    The degree that grows fastest is the number of clusters that form first on the circle:

    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=16.0)
    >>> rates = [cs.theory.growth_rate(attention, degree, 2) for degree in range(10)]
    >>> max(range(10), key=lambda degree: rates[degree])
    6
    """
    degree = checks.integer(degree, "degree", low=0)
    dim = checks.integer(dim, "dim", low=2)
    response = offered(interaction, "linear_response", name="interaction")
    # A density keeps its mass: degree 0 does not grow.
    return degree * (degree + dim - 2) * float(response(degree, dim)) if degree > 0 else 0.0
