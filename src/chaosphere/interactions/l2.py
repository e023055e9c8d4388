"""Attention whose weights are Gaussian in the distance of queries and keys.

More than half of this file is docstrings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chaosphere.common import checks, schedules
from chaosphere.common.arrays import PerReplica
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief
from chaosphere.common.schedules import Schedule
from chaosphere.common.shape import Shape
from chaosphere.geometry import sphere
from chaosphere.interactions import axisymmetric
from chaosphere.interactions.attended import relative_weights
from chaosphere.interactions.axisymmetric import AxisymmetricDrift
from chaosphere.interactions.circle import CircleDrift
from chaosphere.interactions.differentiable import Differentiable
from chaosphere.interactions.few_tokens import FUSED_WORK, has_few_keys
from chaosphere.interactions.growth import EnergyGrowth
from chaosphere.interactions.head import LOG2_E, Head, largest_value, norm, scalar, set_matrices
from chaosphere.interactions.kept_plan import KeepsPlan, plan_of_call
from chaosphere.interactions.protocol import InteractionPlan, Pullback
from chaosphere.interactions.scheduled import MayChange
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.interactions.sphere import SphereDrift
from chaosphere.interactions.tangent import Maps, SoftmaxTangent


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class L2Attention(KeepsPlan, MayChange, Differentiable, checks.ByValue, Brief):
    """Attention by distances: softmax self-attention with −|Qx − Ky|² for the scores.

    Attn(μ, x) = ∫ e^{−|Qx − Ky|²} V y dμ(y) / ∫ e^{−|Qx − Ky|²} dμ(y),  μ = Σ p_i δ_{x_i}

    Parameters
    ----------
    query, key : array_like, shape (k, d)
        Q and K.
    value : array_like, shape (d, d), optional
        V.
    value_scale : float, sequence of float, or callable, optional
        V = δI instead: 1 attracts (default), 0 switches off, −1 repels. One number for each step of the model, or a
        function of the time t, changes it over a run.

    Raises
    ------
    TypeError, ValueError
        If query or key are missing, both forms of V are given, shapes disagree, an entry is not finite, or a norm is so
        large that the rounding of the tokens decides the weights.

    See Also
    --------
    chaosphere.SoftmaxAttention : Softmax attention.
    chaosphere.Transformer : The discrete transformer.
    chaosphere.LimitSDE : The limit of deep and wide transformers.
    chaosphere.interactions.protocol.Interaction : What an interaction offers.

    Notes
    -----
    |Qx − Ky|² = |Qx|² − 2⟨Qx, Ky⟩ + |Ky|², so this is softmax attention with 2QᵀK in place of QᵀK and with token
    weights proportional to p_j e^{−|Ky_j|²}. Where QᵀK = βI and |Ky| is the same for all tokens, as for Q = K = √β I,
    it is softmax attention at 2β. `CircleDensity` takes this case alone: otherwise weights are no function of ⟨x, y⟩.

    All pairs are summed, with a running maximum, in O(N² (k + d)) per system and memory O(N (k + d)). Weights carry a
    relative rounding error of about (‖Q‖ + ‖K‖)² ε (ε = 2.2e-16 or 1.2e-7). Results are bitwise identical for any
    number of threads.

    Examples
    --------
    With Q = K = I it is softmax attention at β = 2:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(500, 3, rng=0)
    >>> attention = cs.L2Attention(query=np.eye(3), key=np.eye(3))
    >>> bool(abs(attention(x) - cs.SoftmaxAttention(beta=2.0)(x)).max() < 1e-14)
    True
    """

    query: Floats
    key: Floats
    value: Floats | None = None
    value_scale: Schedule | None = None

    def __post_init__(self) -> None:
        """Check, fill in the default, and convert."""
        for name in ("query", "key"):
            if getattr(self, name) is None:
                raise TypeError(f"{name} must be a matrix (k, d), got None")
        set_matrices(self)
        self._convert()
        if self._scheduled():
            self._set_rest()
            return
        self._check_sizes(np.dtype(np.float64))

    @property
    def _value_scale(self) -> float | None:
        return schedules.constant(self.value_scale, "value_scale")

    def resolve(self, n_tokens: int, dim: int, dtype: Any = "float64") -> L2Attention:
        """Return this attention: there is nothing to choose.

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
        L2Attention
            Itself.

        Raises
        ------
        TypeError, ValueError
            If a size is no integer or too small, or dtype is another.

        See Also
        --------
        chaosphere.L2Attention.plan : Plan of the attention.
        chaosphere.SoftmaxAttention.resolve : The attention with its method chosen.
        chaosphere.interactions.protocol.Interaction.resolve : An interaction with its choices made.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> attention = cs.L2Attention(query=np.eye(3), key=np.eye(3))
        >>> attention.resolve(100, 3) == attention
        True
        """
        checks.integer(n_tokens, "n_tokens", low=1)
        checks.integer(dim, "dim", low=2)
        checks.float_type(dtype, "dtype")
        return self

    def plan(self, shape: Shape, weights: Floats | None = None) -> InteractionPlan:
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
            Its `drift` is attention, without checks of the tokens.

        Raises
        ------
        ValueError
            If the matrices are of another dimension, or too large for this dtype.

        See Also
        --------
        chaosphere.L2Attention.resolve : The attention with its choices made.
        chaosphere.SoftmaxAttention.plan : Plan of softmax attention.
        chaosphere.interactions.protocol.Interaction.plan : Plan of any interaction.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> x = cs.sample_uniform(10, 3, rng=0, n_replicas=2)
        >>> attention = cs.L2Attention(query=np.eye(3), key=2 * np.eye(3))
        >>> plan = attention.plan(Shape.of(x))
        >>> bool((plan.drift(x, n_threads=1) == attention(x)).all())
        True
        """
        return self._planned(lambda attention: attention._constant_plan(shape, weights))

    def _constant_plan(self, shape: Shape, weights: Floats | None) -> L2Plan:
        """Return the plan for a number δ, or V."""
        if self.query.shape[1] != shape.dim:
            raise ValueError(f"x must have dim {self.query.shape[1]}, that of the matrices, got {shape.dim}")
        self._check_sizes(shape.dtype)
        head = Head(
            shape.dtype,
            query=self.query,
            key=self.key,
            output=self.value,
            scale=2.0,
            value_scale=1.0 if self._value_scale is None else self._value_scale,
            is_distance=True,
        )
        names = ("query", "key", "value", "value_scale")
        maps = Maps(shape.dim, is_distance=True, **{name: getattr(self, name) for name in names})
        return L2Plan(shape, weights, head=head, maps=maps)

    def energy(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> PerReplica:
        """Return the energy E_{2β} of softmax attention at 2β, where this is that attention.

        Along the flow it changes as `SoftmaxAttention.energy` does.

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
        float, ndarray of shape (R,) or None
            The energy of each system; None unless QᵀK = βI, KᵀK = cI and V = δI: other attention by distances is no
            gradient flow.

        Raises
        ------
        TypeError, ValueError
            If x is not made of tokens on the unit sphere, the weights are out of range, 2β > 700, or δ changes over a
            run: `at` gives the attention at a time.

        See Also
        --------
        chaosphere.SoftmaxAttention.energy : Energy of softmax attention.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(50, 3, rng=0)
        >>> attention = cs.L2Attention(query=np.eye(3), key=np.eye(3))
        >>> bool(attention.energy(x) == cs.measures.energy(x, beta=2.0))
        True
        """
        checks.tokens(x)
        softmax = self._softmax()
        if softmax is None:
            checks.threads(n_threads)
            checks.weights(weights, x.shape[-2])
            return None
        return softmax.energy(x, weights, n_threads=n_threads)

    def energy_growth(self, beta: float, *, dim: int | None = None) -> EnergyGrowth | None:
        """Return the least ε with dE_β/dt <= ε E_β for every measure, under attention alone, where this is softmax.

        Parameters
        ----------
        beta : float
            β >= 0 of the energy. That of the attention is 2β where QᵀK = βI.
        dim : int, optional
            d, that of the matrices.

        Returns
        -------
        EnergyGrowth or None
            That of the softmax attention; None unless QᵀK = βI and KᵀK = cI.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range, dim is another than that of the matrices, or δ changes over a run: `at`
            gives the attention at a time.

        See Also
        --------
        chaosphere.SoftmaxAttention.energy_growth : The same of softmax attention.
        chaosphere.MultiHeadAttention.energy_growth : The same of several heads.
        chaosphere.CovarianceKernel.dissipation_rate : Rate of the bound on the expected energy.
        chaosphere.interactions.growth.EnergyGrowth : The answer.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> attention = cs.L2Attention(query=np.eye(3), key=np.eye(3), value_scale=-0.3)
        >>> answer = attention.energy_growth(2.0)
        >>> answer is not None and answer.growth
        0.6
        """
        beta, own_dim = checks.number(beta, "beta", low=0), self.query.shape[1]
        if dim is not None and checks.integer(dim, "dim", low=2) != own_dim:
            raise ValueError(f"dim must be {own_dim}, that of the matrices, got {dim}")
        schedules.constant(self.value_scale, "value_scale")
        softmax = self._softmax()
        return None if softmax is None else softmax.energy_growth(beta, dim=own_dim)

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
            If n_modes is no integer in this range, or unless QᵀK = βI, KᵀK = cI and V = δI with a number δ.

        See Also
        --------
        chaosphere.SoftmaxAttention.circle_drift : The same of softmax attention.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> drift = cs.L2Attention(query=0 * np.eye(2), key=np.eye(2)).circle_drift(4)
        >>> modes = np.array([[1.0, 0.25, 0.0, 0.0, 0.0]])  # of the density 1 + cos(θ)/2
        >>> drift(modes, 4).round(3) + 0.0  # to the mean, which is at θ = 0
        array([[ 0.  , -0.25,  0.  ,  0.25]])
        """
        return self._as_softmax("circle_drift").circle_drift(n_modes)

    def axisymmetric_drift(self, cosines: ArrayLike, dim: int) -> AxisymmetricDrift:
        """Return the tangential drift of a measure that is symmetric about an axis, as a function of its masses.

        It is the gradient of a function Φ of the cosine u with the axis, as of softmax attention.

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
            If an argument is out of range, or unless QᵀK = βI, KᵀK = cI and V = δI.

        See Also
        --------
        chaosphere.phases.branch : Stationary states at all temperatures.
        chaosphere.AxisymmetricDensity : The mean-field limit of densities that are symmetric about an axis.
        chaosphere.SoftmaxAttention.axisymmetric_drift : The same of softmax attention.

        Examples
        --------
        With Q = 0 the drift is to the mean, here of half of the mass at the pole and half at the equator:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> attention = cs.L2Attention(query=0 * np.eye(3), key=np.eye(3))
        >>> attention.axisymmetric_drift([0.0, 1.0], 3).slope(np.array([0.5, 0.5])).round(3)
        array([0.5, 0.5])
        """
        u, dim = axisymmetric.nodes(cosines, dim)
        if self.query.shape[1] != dim:
            raise ValueError(f"dim must be {self.query.shape[1]}, that of the matrices, got {dim}")
        return self._as_softmax("axisymmetric_drift").axisymmetric_drift(u, dim)

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
            If n_modes is no integer in this range, or unless d = 3, QᵀK = βI, KᵀK = cI and V = δI with a number δ.

        See Also
        --------
        chaosphere.SphereDensity : The mean-field limit on S², solved for its density.
        chaosphere.SoftmaxAttention.sphere_drift : The same of softmax attention.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> cs.L2Attention(query=np.eye(3), key=np.eye(3), value_scale=0.5).sphere_drift(16).max_speed
        0.5
        """
        if self.query.shape[1] != 3:
            raise ValueError(f"sphere_drift needs matrices of 3 columns, got {self.query.shape[1]}")
        return self._as_softmax("sphere_drift").sphere_drift(n_modes)

    def linear_response(self, degree: int, dim: int) -> float:
        """Return how the drift responds to a small harmonic Y of one degree: its tangential part is c ε ∇Y + O(ε²).

        Parameters
        ----------
        degree : int
            l, in [1, 100 000].
        dim : int
            d, in [2, 100 000].

        Returns
        -------
        float
            The factor c, of the density 1 + εY with respect to the uniform law.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range, or unless QᵀK = βI, KᵀK = cI and V = δI with a number δ.

        See Also
        --------
        chaosphere.SoftmaxAttention.linear_response : The same of softmax attention.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> attention = cs.L2Attention(query=np.eye(3), key=np.eye(3))
        >>> attention.linear_response(1, 3) == cs.SoftmaxAttention(beta=2.0).linear_response(1, 3)
        True
        """
        if self.query.shape[1] != checks.integer(dim, "dim", low=2):
            raise ValueError(f"dim must be {self.query.shape[1]}, that of the matrices, got {dim}")
        return self._as_softmax("linear_response").linear_response(degree, dim)

    @property
    def consensus_rate(self) -> float | None:
        """Rate at which the distance of two tokens of a cluster falls by attention alone, δ; None unless V = δI.

        Where δ changes over a run it is None, too: `at` gives the attention at a time.

        See Also
        --------
        chaosphere.SoftmaxAttention.consensus_rate : Rate of softmax attention.
        chaosphere.CovarianceKernel.critical_noise_scale : Strength of noise that balances attention.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> cs.L2Attention(query=np.eye(3), key=np.eye(3), value_scale=0.5).consensus_rate
        0.5
        """
        return self.value_scale if schedules.is_constant(self.value_scale) else None

    def __call__(
        self, x: Tokens, weights: Any = None, *, sources: Tokens | None = None, n_threads: int | None = None
    ) -> Tokens:
        """Return Attn(μ_x, x_i) for every token, or Attn(μ_z, x_i) for the sources z.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems.
        weights : array_like, shape (N,) or (M,), optional
            p_i >= 0 with sum 1 (default uniform), of the tokens that are summed over.
        sources : ndarray of the dtype of x, shape (M, d) or (R, M, d), optional
            Tokens z whose keys and values the queries of x attend to (default: x itself).
        n_threads : int, optional
            Default: all that OpenMP may use. Does not change a bit of the result.

        Returns
        -------
        ndarray
            Of the shape and dtype of x.

        Raises
        ------
        TypeError, ValueError
            If an argument breaks a rule above, or the matrices do not serve these tokens.

        See Also
        --------
        chaosphere.SoftmaxAttention.__call__ : Softmax attention at every token.

        Examples
        --------
        A token attends to what is near to it, two of a hundred sources here:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(1, 2, rng=0)
        >>> z = np.concatenate([x, x, cs.sample_uniform(98, 2, rng=1)])
        >>> attention = cs.L2Attention(query=1000 * np.eye(2), key=1000 * np.eye(2))
        >>> bool(abs(attention(x, sources=z) - x).max() < 1e-15)
        True
        """
        batch = checks.tokens(x)
        keys = batch if sources is None else checks.sources(sources, x)
        p = checks.weights(weights, keys.shape[1])
        threads = checks.threads(n_threads)
        shape = Shape.of(keys)
        plan = plan_of_call(self, shape, p, make=lambda: self._constant_plan(shape, p))
        mean = plan.attend(batch, keys, n_threads=threads)
        return mean if x.ndim == 3 else mean[0]

    def _softmax(self) -> SoftmaxAttention | None:
        """Return the softmax attention that this is, where QᵀK = βI, and |Ky| is the same for every token."""
        beta = scalar(2.0 * self.key.T @ self.query)
        if beta is None or scalar(self.key.T @ self.key) is None:
            return None
        return SoftmaxAttention(beta=beta, value=self.value, value_scale=self.value_scale)

    def _as_softmax(self, method: str) -> SoftmaxAttention:
        softmax = self._softmax()
        if softmax is None:
            raise ValueError(f"{method} needs attention with QᵀK = βI and KᵀK = cI, got general matrices")
        return softmax

    def _check_sizes(self, dtype: np.dtype[Any]) -> None:
        """Raise ValueError where rounding would decide the weights, or sums of values might overflow."""
        limit = math.sqrt(0.01 / float(np.finfo(dtype).eps))
        for matrix, name in ((self.query, "query"), (self.key, "key")):
            if not norm(matrix) <= limit:
                raise ValueError(
                    f"the norm of {name} must be <= {limit:.3g} for {dtype} tokens, got {norm(matrix):.6g}: beyond it "
                    "the rounding of the tokens decides the weights"
                )
        limit = largest_value(dtype)
        size = float(abs(self.value).max()) if self.value is not None else abs(self._value_scale or 0.0)
        if not size <= limit:
            name = "value_scale" if self.value is None else "the entries of value"
            raise ValueError(f"{name} must be <= {limit:.3g} in size for {dtype} tokens, got {size:.6g}")


class L2Plan(InteractionPlan):
    """Attention by distances over all pairs, for tokens of one shape.

    Parameters
    ----------
    shape : Shape
    weights : ndarray of float64, shape (n_sources,), optional
        Those that are 0 make their tokens passive tracers, too.
    head : Head
    maps : Maps
        Of its derivative.
    """

    def __init__(self, shape: Shape, weights: Floats | None, *, head: Head, maps: Maps) -> None:
        self.head = head
        self.weights, self.log_unit = relative_weights(weights, shape.n_tokens)
        self.tangent = SoftmaxTangent(maps, weights)
        self.n_sources = shape.n_tokens if weights is None else len(weights)
        self.pairs = float(shape.n_tokens) * self.n_sources
        # Steps of few tokens are taken in one call.
        self.is_fused = self.n_sources == shape.n_tokens and has_few_keys(shape.n_tokens, shape.dim)
        work = shape.n_replicas * self.pairs * (shape.dim + 4)
        self.max_fused_steps = max(1, int(FUSED_WORK / work)) if self.is_fused else 1

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return attention; see `InteractionPlan`."""
        return self.attend(x, x, n_threads=n_threads)

    def move(self, x: Tokens, step_size: float, *, n_threads: int, n_steps: int = 1) -> Tokens:
        """Return LN(x + τ Attn(μ_x, x)), n_steps times over; see `InteractionPlan`."""
        if not self.is_fused:
            return super().move(x, step_size, n_threads=n_threads, n_steps=n_steps)
        several: dict[str, Any] = {"step": step_size, "n_steps": n_steps, "n_threads": n_threads}
        return sphere.raise_if_degenerate(*self.head.attend_few(x, x, weights=self.weights, **several))

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Return the derivative in a direction; see `InteractionPlan`."""
        drift, log_z = self._with_sums(x, n_threads=n_threads)
        return self.tangent.jvp(x, tangent, drift=drift, log_z=log_z, n_threads=n_threads)

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        """Return gradients; see `InteractionPlan`."""
        drift, log_z = self._with_sums(x, n_threads=n_threads)
        return self.tangent.vjp(x, cotangent, drift=drift, log_z=log_z, n_threads=n_threads)

    def _with_sums(self, x: Tokens, *, n_threads: int) -> tuple[Tokens, Floats]:
        """Return the drift and the logarithms of the sums Σ_j p_j e^{2⟨Qx_i, Ky_j⟩ − |Ky_j|²}."""
        keys = x[:, : self.n_sources]
        mean, sums, exponents = self.head.attend(x, keys, weights=self.weights, n_threads=n_threads)
        return mean, np.log(sums) + exponents / LOG2_E + self.log_unit

    def rows(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> Tokens:
        """Return some rows of attention at their share of the work; see `InteractionPlan`."""
        return self.attend(x[:, first:stop], x, n_threads=n_threads)

    def attend(self, queries: Tokens, tokens: Tokens, *, n_threads: int) -> Tokens:
        """Return attention of queries (R, M, d) to those of the tokens (R, N, d) that are sources."""
        keys = tokens[:, : self.n_sources]
        return self.head.attend(queries, keys, weights=self.weights, n_threads=n_threads)[0]
