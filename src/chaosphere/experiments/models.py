"""The parts of the models that several commands run, from numbers."""

from __future__ import annotations

import math
from typing import Literal, Protocol

import numpy as np

from chaosphere.interactions.l2 import L2Attention
from chaosphere.interactions.multi_head import MultiHeadAttention
from chaosphere.interactions.potential import PotentialInteraction
from chaosphere.interactions.protocol import Interaction
from chaosphere.interactions.sinkhorn import SinkhornAttention
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.interactions.unnormalized import UnnormalizedAttention
from chaosphere.noise.mlp import MLP


class MakeInteraction(Protocol):
    """Makes an interaction of one kind for a dimension; None where it is switched off."""

    def __call__(self, *, dim: int, beta: float = ..., value_scale: float = ...) -> Interaction | None:
        """Return the interaction; other values of β and δ than those of the command may be asked for."""


def attention(*, beta: float = 1.0, value_scale: float = 1.0) -> SoftmaxAttention | None:
    """Return the attention with QᵀK = βI and V = δI, nothing where it is switched off.

    Parameters
    ----------
    beta : float
        β of attention, QᵀK = βI, and of the energy, where 0 stands for 1.
    value_scale : float
        V = δI: 1 attracts, 0 is off, -1 repels.
    """
    return None if value_scale == 0 else SoftmaxAttention(beta=beta, value_scale=value_scale)


def interaction(
    *,
    dim: int,
    interaction: Literal["softmax", "unnormalized", "sinkhorn", "l2", "potential", "multi-head", "causal"] = "softmax",
    beta: float = 1.0,
    value_scale: float = 1.0,
) -> Interaction | None:
    """Return the interaction of a kind in dimension d, nothing where it is switched off.

    Parameters
    ----------
    dim : int
        d.
    interaction : str
        Kind of the interaction; unnormalized: weights e^{β(u − 1)} of the cosine u; sinkhorn: doubly stochastic; l2: by
        distances |Qx − Ky|² with Q = √β I, and K the same with half the last entry; potential: W(u) = δβu²/2;
        multi-head: the mean of softmax heads at β/2 and 2β; causal: softmax attention to the tokens before.
    beta : float
        β of the interaction and of the energy, where 0 stands for 1.
    value_scale : float
        δ, V = δI: 1 attracts, 0 is off, -1 repels.
    """
    if value_scale == 0:
        return None
    if interaction == "unnormalized":
        return UnnormalizedAttention(beta=beta, value_scale=value_scale, rescaled=True)
    if interaction == "sinkhorn":
        return SinkhornAttention(beta=beta, value_scale=value_scale)
    if interaction == "potential":
        return PotentialInteraction([0.0, 0.0, 0.5 * beta * value_scale])
    if interaction == "l2":
        query = math.sqrt(beta) * np.eye(dim)
        key = query * np.append(np.ones(dim - 1), 0.5)
        return L2Attention(query=query, key=key, value_scale=value_scale)
    if interaction == "multi-head":
        betas = (beta / 2, 2 * beta)
        return MultiHeadAttention(heads=[SoftmaxAttention(beta=b, value_scale=value_scale) for b in betas])
    return SoftmaxAttention(beta=beta, value_scale=value_scale, mask="causal" if interaction == "causal" else None)


def mlp(*, bias_std: float = 0.3, activation: str = "tanh") -> MLP:
    """Return the law of the layers; their width is set by the experiment.

    Parameters
    ----------
    bias_std : float
        σ_U, standard deviation of the inner biases.
    activation : str
        φ: relu, tanh, erf or another by name (an unknown name lists them).
    """
    return MLP(width=1, activation=activation, bias_std=bias_std)
