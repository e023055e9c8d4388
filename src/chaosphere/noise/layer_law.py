"""The law of a random layer, and of the pair of pre-activations that it gives two tokens."""

from __future__ import annotations

from dataclasses import InitVar, dataclass

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.reprs import Brief
from chaosphere.noise.activations import Activation

MAX_STD = 1e150  # its square, and a few times that, are floats


@dataclass(frozen=True, slots=True)
class GaussianPair:
    """Pre-activations of two tokens of cosine u: centred, of variance q = w² + σ² and covariance w² u + σ².

    Closed forms and quadratures work with q ∓ covariance, which keep all digits at u = ±1.

    Parameters
    ----------
    weight_variance, bias_variance : float
        w² and σ², ≥ 0.
    """

    weight_variance: float
    bias_variance: float

    @property
    def variance(self) -> float:
        """Variance q of each."""
        return self.weight_variance + self.bias_variance

    def covariance(self, u: Floats) -> Floats:
        """Return w² u + σ²."""
        return self.weight_variance * u + self.bias_variance

    def below(self, u: Floats) -> Floats:
        """Return q − covariance = w² (1 − u)."""
        return self.weight_variance * (1.0 - u)

    def above(self, u: Floats) -> Floats:
        """Return q + covariance = w² (1 + u) + 2σ²."""
        return self.weight_variance * (1.0 + u) + 2.0 * self.bias_variance


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LayerLaw(Brief):
    """The law of a random layer G(y) = m^{-1/2} W φ(w U y + b_U) + b_W, the same kernel for every width m.

    U and W have i.i.d. standard normal entries, b_U ~ N(0, σ_U²) and b_W ~ N(0, σ_W²).

    Parameters
    ----------
    activation : Activation
        φ.
    weight_std : float or None
        w ≥ 0; None for d^{-1/2} in every dimension d.
    bias_std, output_bias_std : float
        σ_U, σ_W ≥ 0.
    limit : float
        Largest standard deviation that is allowed.

    Raises
    ------
    TypeError, ValueError
        If a standard deviation is out of range.

    Examples
    --------
    >>> from chaosphere.noise import activations
    >>> LayerLaw(activation=activations.get("relu"), bias_std=1.0).pair(4)
    GaussianPair(weight_variance=0.25, bias_variance=1.0)
    """

    activation: Activation
    weight_std: float | None = None
    bias_std: float = 0.0
    output_bias_std: float = 0.0
    limit: InitVar[float] = MAX_STD

    def __post_init__(self, limit: float) -> None:
        """Check, and convert numbers to float."""
        if self.weight_std is not None:
            checks.numbers(self, "weight_std", low=0, high=limit)
        checks.numbers(self, "bias_std", "output_bias_std", low=0, high=limit)

    def weight_in(self, dim: int) -> float:
        """Return w in dimension d."""
        return float(dim**-0.5) if self.weight_std is None else self.weight_std

    def pair(self, dim: int) -> GaussianPair:
        """Return the law of the pre-activations of two tokens in dimension d."""
        return GaussianPair(self.weight_in(dim) ** 2, self.bias_std**2)
