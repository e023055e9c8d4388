"""The gradient flow of a potential of the cosine of two tokens.

More than half of this file is docstrings.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.polynomial import Chebyshev
from numpy.typing import ArrayLike

from chaosphere.common import checks
from chaosphere.common.arrays import PerReplica, of_replicas
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief, Row
from chaosphere.common.shape import Shape
from chaosphere.geometry import expansions
from chaosphere.interactions import axisymmetric, call, linear, polynomials
from chaosphere.interactions.axisymmetric import AxisymmetricDrift, LinearAxisymmetric
from chaosphere.interactions.circle import MAX_MODES, CircleDrift, PotentialDrift, max_circle_speed
from chaosphere.interactions.differentiable import Differentiable
from chaosphere.interactions.head import largest_value
from chaosphere.interactions.kept_plan import KeepsPlan
from chaosphere.interactions.potential_plans import PairsPlan, SeriesPlan, factors_of, is_expanded
from chaosphere.interactions.sphere import PotentialSphere, SphereDrift

_METHODS = ("auto", "direct", "fourier", "harmonic")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PotentialInteraction(KeepsPlan, Differentiable, checks.ByValue, Brief):
    """A drift along the gradient of a potential W of the cosine of two tokens; the sum includes the token itself.

    b(μ, x) = ∫ W′(⟨x, y⟩) y dμ(y),  μ = Σ p_i δ_{x_i}

    Tokens attract each other where W′ > 0 and repel where W′ < 0.

    Parameters
    ----------
    potential : callable, polynomial of NumPy, or array_like
        W on [−1, 1]. A function takes an array of cosines and returns as many real numbers. Polynomials are those of
        `numpy.polynomial`, such as `Polynomial` and `Chebyshev`. A list holds coefficients of powers, lowest first.
    derivative : callable, polynomial of NumPy, or array_like, optional
        W′. Default: the derivative of the polynomial that stands for W.
    tolerance : float
        Of the polynomial that stands for W′: it is off by at most this fraction of the largest |W′|. It is in
        [1e-13, 0.1]. Polynomials are taken as they are.
    method : {"auto", "direct", "fourier", "harmonic"}
        "direct" sums over all pairs. "fourier" (d = 2) and "harmonic" (d >= 3) take time proportional to N. "auto"
        takes what is expected to be fastest.

    Attributes
    ----------
    potential, derivative : numpy.polynomial.Chebyshev
        The polynomials that stand for W and W′.

    Raises
    ------
    TypeError, ValueError
        If an argument breaks a rule above, a function does not return finite real numbers of the shape of its argument
        or is not smooth enough for a polynomial of degree 1024, derivative is not that of potential, or the largest
        |W′| exceeds 1e100; for float32 tokens the limit is 3.4e30.

    See Also
    --------
    chaosphere.UnnormalizedAttention : Attention without the division by the partition sum, W(u) = e^{βu}/β.
    chaosphere.CustomInteraction : A drift that a function of your own returns.
    chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.
    chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.
    chaosphere.interactions.protocol.Interaction : What an interaction offers.

    Notes
    -----
    W′ is sampled at Chebyshev points, more and more of them up to 2049, until the interpolating polynomial has ended;
    it is cut where the sum of the coefficients left out is half the tolerance, and compared with W′, or its integral
    with W, at points between. Rounding of W leaves an error of about 2e-16 n² |W| in the derivative of a polynomial of
    degree n that stands for it, so pass the derivative where that matters. The functions are called when the object is
    made and then forgotten: it can be pickled, and two of them are equal if their polynomials are. Files hold the
    coefficients.

    Direct: O(N² (d + n)) per system, memory O(N d). One value of W′ serves (i, j) and (j, i). For float32 tokens the
    polynomial is cut at 1.5e-8 of the largest |W′|. Expansions: exact for a polynomial of degree n with the harmonics
    of degree up to n, up to rounding; arithmetic is double, and tokens are projected onto the sphere first. Results
    are bitwise identical for any number of threads.

    Examples
    --------
    A potential that draws tokens together when they are near and pushes them apart when they are far:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> interaction = cs.PotentialInteraction(lambda u: np.exp(3 * (u - 1)) - 0.5 * np.exp(u - 1))
    >>> interaction(np.array([[1.0, 0.0], [0.0, 1.0]])).round(3) + 0.0
    array([[ 1.25 , -0.017],
           [-0.017,  1.25 ]])

    W(u) = u²/2 has the drift Mx with M the matrix of second moments:

    >>> quadratic = cs.PotentialInteraction([0.0, 0.0, 0.5])
    >>> x = cs.sample_uniform(100, 3, rng=0)
    >>> bool(abs(quadratic(x) - x @ (x.T @ x / 100)).max() < 1e-14)
    True
    """

    potential: Any = field(kw_only=False)
    derivative: Any = field(default=None, kw_only=False)
    tolerance: float = 1e-10
    method: str = "auto"

    def __post_init__(self) -> None:
        """Check, and replace the functions by polynomials."""
        checks.numbers(self, "tolerance", low=1e-13, high=0.1)
        checks.choice(self.method, "method", known=_METHODS)
        series = polynomials.potential_and_derivative(self.potential, self.derivative, tolerance=self.tolerance)
        for name, coefficients in zip(("potential", "derivative"), series, strict=True):
            polynomial = Chebyshev(coefficients)
            polynomial.coef.flags.writeable = False
            object.__setattr__(self, name, polynomial)
        self._check_size(np.float64)

    def _values(self) -> tuple[Any, ...]:
        # + 0.0: −0.0 equals 0.0.
        series = ((polynomial.coef + 0.0).tobytes() for polynomial in (self.potential, self.derivative))
        return (*series, self.tolerance, self.method)

    def _rows(self) -> list[Row]:
        shown = [row for row in Brief._rows(self) if row[0] not in ("potential", "derivative")]
        return [("potential", f"polynomial of degree {self.potential.degree()}"), *shown]

    def identity_facts(self) -> dict[str, Any]:
        """Return what tells interactions apart in checkpoints and stores: their polynomials, not their functions.

        Returns
        -------
        dict
            Type, Chebyshev coefficients of W and W′, and method.

        See Also
        --------
        chaosphere.CovarianceKernel.identity_facts : What tells kernels apart.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> cs.PotentialInteraction([0.0, 0.0, 0.5]).identity_facts()["potential"]
        [0.25, 0.0, 0.25]
        """
        return {
            "type": type(self).__name__,
            "potential": self.potential.coef.tolist(),
            "derivative": self.derivative.coef.tolist(),
            "method": self.method,
        }

    def _check_size(self, dtype: Any) -> None:
        """Raise ValueError where the largest possible drift has no place in a dtype."""
        limit, size = largest_value(dtype), float(np.abs(self.derivative.coef).sum())
        if not size <= limit and not (size := polynomials.largest(self.derivative.coef)) <= limit:
            raise ValueError(
                f"the derivative of potential must be <= {limit:.3g} in size for {np.dtype(dtype)} tokens, got "
                f"{size:.6g}"
            )

    def resolve(self, n_tokens: int, dim: int, dtype: Any = "float64") -> PotentialInteraction:
        """Return this interaction with the method chosen for tokens of a number, dimension and dtype.

        Parameters
        ----------
        n_tokens : int
            N >= 1.
        dim : int
            d >= 2.
        dtype : dtype
            float64 or float32.

        Returns
        -------
        PotentialInteraction
            With a method other than "auto".

        Raises
        ------
        TypeError, ValueError
            If a size is no integer or too small, dtype is another, or the method does not serve this dimension.

        See Also
        --------
        chaosphere.UnnormalizedAttention.resolve : Unnormalised attention with its method chosen.
        chaosphere.PotentialInteraction.plan : Plan of the interaction.
        chaosphere.interactions.protocol.Interaction.resolve : An interaction with its choices made.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> interaction = cs.PotentialInteraction(np.exp)
        >>> [interaction.resolve(n, 3).method for n in (100, 100_000)]
        ['direct', 'harmonic']
        """
        n_tokens, dim = checks.integer(n_tokens, "n_tokens", low=1), checks.integer(dim, "dim", low=2)
        dtype = checks.float_type(dtype, "dtype")
        return replace(self, method=self._method(Shape(n_tokens=n_tokens, dim=dim, dtype=dtype)))

    def _method(self, shape: Shape) -> str:
        """Return the method for tokens of a shape; ValueError if it does not serve them."""
        fast = "fourier" if shape.dim == 2 else "harmonic"
        if self.method == "auto":
            return fast if is_expanded(self.derivative.coef, shape) else "direct"
        if self.method not in ("direct", fast):
            raise ValueError(f"method={self.method!r} serves dim {'2' if shape.dim > 2 else '>= 3'}, got {shape.dim}")
        if self.method == "harmonic" and not expansions.serves_degree(self.derivative.degree() + 1, shape.dim):
            raise ValueError(
                f"method='harmonic' does not serve a potential of degree {self.potential.degree()} in dim {shape.dim} "
                "(too many terms); use method='direct'"
            )
        return self.method

    def plan(self, shape: Shape, weights: Floats | None = None) -> PairsPlan | SeriesPlan:
        """Return the plan for tokens of one shape, as `Transformer` uses it.

        Parameters
        ----------
        shape : Shape
            Replicas, tokens, dimension and dtype.
        weights : ndarray of float64, shape (n_sources,), optional
            Of the source tokens, which come first; >= 0 with sum 1. None: 1/N for every token.

        Returns
        -------
        InteractionPlan
            Its `drift` is the interaction, without checks of the tokens.

        Raises
        ------
        ValueError
            If the method does not serve this shape, or the largest possible drift has no place in its dtype.

        See Also
        --------
        chaosphere.PotentialInteraction.resolve : The interaction with its method chosen.
        chaosphere.UnnormalizedAttention.plan : Plan of unnormalised attention.
        chaosphere.interactions.protocol.Interaction.plan : Plan of any interaction.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> x = cs.sample_uniform(10, 3, rng=0, n_replicas=2)
        >>> interaction = cs.PotentialInteraction(np.exp)
        >>> plan = interaction.plan(Shape.of(x))
        >>> bool((plan.drift(x, n_threads=1) == interaction(x)).all())
        True
        """
        self._check_size(shape.dtype)
        return self._plan(self.derivative, shape, weights)

    def _plan(self, polynomial: Chebyshev, shape: Shape, weights: Floats | None) -> PairsPlan | SeriesPlan:
        plan = PairsPlan if self._method(shape) == "direct" else SeriesPlan
        return plan(shape, weights, series=np.asarray(polynomial.coef, dtype=np.float64))

    def __call__(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> Tokens:
        """Return b(μ_x, x_i) for every token.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems. Any layout, never copied whole.
        weights : array_like, shape (N,), optional
            p_i >= 0 with sum 1 (default 1/N).
        n_threads : int, optional
            Default: all that OpenMP may use. Does not change a bit of the result.

        Returns
        -------
        ndarray
            Of the shape and dtype of x.

        Raises
        ------
        TypeError, ValueError
            If x is not made of tokens on the unit sphere, the weights are out of range, or the method does not serve x.

        See Also
        --------
        chaosphere.UnnormalizedAttention.__call__ : Unnormalised attention at every token.
        chaosphere.PotentialInteraction.energy : Energy whose gradient flow it is.

        Examples
        --------
        With W(u) = u it is the mean of all tokens:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(500, 3, rng=0)
        >>> y = cs.PotentialInteraction([0.0, 1.0])(x)
        >>> bool(abs(y - x.mean(axis=0)).max() < 1e-15)
        True
        """
        return call.drift(self, x, weights=weights, n_threads=n_threads, keeper=self)

    def energy(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> PerReplica:
        """Return the energy −½ Σ_ij p_i p_j W(⟨x_i, x_j⟩).

        The interaction is its gradient flow: along it the energy changes by −Σ_i p_i |P b(x_i)|² per unit of time, with
        P the projection onto the tangent space at x_i.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems.
        weights : array_like, shape (N,), optional
            p_i >= 0 with sum 1 (default 1/N).
        n_threads : int, optional
            As in `__call__`.

        Returns
        -------
        float, or ndarray of shape (R,)
            The energy of each system, in double precision: to rounding of the largest |W| and the tolerance.

        Raises
        ------
        TypeError, ValueError
            If x is not made of tokens on the unit sphere, the weights are out of range, or the method does not serve x.

        See Also
        --------
        chaosphere.UnnormalizedAttention.energy : Energy of unnormalised attention.
        chaosphere.PotentialInteraction.mobility : The factor between drift and gradient, 1.
        chaosphere.PotentialInteraction.__call__ : Drift at every token.

        Examples
        --------
        At consensus it is −W(1)/2:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> x = np.array([[1.0, 0.0], [1.0, 0.0]])
        >>> round(cs.PotentialInteraction(lambda u: u**3 - u).energy(x) + 0.0, 12)
        0.0
        """
        batch, threads = checks.tokens(x), checks.threads(n_threads)
        p = checks.weights(weights, batch.shape[1])
        double = batch.astype(np.float64, copy=False)
        plan = self._plan(self.potential, Shape.of(double), p)
        return of_replicas(-0.5 * plan.mean(double, n_threads=threads), x)

    @property
    def mobility(self) -> float:
        """The factor 1: the drift is minus the Wasserstein gradient of `energy`.

        See Also
        --------
        chaosphere.PotentialInteraction.energy : Energy whose gradient flow it is.
        chaosphere.MultiHeadAttention.mobility : The same of several heads.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.PotentialInteraction([0.0, 1.0]).mobility
        1.0
        """
        return 1.0

    @property
    def consensus_rate(self) -> float:
        """Rate at which the distance of two tokens of a cluster falls by this drift alone, W′(1).

        See Also
        --------
        chaosphere.UnnormalizedAttention.consensus_rate : Rate of unnormalised attention.
        chaosphere.CovarianceKernel.critical_noise_scale : Strength of noise that balances attention.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> cs.PotentialInteraction([0.0, 0.0, 0.5]).consensus_rate
        1.0
        """
        return float(polynomials.values_at(self.derivative.coef, 1.0))

    def circle_drift(self, n_modes: int) -> CircleDrift:
        """Return the tangential drift of a density on the circle as a function of its Fourier modes.

        Parameters
        ----------
        n_modes : int
            Modes K of the density, in [1, 2²⁴].

        Returns
        -------
        CircleDrift
            A function of modes (R, K + 1) and a number n of points that returns the drift at the angles 2πj/n, (R, n).

        Raises
        ------
        TypeError, ValueError
            If n_modes is no integer in this range.

        See Also
        --------
        chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.
        chaosphere.UnnormalizedAttention.circle_drift : The same of unnormalised attention.
        chaosphere.PotentialInteraction.linear_response : Response to a small harmonic.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> drift = cs.PotentialInteraction([0.0, 1.0]).circle_drift(4)
        >>> modes = np.array([[1.0, 0.25, 0.0, 0.0, 0.0]])  # of the density 1 + cos(θ)/2
        >>> drift(modes, 4).round(3) + 0.0  # to the mean, which is at θ = 0
        array([[ 0.  , -0.25,  0.  ,  0.25]])
        """
        n_modes = checks.integer(n_modes, "n_modes", low=1, high=MAX_MODES)
        return PotentialDrift(potential=self.potential.coef, derivative=self.derivative.coef, n_modes=n_modes)

    def axisymmetric_drift(self, cosines: ArrayLike, dim: int) -> AxisymmetricDrift:
        """Return the tangential drift of a measure that is symmetric about an axis, as a function of its masses.

        It is the gradient of a function Φ of the cosine u with the axis, here ∫ W(⟨x, y⟩) dμ(y).

        Parameters
        ----------
        cosines : array_like, shape (n,)
            Cosines u_1 … u_n of nodes with the axis, in [−1, 1].
        dim : int
            d, in [2, 64].

        Returns
        -------
        AxisymmetricDrift
            With masses p of shape (n,) at the nodes, >= 0 with sum 1: Φ by `potential(p)`, Φ′ by `slope(p)`, and the
            derivative of Φ in p by `derivative(p)`, each at the nodes; `energy(p)`, or None.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range.

        See Also
        --------
        chaosphere.phases.branch : Stationary states at all temperatures.
        chaosphere.AxisymmetricDensity : The mean-field limit of densities that are symmetric about an axis.
        chaosphere.SoftmaxAttention.axisymmetric_drift : The same of softmax attention.

        Examples
        --------
        With W(u) = u²/2, on S², and all of the mass at the pole Φ is u²/2:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> drift = cs.PotentialInteraction([0.0, 0.0, 0.5]).axisymmetric_drift([0.0, 1.0], 3)
        >>> drift.slope(np.array([0.0, 1.0])).round(12) + 0.0
        array([0., 1.])
        """
        u, dim = axisymmetric.nodes(cosines, dim)
        return LinearAxisymmetric.of_potential(
            self.potential.coef, u, dim=dim, max_speed=max_circle_speed(self.derivative.coef)
        )

    def sphere_drift(self, n_modes: int) -> SphereDrift:
        """Return the tangential drift of a density on S² as a function of its modes in spherical harmonics.

        Parameters
        ----------
        n_modes : int
            Largest degree K of the modes of the density, in [1, 1024].

        Returns
        -------
        SphereDrift
            A function of modes and a `chaosphere.geometry.sphere_grid.SphereGrid` that returns the components of the
            drift along e_θ and e_φ at the points of the grid; its `max_speed` bounds the drift of any probability.

        Raises
        ------
        TypeError, ValueError
            If n_modes is no integer in this range.

        See Also
        --------
        chaosphere.SphereDensity : The mean-field limit on S², solved for its density.
        chaosphere.SoftmaxAttention.sphere_drift : The same of softmax attention.

        Examples
        --------
        With W(u) = u the drift is to the mean:

        >>> import chaosphere as cs
        >>> round(cs.PotentialInteraction([0.0, 1.0]).sphere_drift(16).max_speed, 1)
        1.0
        """
        return PotentialSphere(potential=self.potential.coef, derivative=self.derivative.coef, n_modes=n_modes)

    def linear_response(self, degree: int, dim: int) -> float:
        """Return how the drift responds to a small harmonic Y of one degree: its tangential part is c ε ∇Y + O(ε²).

        It is that of the density 1 + εY with respect to the uniform law, and c is the Funk–Hecke coefficient W_l of the
        potential: ∫ W(⟨x, y⟩) Y(y) dy = W_l Y(x) with the uniform probability dy.

        Parameters
        ----------
        degree : int
            l, in [1, 100 000].
        dim : int
            d, in [2, 100 000].

        Returns
        -------
        float
            The factor c, to rounding of the largest |W|. It is 0 for degrees above that of the polynomial.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range.

        See Also
        --------
        chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.
        chaosphere.UnnormalizedAttention.linear_response : The same of unnormalised attention.
        chaosphere.PotentialInteraction.circle_drift : Drift of densities on the circle.

        Examples
        --------
        W(u) = u²/2 makes tokens gather about an axis: degree 2 grows, and no other.

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> quadratic = cs.PotentialInteraction([0.0, 0.0, 0.5])
        >>> [round(quadratic.linear_response(degree, 3), 6) for degree in (1, 2, 3)]
        [0.0, 0.066667, 0.0]
        """
        degree = checks.integer(degree, "degree", low=1, high=linear.MAX_SIZE)
        dim = checks.integer(dim, "dim", low=2, high=linear.MAX_SIZE)
        series = self.potential.coef
        if degree >= len(series):
            return 0.0
        return float(factors_of(series, dim)[degree])
