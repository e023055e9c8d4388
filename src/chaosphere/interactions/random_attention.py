"""Attention whose heads are drawn anew for every layer: common noise that depends on the measure of the tokens.

About half of this file is docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chaosphere.common import checks, messages, schedules
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.pullback import Pullback
from chaosphere.common.reprs import Brief
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Draws, Stream
from chaosphere.interactions import random_pair
from chaosphere.interactions.attended import relative_weights
from chaosphere.interactions.direct import DirectPlan
from chaosphere.interactions.few_tokens import has_few_keys
from chaosphere.interactions.head import LOG2_E
from chaosphere.interactions.protocol import InteractionPlan, Partition
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.kernels.replica_rows import attend_replica_rows
from chaosphere.kernels.rows import attend_rows
from chaosphere.noise.pair_noise import PairNoise
from chaosphere.noise.protocol import Increment, NoisePlan

_MAX_STD = 1e6  # of the entries of Q and K


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RandomAttention(Brief):
    """Softmax attention with random heads: fresh V, and fresh Q and K or a fixed β, in every layer.

    G(μ, x) = H^{-1/2} Σ_h V_h Σ_j p_j e^{⟨Q_h x, K_h x_j⟩} x_j / Σ_j p_j e^{⟨Q_h x, K_h x_j⟩}

    All weights are i.i.d. Gaussian, independent from layer to layer and shared by all tokens. Their mean is zero, so
    that the layers are noise: `Transformer(attention=...)` takes the step √(T/L) G instead of (T/L) Attn. With fixed
    QᵀK = βI the limit of many layers is

        dX = P_X dB m(μ, X) − ½ σ² (d − 1) |m|² X dt   (Itô),

    where m is the attention of V = I and B a d × d matrix of Brownian motions times σ. `LimitSDE(field=...)` takes its
    steps. With random Q and K the limit is Gaussian noise with the covariance σ² E_{Q,K}⟨m(x), m(y)⟩ I; `LimitSDE`
    draws heads for every step, whose noise has that covariance.

    Parameters
    ----------
    n_heads : int
        Number H of heads of a layer. With β they share their coefficients, and are one head in law.
    beta : float, optional
        QᵀK = βI with β >= 0, in every layer; V alone is drawn.
    head_dim : int, optional
        Instead of beta: rows k of Q and K, (k, d) with i.i.d. entries.
    query_key_std : float, optional
        Their standard deviation, with head_dim; in [0, 1e6]. For k^{-1/4} the entries of QᵀK have variance 1.
    value_std : float
        Standard deviation σ >= 0 of the entries of V, (d, d).
    method : str
        As of `SoftmaxAttention` with beta; "auto" or "direct" with head_dim.
    rtol : float, optional
        As of `SoftmaxAttention` with beta; None with head_dim.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or not one of beta and head_dim is given.

    See Also
    --------
    chaosphere.SoftmaxAttention : Softmax attention.
    chaosphere.GaussianField : Gaussian noise with a given covariance.
    chaosphere.noise.protocol.CommonNoise : What a common noise offers.
    chaosphere.theory.low_temperature_kernel : Covariance of random heads at low temperature.

    Notes
    -----
    A layer costs what attention costs, with β once for all heads, with random Q and K once for each head and each
    replica of independent noise. Weights are a function of the seed and the layer: the same for any number of tokens,
    so that systems of different sizes and `MeanField` share them, and `coarsen` sums those of finer layers.

    References
    ----------
    Random value matrices: Fedorov, 2026. Random heads: Koubbi, 2026.

    Examples
    --------
    Tokens under random values alone end in one point or in two opposite ones:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> noise = cs.RandomAttention(beta=1.0)
    >>> model = cs.Transformer(attention=noise, mlp=None, depth=2000, horizon=20.0)
    >>> end = cs.simulate(model, cs.sample_uniform(20, 3, rng=0), rng=0).final
    >>> bool(np.all(abs(end @ end[0]) > 0.999))
    True
    """

    n_heads: int = 1
    beta: float | None = None
    head_dim: int | None = None
    query_key_std: float | None = None
    value_std: float = 1.0
    method: str = "auto"
    rtol: float | None = None

    def __post_init__(self) -> None:
        """Check, and convert numbers to int and float."""
        checks.integers(self, "n_heads", low=1)
        checks.numbers(self, "value_std", low=0, high=checks.MAX_SIZE)
        if (self.beta is None) == (self.head_dim is None):
            raise ValueError("one of beta and head_dim must be given")
        if self.head_dim is None:
            if not schedules.is_constant(schedules.schedule(self.beta, "beta", low=0)):
                raise ValueError(
                    f"beta must be a number, got {messages.shown(self.beta)}: the layers of random attention are "
                    "draws of one law"
                )
            checks.numbers(self, "beta", low=0)
            if self.query_key_std is not None:
                raise ValueError("query_key_std must be None with beta: Q and K are not drawn")
            inner = self._attention()
            object.__setattr__(self, "beta", inner.beta)
            object.__setattr__(self, "rtol", inner.rtol)
            return
        checks.integers(self, "head_dim", low=1)
        if self.query_key_std is None:
            raise ValueError("query_key_std must be given with head_dim")
        checks.numbers(self, "query_key_std", low=0, high=_MAX_STD)
        if self.method not in ("auto", "direct") or self.rtol is not None:
            raise ValueError("method must be 'auto' or 'direct', and rtol None, with head_dim: sums are over pairs")

    def _attention(self) -> SoftmaxAttention:
        return SoftmaxAttention(beta=self.beta, method=self.method, rtol=self.rtol)

    @property
    def is_ito(self) -> bool:
        """Whether the noise depends on the measure of the tokens: it does.

        See Also
        --------
        chaosphere.GaussianField.is_ito : That of a field: it does not.
        chaosphere.noise.protocol.CommonNoise.is_ito : That of any noise.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.RandomAttention(beta=1.0).is_ito
        True
        """
        return True

    def pair(self, dim: int, *, weight: float = 0.5) -> PairNoise:
        """Return the diffusion of the cosine of two tokens, for `two_point`; the two are all tokens there are.

        With fixed β and t = tanh(β(1−u)/2) its generator has, for equal weights,

            a = ½σ²(1−u²)²(1+t²),  b = ½σ²(1−u²)[(d−2)(1−t²) − u(1+t²)];

        with random Q and K the coefficients are expectations over them. The noise of one layer is not Gaussian then:
        this is the limit of many layers.

        Two clusters of n₁ and n₂ tokens are two tokens of the weights p = n₁/N and 1 − p. Opposite ones stay opposite
        for p = ½ alone: their attention means have the lengths t₁ and t₂ = (pe^β − (1−p)e^{−β})/(pe^β + (1−p)e^{−β})
        with p and with 1 − p, and 1 + u leaves 0 with the drift ½σ²(d−1)(t₁ − t₂)².

        Parameters
        ----------
        dim : int
            d, in [2, 100 000].
        weight : float
            Weight p of the first token, in (0, 1); ½ with random Q and K.

        Returns
        -------
        PairNoise
            For two tokens of the weights p and 1 − p.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range, σ = 0, or scores are so large that quadrature does not resolve the
            coefficients.

        See Also
        --------
        chaosphere.two_point.PairNoise : A common noise as two tokens see it.
        chaosphere.two_point.mean_hitting_time : Mean time until the cosine of two tokens reaches a value.

        Examples
        --------
        For d = 4 and β = 2 opposite points attract too; the probabilities to end in either, from orthogonal tokens:

        >>> import chaosphere as cs
        >>> noise = cs.RandomAttention(beta=2.0).pair(4)
        >>> plus, minus = cs.two_point.hitting_probabilities(noise, 0.0)
        >>> round(float(minus), 6)
        0.247443
        """
        variance = self.value_std**2
        if not variance > 0:
            raise ValueError("value_std must be > 0, with a square that is, for a pair: without noise there is no law")
        weight = checks.number(weight, "weight", above=0)
        if not weight < 1:
            raise ValueError(f"weight must be < 1, got {weight:g}")
        if self.beta is not None:
            return random_pair.of_values(dim, beta=self.beta, variance=variance, weight=weight)
        if weight != 0.5:
            raise ValueError(f"weight must be 0.5 with random Q and K, got {weight:g}")
        assert self.head_dim is not None
        assert self.query_key_std is not None
        return random_pair.of_heads(dim, head_dim=self.head_dim, std=self.query_key_std, variance=variance)

    def resolve(self, n_tokens: int, dim: int, dtype: Any = "float64") -> RandomAttention:
        """Return the attention with its method chosen.

        Parameters
        ----------
        n_tokens : int
            N.
        dim : int
            d.
        dtype : dtype
            float64 or float32.

        Returns
        -------
        RandomAttention
            Itself where there is nothing to choose.

        See Also
        --------
        chaosphere.SoftmaxAttention.resolve : The attention with its method chosen.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.RandomAttention(beta=1.0).resolve(100_000, 2).method
        'fourier'
        """
        if self.beta is None:
            return replace(self, method="direct")
        inner = self._attention().resolve(n_tokens, dim, dtype)
        return replace(self, method=inner.method, rtol=inner.rtol)

    def noise_plan(self, shape: Shape, weights: Floats | None = None) -> RandomAttentionPlan:
        """Return the plan for tokens of one shape, as `Transformer` and `LimitSDE` use it.

        Parameters
        ----------
        shape : Shape
            Replicas, tokens, dimension and dtype.
        weights : ndarray of float64, shape (n_sources,), optional
            Of the source tokens, which come first; >= 0 with sum 1. None: 1/N for every token.

        Returns
        -------
        RandomAttentionPlan
            Draws the heads of a step.

        Raises
        ------
        ValueError
            If the method does not serve this shape.

        See Also
        --------
        chaosphere.GaussianField.noise_plan : Plan of a field.
        chaosphere.noise.protocol.CommonNoise.noise_plan : Plan of any noise.

        Examples
        --------
        A layer of two heads for a hundred tokens draws two matrices V, Q and K:

        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> noise = cs.RandomAttention(n_heads=2, head_dim=2, query_key_std=1.0)
        >>> plan = noise.noise_plan(Shape(n_tokens=100, dim=3))
        >>> plan.n_normals(1) == 2 * (3 * 3 + 2 * 2 * 3)
        True
        """
        return RandomAttentionPlan(self, shape, weights)


class RandomAttentionPlan(NoisePlan):
    """Random heads for tokens of one shape.

    Parameters
    ----------
    attention : RandomAttention
    shape : Shape
    weights : ndarray of float64, shape (n_sources,), optional
    """

    stream = Stream.HEADS
    is_local = True

    def __init__(self, attention: RandomAttention, shape: Shape, weights: Floats | None) -> None:
        self.noise = attention.resolve(shape.n_tokens, shape.dim, shape.dtype)
        self.shape = shape
        self.mean: InteractionPlan | None = None
        if attention.beta is not None:
            self.mean = SoftmaxAttention(beta=attention.beta, method=attention.method, rtol=attention.rtol).plan(
                shape, weights
            )
            self.pairs = self.mean.pairs
        else:
            n_sources = shape.n_tokens if weights is None else np.count_nonzero(weights)
            self.pairs = float(attention.n_heads) * shape.n_tokens * n_sources
        # Of random Q and K: tokens of weight 0 are not felt.
        self.sources = None if weights is None else np.flatnonzero(weights)
        self.relative = None if weights is None else relative_weights(weights[weights > 0], len(weights))[0]
        self.weights, self.n_sources = weights, shape.n_tokens if weights is None else len(weights)
        self.partition: Partition | None = None

    def n_normals(self, n_parts: int) -> int:
        """Return how many numbers a step holds at once; see `NoisePlan`."""
        one = sum(math.prod(shape) for shape in self._shapes)
        return one if self.mean is not None else n_parts * one

    @property
    def _shapes(self) -> list[tuple[int, ...]]:
        n_heads, dim, head_dim = self.noise.n_heads, self.shape.dim, self.noise.head_dim
        values = (n_heads, dim, dim)
        return [values] if head_dim is None else [values, (n_heads, head_dim, dim), (n_heads, head_dim, dim)]

    def increment(self, parts: Iterable[Draws], *, duration: float) -> Increment:
        """Return the noise over a time interval; see `NoisePlan`."""
        if self.mean is not None:
            total, count = np.zeros((self.shape.dim, self.shape.dim)), 0
            for draws in parts:
                total = total + draws.normals(*self._shapes)[0].sum(axis=1)
                count += 1
            scale = self.noise.value_std * math.sqrt(duration / (count * self.noise.n_heads))
            return _Values(self.mean, scale * total)
        drawn = [draws.normals(*self._shapes) for draws in parts]
        v, q, k = (np.concatenate(kind, axis=1) for kind in zip(*drawn, strict=True))
        scale = self.noise.value_std * math.sqrt(duration / v.shape[1])
        assert self.noise.query_key_std is not None
        return _Heads(self, v=scale * v, q=self.noise.query_key_std * q, k=self.noise.query_key_std * k)

    def check_levels(self) -> None:
        """Raise ValueError if Q and K are random; see `NoisePlan`."""
        # By Q and K the covariance of V m is random: the sum over twice the heads has other fourth cumulants.
        if self.mean is None:
            raise ValueError(
                "field must be a RandomAttention with beta=, got one with head_dim=: with random Q and K a step has "
                "another law than two steps of half its length together"
            )

    def distribute(self, partition: Partition) -> RandomAttentionPlan:
        """Return the plan for the tokens that this process owns; see `NoisePlan`."""
        mine = copy(self)
        if self.mean is not None:
            mine.mean = self.mean.distribute(partition)
        mine.partition = partition
        return mine


class _Values(Increment):
    """x ↦ V m(μ, x), with V of each replica."""

    def __init__(self, mean: InteractionPlan, values: Floats) -> None:
        self.mean, self.values = mean, values

    def __call__(self, x: Tokens, *, n_threads: int | None = None) -> Tokens:
        return self._valued(self.mean.drift(x, n_threads=checks.threads(n_threads)))

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int | None = None) -> Tokens:
        return self._valued(self.mean.jvp(x, tangent, n_threads=checks.threads(n_threads)))

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int | None = None) -> Pullback:
        back = np.einsum("ric,rck->rik", cotangent, self._values(x))
        inner = self.mean.vjp(x, back, n_threads=checks.threads(n_threads))
        return Pullback(tokens=inner.tokens, weights=inner.weights, parameters={"beta": inner.parameters["beta"]})

    def _valued(self, mean: Tokens) -> Tokens:
        # No BLAS: its sums may depend on the number of tokens and of threads.
        return np.asarray(np.einsum("rik,rck->ric", mean, self._values(mean)))

    def _values(self, x: Tokens) -> Tokens:
        return np.broadcast_to(self.values, (len(x), *self.values.shape[1:])).astype(x.dtype, order="C")


class _Heads(Increment):
    """x ↦ Σ_h V_h m_h(μ, x), with the heads of each replica."""

    def __init__(self, plan: RandomAttentionPlan, *, v: Floats, q: Floats, k: Floats) -> None:
        self.plan, self.v, self.q, self.k = plan, v, q, k
        self.forms = LOG2_E * np.einsum("rhki,rhkj->rhji", q, k)  # A with ⟨Qx, Ky⟩ = ⟨Ax, y⟩

    def __call__(self, x: Tokens, *, n_threads: int | None = None) -> Tokens:
        threads, plan = checks.threads(n_threads), self.plan
        keys = x if plan.partition is None else plan.partition.gather(x)
        keys = keys if plan.sources is None else keys[:, plan.sources]
        v, forms = self.v.astype(x.dtype), self.forms.astype(x.dtype)
        # Replicas that share the noise are one call.
        groups = [slice(0, len(x))] if len(v) == 1 else [slice(r, r + 1) for r in range(len(x))]
        total, is_of_few = np.zeros_like(x), has_few_keys(keys.shape[1], keys.shape[2])
        if is_of_few:
            x, keys = np.ascontiguousarray(x), np.ascontiguousarray(keys)
        for r, group in enumerate(groups):
            for value, form in zip(v[r], forms[r], strict=True):
                own, others = x[group], keys[group]
                if is_of_few:
                    mean, _, _ = attend_replica_rows(own, others, plan.relative, 1.0, threads, query=form, output=value)
                else:
                    mean, _, _ = attend_rows(own, others, form, value, plan.relative, 1.0, threads)
                total[group] += mean
        return total

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int | None = None) -> Tokens:
        total, threads = np.zeros_like(x), checks.threads(n_threads)
        for group, head in self._attentions(x):
            total[group] += head.jvp(x[group], tangent[group], n_threads=threads)
        return total

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int | None = None) -> Pullback:
        tokens, weights, threads = np.zeros_like(x), np.zeros((len(x), self.plan.n_sources)), checks.threads(n_threads)
        for group, head in self._attentions(x):
            back = head.vjp(x[group], cotangent[group], n_threads=threads)
            tokens[group] += back.tokens
            weights[group] += back.weights
        return Pullback(tokens=tokens, weights=weights)

    def _attentions(self, x: Tokens) -> Iterator[tuple[slice, InteractionPlan]]:
        """Yield replicas and the attention of a head that they share."""
        plan = self.plan
        for r in range(len(self.v)):
            group = slice(0, len(x)) if len(self.v) == 1 else slice(r, r + 1)
            shape = Shape.of(x[group])
            for q, k, v in zip(self.q[r], self.k[r], self.v[r], strict=True):
                # Not by SoftmaxAttention, which bounds the norm of QᵀK: here it is as large as it is drawn.
                matrices: dict[str, Any] = {"query": q, "key": k, "value": v}
                yield (
                    group,
                    DirectPlan(
                        shape, plan.weights, beta=None, form=k.T @ q, value=v, value_scale=1.0, parameters=matrices
                    ),
                )
