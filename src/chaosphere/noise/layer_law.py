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

    See Also
    --------
    chaosphere.MLP : Random layers of a network.
    chaosphere.MLP.law : The law of the layers, whatever their width.
    chaosphere.MLP.of : Network with a given law of its layers.
    chaosphere.CovarianceKernel.source : The activation and the standard deviations of the layer.
    chaosphere.noise.activations.Activation : An activation function and its facts.

    Examples
    --------
    The layers of all networks that differ in their width alone have one law:

    >>> import chaosphere as cs
    >>> from chaosphere.noise import activations
    >>> from chaosphere.noise.layer_law import LayerLaw
    >>> law = LayerLaw(activation=activations.get("tanh"), bias_std=0.1)
    >>> [cs.MLP.of(law, width=m).kernel(4).is_odd for m in (32, 1024)]
    [False, False]
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
        """Return the standard deviation w of the inner weights in dimension d.

        Parameters
        ----------
        dim : int
            d >= 2.

        Returns
        -------
        float
            `weight_std`, or d^{-1/2} if that is None.

        See Also
        --------
        chaosphere.noise.layer_law.LayerLaw.pair : Law of two tokens' pre-activations.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.MLP(width=1).law.weight_in(4)
        0.5
        """
        return float(dim**-0.5) if self.weight_std is None else self.weight_std

    def pair(self, dim: int) -> GaussianPair:
        """Return the law of the pre-activations of two tokens in dimension d.

        Parameters
        ----------
        dim : int
            d >= 2.

        Returns
        -------
        GaussianPair
            Their variance, and their covariance as a function of the cosine.

        See Also
        --------
        chaosphere.noise.layer_law.LayerLaw.weight_in : Standard deviation of the inner weights.

        Examples
        --------
        >>> import chaosphere as cs
        >>> pair = cs.MLP(width=1, bias_std=1.0).law.pair(4)
        >>> pair.weight_variance, pair.bias_variance, pair.variance
        (0.25, 1.0, 1.25)
        """
        return GaussianPair(self.weight_in(dim) ** 2, self.bias_std**2)
