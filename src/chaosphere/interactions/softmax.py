"""Self-attention: the interaction between tokens.

More than half of this file is docstrings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike

from chaosphere.common import checks, schedules
from chaosphere.common.arrays import PerReplica, of_replicas
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.fields import added
from chaosphere.common.reprs import Brief, Row
from chaosphere.common.schedules import Schedule
from chaosphere.common.shape import Shape
from chaosphere.geometry import expansions
from chaosphere.interactions import (
    axisymmetric,
    causal,
    energies,
    growth,
    hardmax,
    layered,
    linear,
    methods,
    nufft,
    prefix,
    series,
)
from chaosphere.interactions.attended import Attended
from chaosphere.interactions.attention_result import AttentionResult
from chaosphere.interactions.axisymmetric import AxisymmetricDrift, ExponentialKernel, SoftmaxAxisymmetric
from chaosphere.interactions.circle import MAX_MODES, CircleDrift, SoftmaxDrift
from chaosphere.interactions.differentiable import Differentiable
from chaosphere.interactions.direct import DirectPlan, direct_nanoseconds
from chaosphere.interactions.fast_sums import FastSumsPlan, Sums
from chaosphere.interactions.growth import EnergyGrowth
from chaosphere.interactions.hardmax import HardmaxPlan
from chaosphere.interactions.head import (
    largest_value,
    set_matrices,
)
from chaosphere.interactions.kept_plan import KeepsPlan, plan_of_call
from chaosphere.interactions.protocol import InteractionPlan
from chaosphere.interactions.scheduled import MayChange, ScheduledPlan, Settings
from chaosphere.interactions.softmax_matrices import HasMatrices, largest_norm
from chaosphere.interactions.sphere import ExponentialFactors, SoftmaxSphere, SphereDrift

METHODS = ("auto", "direct", "fourier", "harmonic", "nufft")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SoftmaxAttention(HasMatrices, KeepsPlan, MayChange, Differentiable, checks.ByValue, Brief):
    """Softmax self-attention without the 1/√d scaling; the sum includes the token itself.

    Attn(μ, x) = ∫ e^{⟨Qx, Ky⟩} V y dμ(y) / ∫ e^{⟨Qx, Ky⟩} dμ(y),  μ = Σ p_i δ_{x_i}   (arXiv:2604.26898, eq. 1.1)

    Parameters
    ----------
    beta : float, sequence of float, or callable, optional
        QᵀK = βI (default 1, unless query and key are given); with β < 0 far tokens have larger coefficients than near
        ones. One number for each step of the model, or a function of the time t, changes it over a run.
        ``math.inf``, alone or with query and key, is hardmax attention: the mean of the tokens with the largest score,
        which is the limit of c QᵀK for c → ∞.
    value_scale : float, sequence of float, or callable, optional
        V = δI: 1 attracts (default), 0 switches off, −1 repels. It may change over a run, too.
    query, key : array_like, shape (k, d), optional
        General Q and K, both or none, instead of a finite beta. Where k < d, scores are taken in R^k if that is faster.
    value : array_like, shape (d, d), optional
        General V, instead of value_scale. With `output`: of shape (v, d).
    output : array_like, shape (d, v), optional
        V is output times value, of rank v: the sums are of values in R^v if that is faster.
    mask : {None, "causal"}
        "causal": token i (row i of x, from 0) attends to the tokens j <= i alone, as in decoders. The first token sees
        only itself; with V = δI attention does not move it. None (default): every token attends to all.
    decay : float
        λ in [0, 1e15], with the mask: the coefficient of token i for token j has the extra factor e^{−λ(i−j)/N}, as by
        the linear biases of ALiBi with the slope λ/N. 0 (default) for none.
    method : {"auto", "direct", "fourier", "harmonic", "nufft"}
        direct
            Over all pairs, O(N² d); for any QᵀK.
        fourier
            For d = 2 and QᵀK = βI (in whatever form it is given), |β| <= 10⁴: e^{β cos θ} = Σ I_k(β) cos kθ, O(N K),
            K from 14 (β = 1) to 120 (β = 200) and about 8 √β beyond.
        harmonic
            For d >= 3 and QᵀK = βI, with β >= 0 under a mask, as long as 40 000 harmonics are enough: e^{β⟨x,y⟩} in
            spherical harmonics of degree L, O(N L^{d−1}), L about the K above.
        nufft
            For d = 2 or 3 and QᵀK = βI with |β| >= 0.1, by non-uniform Fourier transforms of a Gaussian in R^d
            (`chaosphere.interactions.nufft`; needs finufft, extra "nufft"): for d = 3 and β in the hundreds, at loose
            tolerances. Refused with a mask, and where it would take more than 2 GB (d = 3, β about 1 100 by default,
            1 900 at 1e-3).
        auto
            The fastest by a model of the measured times (`resolve` tells): it depends on N, d, β, rtol and the dtype
            alone, so that results are bitwise identical on every machine with the same instruction set. One exception:
            for d = 3, an rtol that is given, and β that would take too many harmonics (beyond about 500), it is nufft
            from N of about 100 000 if finufft is installed. Expansions win from about N = 530 for d = 2, and at β = 4
            from 1 600 for d = 3, 20 000 for d = 4 and 210 000 for d = 5 (see `chaosphere.interactions.series`).
    rtol : float, optional
        For expansions, in [1e-13, 0.1]: attention is off by at most rtol ‖V‖ and partition sums by the fraction rtol/2,
        each token's own, beyond the rounding of the result to its dtype. Default: 1e-12 (1 + |β|/8), for float32 tokens
        1e-7 (1 + |β|/8), near the direct sum's own rounding. Tokens that cannot be served so, far from nearly all
        others (or, for β < 0, near them), are summed directly, O(N) each; if most tokens are such, all are.

    Raises
    ------
    TypeError, ValueError
        If both forms of a matrix are given, shapes disagree, an entry is not finite, or the method does not serve QᵀK.

    See Also
    --------
    chaosphere.MultiHeadAttention : Several interactions at once.
    chaosphere.CustomInteraction : A drift by a function of your own.
    chaosphere.FixedMLP : A two-layer network with matrices of your own.
    chaosphere.Transformer : The discrete transformer.
    chaosphere.LimitSDE : The limit of deep and wide transformers.
    chaosphere.UnnormalizedAttention : Attention without the division by the partition sum.
    chaosphere.AttentionResult : Attention with its partition sums and energy.
    chaosphere.L2Attention : Attention by distances.
    chaosphere.RandomAttention : Attention whose heads are drawn anew for every layer.
    chaosphere.SinkhornAttention : Doubly stochastic attention.
    chaosphere.interactions.protocol.Interaction : What an interaction offers.
    chaosphere.measures.energy : Interaction energy of tokens.

    Notes
    -----
    Direct: O(N² d) per system, memory O(N d). When QᵀK is symmetric one exponential serves (i, j) and (j, i).
    Weights p_j e^{⟨Qx_i, Kx_j⟩} carry a relative rounding error of about ‖QᵀK‖ ε (ε = 2.2e-16 or 1.2e-7); none
    overflows, whatever the size of QᵀK. Scores in R^k take k products a pair instead of d, and sums of values in R^v
    take v + 1; they are used where that is faster (with a QᵀK that is symmetric, one exponential serves two
    pairs) and ‖Q‖ ‖K‖ <= 8 ‖QᵀK‖, so that at most three bits of the scores are lost; output and value likewise.
    With a mask: half of the pairs, a weight for one side each; or O(N K) by the expansions for the tokens up to each
    one, at up to twice their time without a mask, with some tens of bytes per token for moments of chunks of tokens.
    Each token must have a weight, and the first one > 0: passive tokens have no place in the order. On
    spheres of d >= 3 method "harmonic" does not serve a decay that is fast within a chunk; "auto" then is direct.
    Expansions: bounds and their derivation stand in `chaosphere.geometry.expansions`. Tokens are projected onto the
    sphere first (where |x| is off by η, the direct sum's weights differ by the fraction 2βη), arithmetic is double;
    memory is that of the results, 8 (d + 1) bytes per float64 token. Either way results are bitwise identical for any
    number of threads.
    Hardmax: over all pairs, half of them with a mask, without partition sums, energies, densities or derivatives.
    Tokens of the largest score count by their weights, with a decay of at most 500 in them; scores are equal if they
    are so to the bit, in the dtype of the tokens. Without query and key a token of weight > 0 attends to itself alone,
    and any other to the nearest ones: distances are compared in place of scores. Results are bitwise identical on all
    instruction sets, too.

    Examples
    --------
    With β = 0 attention is the mean of all tokens:

    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(500, 3, rng=0)
    >>> y = cs.SoftmaxAttention(beta=0.0)(x)
    >>> bool(abs(y - x.mean(axis=0)).max() < 1e-15)
    True

    General matrices Q, K and V:

    >>> import numpy as np
    >>> generator = np.random.default_rng(0)
    >>> query, key, value = generator.standard_normal((3, 3, 3))
    >>> cs.SoftmaxAttention(query=query, key=key, value=value)(x).shape
    (500, 3)

    With a causal mask the first token sees itself, the second itself and the first:

    >>> y = cs.SoftmaxAttention(beta=0.0, mask="causal")(x)
    >>> bool(abs(y[1] - x[:2].mean(axis=0)).max() < 1e-15), bool((y[0] == x[0]).all())
    (True, True)

    Hardmax attends to the token with the largest score; of two such, to their mean:

    >>> first = np.array([[1.0, 0.0]])
    >>> coldest = cs.SoftmaxAttention(beta=np.inf, query=first, key=first)
    >>> coldest(np.array([[1.0, 0.0], [0.6, 0.8], [-0.6, 0.8], [-0.6, -0.8]]))
    array([[ 1. ,  0. ],
           [ 1. ,  0. ],
           [-0.6,  0. ],
           [-0.6,  0. ]])

    A head of dimension 8 for tokens in R^64, whose V has rank 8:

    >>> query, key, value = generator.standard_normal((3, 8, 64)) / 8
    >>> attention = cs.SoftmaxAttention(query=query, key=key, value=value, output=value.T)
    >>> attention(cs.sample_uniform(500, 64, rng=0)).shape
    (500, 64)
    """

    _lowest: ClassVar[dict[str, float]] = {"beta": -math.inf, "value_scale": -math.inf}
    _may_be_infinite: ClassVar[tuple[str, ...]] = ("beta",)

    beta: Schedule | None = None
    value_scale: Schedule | None = None
    query: Floats | None = None
    key: Floats | None = None
    value: Floats | None = None
    output: Floats | None = added(None)
    mask: str | None = added(None)
    decay: float = added(0.0)
    method: str = "auto"
    rtol: float | None = None

    def __post_init__(self) -> None:
        """Check, fill in the defaults, and convert numbers to float."""
        set_matrices(self, output=self.output)
        if self.query is None and self.beta is None:
            object.__setattr__(self, "beta", 1.0)
        self._convert()
        if self.beta is not None and self.query is not None and not self._is_hard:
            raise ValueError(
                "beta must not be given together with query and key, unless it is inf: QᵀK is either βI or general"
            )
        if self._scheduled():
            self._set_rest()
            return
        self._check_norm(np.float64)
        causal.set_mask(self)
        checks.choice(self.method, "method", known=METHODS)
        if self._is_hard:
            hardmax.check(self)
            return
        if self.mask is not None and self.method == "nufft":
            raise ValueError(f"method must not be 'nufft' with mask={self.mask!r}: it sums over all tokens at once")
        if self.rtol is not None:
            checks.numbers(self, "rtol", low=1e-13, high=0.1)
            if self.method == "direct":
                raise ValueError("rtol must be None with method='direct', which does not approximate")
        if self.method in ("fourier", "harmonic", "nufft") and self._scalar() is None:
            raise ValueError(f"method={self.method!r} needs QᵀK = βI; use method='auto' or 'direct'")

    def _rows(self) -> list[Row]:
        return [row for row in Brief._rows(self) if row != ("value_scale", "1.0")]

    def resolve(self, n_tokens: int, dim: int, dtype: Any = "float64") -> SoftmaxAttention:
        """Return this attention with method and rtol chosen for tokens of a number, dimension and dtype.

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
        SoftmaxAttention
            With a method other than "auto", and with an rtol unless that is "direct". Itself where β or δ change over
            time: each value has choices of its own.

        Raises
        ------
        TypeError, ValueError
            If a size is no integer or too small, dtype is another, or the method does not serve this dimension or β.

        See Also
        --------
        chaosphere.GaussianField.resolve : The field with its method chosen.
        chaosphere.RandomAttention.resolve : The attention with its method chosen.
        chaosphere.SoftmaxAttention.plan : Plan of the attention.
        chaosphere.UnnormalizedAttention.resolve : Unnormalised attention with its method chosen.
        chaosphere.L2Attention.resolve : Attention by distances with its choices made.
        chaosphere.interactions.protocol.Interaction.resolve : An interaction with its choices made.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention(beta=4.0)
        >>> [attention.resolve(n, 3).method for n in (100, 100_000)]
        ['direct', 'harmonic']
        """
        n_tokens, dim = checks.integer(n_tokens, "n_tokens", low=1), checks.integer(dim, "dim", low=2)
        dtype = checks.float_type(dtype, "dtype")
        if self._scheduled():
            return self
        if self._is_hard:
            return replace(self, method="direct")
        method, rtol = self._choice(Shape(n_replicas=1, n_tokens=n_tokens, dim=dim, dtype=dtype))
        return replace(self, method=method, rtol=rtol)

    def _choice(self, shape: Shape) -> tuple[str, float | None]:
        """Return the method and the rtol for numbers β and δ."""
        beta, rtol = self._scalar(), self.rtol
        if rtol is None and beta is not None:
            rtol = min((1e-12 if shape.dtype == np.float64 else 1e-7) * (1 + abs(beta) / 8), 0.1)
        method, decay = self.method, None if self.mask is None else self.decay
        if method == "auto":
            several: Any = {"beta": beta, "rtol": rtol, "decay": decay, "may_be_nufft": self.rtol is not None}
            method = methods.fastest(shape.n_tokens, shape.dim, dtype=shape.dtype, **several)
        if method == "direct":
            return method, None
        beta, rtol = cast(float, beta), cast(float, rtol)
        methods.check_method(method, shape.n_tokens, dim=shape.dim, beta=beta, rtol=rtol, decay=decay)
        return method, rtol

    def plan(self, shape: Shape, weights: Floats | None = None) -> InteractionPlan:
        """Return the plan for tokens of one shape, as `Transformer` uses it.

        Parameters
        ----------
        shape : Shape
            Replicas, tokens, dimension and dtype.
        weights : ndarray of float64, shape (n_sources,) or (K, n), optional
            Of the source tokens, which come first; >= 0 with sum 1. None: 1/N for every token. Where `is_ordered`, also
            of K layers of n nodes, each with the sum 1, at the places (k − ½)/K of infinitely many tokens in order.

        Returns
        -------
        InteractionPlan
            Its `drift` is attention, without checks of the tokens.

        Raises
        ------
        ValueError
            If the method does not serve this shape, an entry is too large for its dtype, or, with a mask, some tokens
            have no weight or the first has the weight 0.

        See Also
        --------
        chaosphere.SoftmaxAttention.resolve : The attention with its method chosen.
        chaosphere.UnnormalizedAttention.plan : Plan of unnormalised attention.
        chaosphere.L2Attention.plan : Plan of attention by distances.
        chaosphere.interactions.protocol.Interaction.plan : Plan of any interaction.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> x = cs.sample_uniform(10, 3, rng=0, n_replicas=2)
        >>> attention = cs.SoftmaxAttention(beta=2.0)
        >>> plan = attention.plan(Shape.of(x))
        >>> bool((plan.drift(x, n_threads=1) == attention(x)).all())
        True
        """
        if names := self._scheduled():
            return self._scheduled_plan(names, shape, weights=weights)
        return self._constant_plan(shape, weights)

    def _scheduled_plan(self, names: tuple[str, ...], shape: Shape, *, weights: Floats | None) -> InteractionPlan:
        """Return the plan for β and δ that change: a plan for each of their values, or a cheap change of one plan."""
        if self._is_hard:
            return self._planned(lambda attention: attention._constant_plan(shape, weights))
        start = self._with(dict.fromkeys(names, 1.0))
        example = start._constant_plan(shape, weights)
        is_direct = start.resolve(shape.n_tokens, shape.dim, shape.dtype).method == "direct"
        if "beta" in names and self.method == "auto":  # direct whatever β is
            is_direct = direct_nanoseconds(shape.n_tokens, shape.dim, shape.dtype) < series.MIN_NANOSECONDS
        direct = start._direct(shape, weights, beta=start._beta) if is_direct and self.mask is None else None
        direct = None if direct is None or direct.head is not None else direct
        largest = {"beta": largest_norm(shape.dtype), "value_scale": largest_value(shape.dtype)}

        def make(settings: Settings) -> InteractionPlan:
            values = dict(settings)
            if (
                direct is not None
                and values.get("beta", 0.0) >= 0
                and all(abs(value) <= largest[name] for name, value in settings)
            ):
                return direct.changed(**values)
            return self._with(values)._constant_plan(shape, weights)

        return ScheduledPlan(self._settings_at, make, example=example)

    def _constant_plan(self, shape: Shape, weights: Floats | None) -> InteractionPlan:
        """Return the plan for numbers β and δ."""
        if weights is not None and weights.ndim == 2:
            return layered.plan(replace(self, mask=None, decay=0.0), shape, weights, decay=self.decay)
        if self._is_hard:
            return self._hardmax(shape, weights)
        self._check_shape(shape)
        method, rtol = self._choice(shape)
        if method == "direct":
            return self._direct(shape, weights, beta=self._beta)
        beta, rtol = cast(float, self._scalar()), cast(float, rtol)
        value = self._value_matrix()
        value = np.diag(np.full(shape.dim, self._value_scale)) if value is None else value
        if self.mask is not None:
            return prefix.PrefixPlan(
                shape, weights, direct=self._causal(shape, weights, beta=beta), beta=beta, rtol=rtol, value=value
            )
        sums: Sums
        if method == "nufft":
            uniform = float(expansions.multipliers(beta, shape.dim)[0])
            sums = nufft.Transforms(beta=beta, dim=shape.dim, uniform=uniform, rtol=rtol, value=value)
        else:
            n_max = expansions.degree(beta, shape.dim, rtol)
            sums = series.Series(beta=beta, n_max=n_max, value=value)
        direct = self._direct(shape, weights, beta=beta)
        return FastSumsPlan(shape, weights, sums=sums, direct=direct, size=abs(beta), rtol=rtol)

    def _hardmax(self, shape: Shape, weights: Floats | None) -> HardmaxPlan:
        self._check_shape(shape)
        value_scale = 1.0 if self._value_scale is None else self._value_scale
        several: dict[str, Any] = {"value": self._value_matrix(), "value_scale": value_scale, "mask": self.mask}
        return HardmaxPlan(shape, weights, query=self.query, key=self.key, decay=self.decay, **several)

    def _direct(self, shape: Shape, weights: Floats | None, *, beta: float | None) -> DirectPlan:
        """Return the sum over all pairs for tokens of one shape, or over those that the mask leaves."""
        if self.mask is not None:
            return self._causal(shape, weights, beta=beta)
        return DirectPlan(shape, weights, **self._matrices(shape, beta=beta))

    def _causal(self, shape: Shape, weights: Floats | None, *, beta: float | None) -> causal.CausalPlan:
        return causal.CausalPlan(shape, weights, decay=self.decay, **self._matrices(shape, beta=beta))

    def __call__(
        self, x: Tokens, weights: Any = None, *, sources: Tokens | None = None, n_threads: int | None = None
    ) -> Tokens:
        """Return Attn(μ_x, x_i) for every token, or Attn(μ_z, x_i) for the sources z.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems. Any layout, never copied whole.
        weights : array_like, shape (N,) or (M,), optional
            p_i >= 0 with sum 1 (default uniform), of the tokens that are summed over.
        sources : ndarray of the dtype of x, shape (M, d) or (R, M, d), optional
            Tokens z whose keys and values the queries of x attend to (default: x itself). By the direct sum.
        n_threads : int, optional
            Default: all that OpenMP may use. Does not change a bit of the result.

        Returns
        -------
        ndarray
            Of the shape and dtype of x.

        Raises
        ------
        TypeError, ValueError
            As `evaluate`.

        See Also
        --------
        chaosphere.SoftmaxAttention.evaluate : Attention with its partition sums and energy.
        chaosphere.MultiHeadAttention.__call__ : Drift of several heads.
        chaosphere.CustomInteraction.__call__ : Drift by a function.
        chaosphere.UnnormalizedAttention.__call__ : Unnormalised attention at every token.
        chaosphere.L2Attention.__call__ : Attention by distances.

        Examples
        --------
        Attention between two orthogonal tokens weighs a token itself e^β times as much as the other:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention(beta=np.log(3))
        >>> attention(np.array([[1.0, 0.0], [0.0, 1.0]])).round(12)
        array([[0.75, 0.25],
               [0.25, 0.75]])

        Cross-attention, of one token to a thousand others:

        >>> x, z = cs.sample_uniform(1, 3, rng=0), cs.sample_uniform(1000, 3, rng=1)
        >>> attention(x, sources=z).shape
        (1, 3)
        """
        attended, _ = self._attend(x, weights, sources=sources, n_threads=n_threads)
        mean = attended.mean
        return mean if x.ndim == 3 else mean[0]

    def evaluate(
        self, x: Tokens, weights: Any = None, *, sources: Tokens | None = None, n_threads: int | None = None
    ) -> AttentionResult:
        """Return attention with its partition sums and, for QᵀK = βI, the energy E_β.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            As in `__call__`.
        weights : array_like, shape (N,) or (M,), optional
            As in `__call__`.
        sources : ndarray of the dtype of x, shape (M, d) or (R, M, d), optional
            As in `__call__`.
        n_threads : int, optional
            As in `__call__`.

        Returns
        -------
        AttentionResult
            Attention, log partition sums and energy.

        Raises
        ------
        TypeError, ValueError
            If an argument breaks a rule above, the method is neither "auto" nor "direct" with sources, there is a mask
            with sources, the first weight is 0 with a mask, β is ∞, or β is so large that the rounding of x alone would
            change the weights by a hundredth.

        See Also
        --------
        chaosphere.SoftmaxAttention.__call__ : Attention at every token.
        chaosphere.AttentionResult : Attention with its partition sums and energy.
        chaosphere.measures.energy : Interaction energy of tokens.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(500, 3, rng=0)
        >>> attention = cs.SoftmaxAttention(beta=2.0)
        >>> result = attention.evaluate(x)
        >>> bool(np.array_equal(result.value, attention(x))), result.log_partition.shape
        (True, (500,))
        """
        self._need_finite("partition sums")
        attended, p = self._attend(x, weights, sources=sources, n_threads=n_threads)
        log_z = attended.log_partition()
        energy = None if sources is not None else self._energy(attended, p)
        if x.ndim == 3:
            return AttentionResult(value=attended.mean, log_partition=log_z, energy=energy, n_direct=attended.n_direct)
        return AttentionResult(
            value=attended.mean[0],
            log_partition=log_z[0],
            energy=None if energy is None else float(energy[0]),
            n_direct=int(attended.n_direct[0]),
        )

    def energy(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> PerReplica:
        """Return the energy E_β = ½ Σ_ij p_i p_j (e^β − e^{β⟨x_i, x_j⟩}), zero exactly at consensus; <= 0 for β < 0.

        Attention is a gradient flow of it, with the partition sums Z as weights: along the flow the energy changes by
        −βδ Σ_i p_i Z(x_i) |P m(x_i)|² per unit of time, with m the attention for δ = 1 and P the projection onto the
        tangent space at x_i.

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
            The energy of each system, with the accuracy of `measures.energy`; None unless QᵀK = βI and V = δI, in
            whatever form they are given, and with a mask: other attention is no gradient flow.

        Raises
        ------
        TypeError, ValueError
            If x is not made of tokens on the unit sphere, the weights are out of range, β > 700 or β < −350.

        See Also
        --------
        chaosphere.UnnormalizedAttention.energy : Energy of unnormalised attention.
        chaosphere.L2Attention.energy : Energy of attention by distances.
        chaosphere.SoftmaxAttention.energy_growth : Rate at which attention alone can raise the energy.
        chaosphere.measures.energy : Interaction energy of tokens.

        Examples
        --------
        Attraction lowers it, repulsion raises it:

        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(50, 3, rng=0)
        >>> for value_scale in (1.0, -1.0):
        ...     attention = cs.SoftmaxAttention(beta=2.0, value_scale=value_scale)
        ...     model = cs.Transformer(attention=attention, mlp=None, depth=10, horizon=1.0)
        ...     print(attention.energy(cs.simulate(model, x, rng=0).final) > attention.energy(x))
        False
        True
        """
        batch, threads = checks.tokens(x), checks.threads(n_threads)
        p, beta = checks.weights(weights, batch.shape[1]), self._scalar()
        if beta is None or self._scalar_value() is None or self.mask is not None:
            return None
        return of_replicas(energies.exponential(batch, p, beta=beta, n_threads=threads), x)

    def energy_growth(self, beta: float, *, dim: int | None = None) -> EnergyGrowth:
        """Return the least ε with dE_β/dt <= ε E_β for every measure, under attention alone.

        E_β(μ) = ½ ∬ (e^β − e^{β⟨x, y⟩}) dμ dμ is the energy of the synchronization theorem. Under noise as well, the
        mean energy grows at most at the rate ε + λ̄′(β), with λ̄′ from `CovarianceKernel.dissipation_rate`
        (arXiv:2604.26898).

        Parameters
        ----------
        beta : float
            β >= 0 of the energy; 0 is the limit, the energy ¼ ∬ |x − y|².
        dim : int, optional
            d >= 2, where no matrix has it. Default: any.

        Returns
        -------
        EnergyGrowth
            For QᵀK = βI with the β of the energy and V = δI, in whatever form they are given: 0 for δ >= 0, and 2|δ|
            for δ < 0, exact in every dimension and for any weights of the tokens. Otherwise a lower estimate, which
            `is_bound` tells: the largest growth that is found for 2, 3 and 4 weighted tokens.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range, dim is another than that of the matrices, there is a mask, β is ∞, or β or δ
            change over a run: `at` gives the attention at a time.

        See Also
        --------
        chaosphere.SoftmaxAttention.energy : Energy of tokens.
        chaosphere.UnnormalizedAttention.energy_growth : The same of unnormalised attention.
        chaosphere.L2Attention.energy_growth : The same of attention by distances.
        chaosphere.MultiHeadAttention.energy_growth : The same of several heads.
        chaosphere.CovarianceKernel.dissipation_rate : Rate of the bound on the expected energy.
        chaosphere.CovarianceKernel.best_beta : The β of the best bound for noise alone.
        chaosphere.interactions.growth.EnergyGrowth : The answer.

        Notes
        -----
        The estimate takes about half a second. It depends on the arguments alone.

        Examples
        --------
        Repulsion can raise the energy at the rate 2|δ|:

        >>> import chaosphere as cs
        >>> cs.SoftmaxAttention(beta=2.0, value_scale=-0.3).energy_growth(2.0).growth
        0.6

        Attraction lowers the energy of its own β, and may raise that of another:

        >>> attention = cs.SoftmaxAttention(beta=4.0)
        >>> attention.energy_growth(4.0).growth, attention.energy_growth(1.0).growth > 0
        (0.0, True)
        """
        beta = checks.number(beta, "beta", low=0)
        causal.need_no_mask(self, "the growth of the energy")
        self._need_finite("the growth of the energy")
        own_dim = next((m.shape[1] for m in (self.query, self.value) if m is not None), None)
        if dim is not None:
            dim = checks.integer(dim, "dim", low=2)
            if own_dim not in (None, dim):
                raise ValueError(f"dim must be {own_dim}, that of the matrices, got {dim}")
        own_beta, value_scale = self._scalar(), self._scalar_value()
        if own_beta is not None and value_scale is not None:
            if value_scale == 0 or math.isclose(own_beta, beta, rel_tol=1e-12):
                return growth.of_repulsion(value_scale)
            # Tokens stay in the space that they span.
            own_dim = min(own_dim or dim or growth.MAX_TOKENS, growth.MAX_TOKENS)
        identity = np.eye(own_dim or dim or growth.MAX_TOKENS)
        form = self._form() if own_beta is None else own_beta * identity
        value = self._value_matrix() if value_scale is None else value_scale * identity
        assert value is not None
        return growth.estimate(form, value, beta=beta)

    @property
    def consensus_rate(self) -> float | None:
        """Rate at which the distance of two tokens of a cluster falls by attention alone, δ; None unless V = δI.

        Where δ changes over a run it is None: `at` gives the attention at a time.
        With a mask it is None, too: the k-th token of a cluster nears the first at a rate of its own, (1 − 1/k) δ.
        With β = ∞ it is 0, since each token attends to itself alone, and None for general Q and K.

        See Also
        --------
        chaosphere.UnnormalizedAttention.consensus_rate : Rate of unnormalised attention.
        chaosphere.L2Attention.consensus_rate : Rate of attention by distances.
        chaosphere.MultiHeadAttention.consensus_rate : Rate of several heads.
        chaosphere.CovarianceKernel.critical_noise_scale : Strength of noise that balances attention.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.SoftmaxAttention(beta=2.0, value_scale=0.5).consensus_rate
        0.5
        """
        if self._is_hard:
            return 0.0 if self.query is None and self._scalar_value() is not None else None
        return self.value_scale if self.mask is None and schedules.is_constant(self.value_scale) else None

    @property
    def is_ordered(self) -> bool:
        """Whether the drift depends on the order of the tokens: with a mask it does.

        See Also
        --------
        chaosphere.UnnormalizedAttention.is_ordered : Whether unnormalised attention has a mask.
        chaosphere.MultiHeadAttention.is_ordered : Whether a head has a mask.
        chaosphere.Transformer.is_ordered : Whether the attention of a network has a mask.
        chaosphere.LimitSDE.is_ordered : Whether the attention of the equation has a mask.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.SoftmaxAttention(mask="causal").is_ordered
        True
        """
        return self.mask is not None

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
            If n_modes is no integer in this range, with a mask, or unless QᵀK = βI and V = δI, given as beta and
            value_scale.

        See Also
        --------
        chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.
        chaosphere.UnnormalizedAttention.circle_drift : The same of unnormalised attention.
        chaosphere.L2Attention.circle_drift : The same of attention by distances.
        chaosphere.MultiHeadAttention.circle_drift : The same of several heads.
        chaosphere.SoftmaxAttention.linear_response : Response to a small harmonic.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> drift = cs.SoftmaxAttention(beta=0.0).circle_drift(4)
        >>> modes = np.array([[1.0, 0.25, 0.0, 0.0, 0.0]])  # of the density 1 + cos(θ)/2
        >>> drift(modes, 4).round(3) + 0.0  # to the mean, which is at θ = 0
        array([[ 0.  , -0.25,  0.  ,  0.25]])
        """
        n_modes = checks.integer(n_modes, "n_modes", low=1, high=MAX_MODES)
        beta, value_scale = self._numbers("circle_drift", what="the drift of a density")
        return SoftmaxDrift(beta=beta, value_scale=value_scale, n_modes=n_modes)

    def axisymmetric_drift(self, cosines: ArrayLike, dim: int) -> AxisymmetricDrift:
        """Return the tangential drift of a measure that is symmetric about an axis, as a function of its masses.

        It is the gradient of a function Φ of the cosine u with the axis, here (δ/β) log ∫ e^{β⟨x, y⟩} dμ(y).

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
            If an argument is out of range, with a mask, or unless QᵀK = βI and V = δI, given as beta and
            value_scale.

        See Also
        --------
        chaosphere.phases.branch : Stationary states at all temperatures.
        chaosphere.AxisymmetricDensity : The mean-field limit of densities that are symmetric about an axis.
        chaosphere.UnnormalizedAttention.axisymmetric_drift : The same of unnormalised attention.
        chaosphere.SinkhornAttention.axisymmetric_drift : The same of doubly stochastic attention.
        chaosphere.PotentialInteraction.axisymmetric_drift : The same of the drift along a potential.
        chaosphere.L2Attention.axisymmetric_drift : The same of attention by distances.
        chaosphere.MultiHeadAttention.axisymmetric_drift : The same of several heads.

        Examples
        --------
        With β = 0 the drift is to the mean, here of half of the mass at the pole and half at the equator:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> drift = cs.SoftmaxAttention(beta=0.0).axisymmetric_drift([0.0, 1.0], 3)
        >>> drift.slope(np.array([0.5, 0.5])).round(3)
        array([0.5, 0.5])
        """
        u, dim = axisymmetric.nodes(cosines, dim)
        beta, value_scale = self._numbers("axisymmetric_drift", what="the drift of a density")
        checks.number(beta, "beta of an axisymmetric drift", low=0)
        return SoftmaxAxisymmetric(ExponentialKernel(u, beta=beta, dim=dim), value_scale=value_scale)

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
            If n_modes is no integer in this range, with a mask, or unless QᵀK = βI and V = δI, given as beta and
            value_scale.

        See Also
        --------
        chaosphere.SphereDensity : The mean-field limit on S², solved for its density.
        chaosphere.UnnormalizedAttention.sphere_drift : The same of unnormalised attention.
        chaosphere.SinkhornAttention.sphere_drift : The same of doubly stochastic attention.
        chaosphere.PotentialInteraction.sphere_drift : The same of the drift along a potential.
        chaosphere.L2Attention.sphere_drift : The same of attention by distances.
        chaosphere.MultiHeadAttention.sphere_drift : The same of several heads.

        Examples
        --------
        A mean of unit vectors is no longer than 1:

        >>> import chaosphere as cs
        >>> cs.SoftmaxAttention(beta=2.0, value_scale=-0.5).sphere_drift(16).max_speed
        0.5
        """
        beta, value_scale = self._numbers("sphere_drift", what="the drift of a density")
        return SoftmaxSphere(ExponentialFactors(beta=beta, n_modes=n_modes), value_scale=value_scale)

    def linear_response(self, degree: int, dim: int) -> float:
        """Return how attention responds to a small harmonic Y of one degree: its tangential part is c ε ∇Y + O(ε²).

        It is that of the density 1 + εY with respect to the uniform law, with c = (δ/β) I_{l+ν}(β)/I_ν(β), ν = d/2 − 1.

        Parameters
        ----------
        degree : int
            l, in [1, 100 000].
        dim : int
            d, in [2, 100 000].

        Returns
        -------
        float
            The factor c.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range, β > 1e8, with a mask, or unless QᵀK = βI and V = δI, given as beta and
            value_scale.

        See Also
        --------
        chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.
        chaosphere.UnnormalizedAttention.linear_response : The same of unnormalised attention.
        chaosphere.L2Attention.linear_response : The same of attention by distances.
        chaosphere.MultiHeadAttention.linear_response : The same of several heads.
        chaosphere.SoftmaxAttention.circle_drift : Drift of densities on the circle.

        Examples
        --------
        With β = 0 attention is the mean of all tokens, here of the density 1 + ε x_1 on the sphere:

        >>> import chaosphere as cs
        >>> round(cs.SoftmaxAttention(beta=0.0).linear_response(1, 3), 6)
        0.333333
        """
        beta, value_scale = self._numbers("linear_response", what="the linear response")
        return value_scale * linear.relative_response(degree, dim=dim, beta=beta)

    def _attend(
        self, x: Tokens, weights: Any, *, sources: Tokens | None, n_threads: int | None
    ) -> tuple[Attended, Floats | None]:
        """Check the arguments, and return what a plan gives for them, with the weights."""
        batch = checks.tokens(x)
        threads = checks.threads(n_threads)
        if sources is None:
            p = checks.weights(weights, batch.shape[1])
            if self._is_hard:
                return self._hardmax(Shape.of(batch), p).attend(batch, n_threads=threads), p
            return attending(self, Shape.of(batch), p).attend(batch, n_threads=threads), p
        causal.need_no_mask(self, "attention to sources")
        keys = checks.sources(sources, x)
        p = checks.weights(weights, keys.shape[1])
        if self.method not in ("auto", "direct"):
            raise ValueError(f"method must be 'auto' or 'direct' for attention to sources, got {self.method!r}")
        shape = Shape.of(keys)
        if self._is_hard:
            return self._hardmax(shape, p).attend_to(batch, keys, n_threads=threads), p
        self._check_shape(shape)
        return self._direct(shape, p, beta=self._beta).attend_to(batch, keys, n_threads=threads), p

    def _numbers(self, method: str, *, what: str) -> tuple[float, float]:
        """Return β and δ; ValueError with a mask or with general matrices."""
        causal.need_no_mask(self, what)
        self._need_finite(what)
        if self._beta is None or self._value_scale is None:
            raise ValueError(f"{method} needs attention with QᵀK = βI and V = δI, got general matrices")
        return self._beta, self._value_scale

    def _energy(self, attended: Attended, p: Floats | None) -> Floats | None:
        if self._beta is None or not 0 <= self._beta <= energies.MAX_BETA or self.mask is not None:
            return None
        missing = 1 - attended.over(self._beta)
        total = missing.mean(axis=1) if p is None else (p * missing).sum(axis=1)
        return np.asarray(0.5 * math.exp(self._beta) * np.maximum(total, 0))


def attending(attention: SoftmaxAttention, shape: Shape, weights: Floats | None = None) -> DirectPlan | FastSumsPlan:
    """Return the plan for one measure, which gives partition sums, too; ValueError if β or δ change over time."""
    schedules.constant(attention.beta, "beta")
    schedules.constant(attention.value_scale, "value_scale")
    plan = plan_of_call(attention, shape, weights, make=lambda: attention.plan(shape, weights))
    return cast(DirectPlan | FastSumsPlan, plan)
