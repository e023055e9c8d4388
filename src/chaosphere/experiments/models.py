"""The parts of the models that several commands run, from numbers."""

from __future__ import annotations

from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.noise.mlp import MLP


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
