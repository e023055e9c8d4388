"""Training of attention-only transformers with AdamW, in the scaling that has a limit of many layers and heads.

The setting and its scaling are derived on the page :doc:`/concepts/training`.
"""

from chaosphere.training.adamw import AdamW, AdamWState
from chaosphere.training.limit import TrainingLimit
from chaosphere.training.loop import Training, train
from chaosphere.training.losses import KernelMatching, MeanRegression
from chaosphere.training.network import AttentionNetwork
from chaosphere.training.stack import NetworkGradient

__all__ = [
    "AdamW",
    "AdamWState",
    "AttentionNetwork",
    "KernelMatching",
    "MeanRegression",
    "NetworkGradient",
    "Training",
    "TrainingLimit",
    "train",
]


def __dir__() -> list[str]:
    return __all__
