"""The discrete transformer: at initialisation, or with layers of your own.

More than half of this file is docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from chaosphere import kernels
from chaosphere.common import checks, messages, schedules
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.fields import added
from chaosphere.common.plans import check_vectors, name_of
from chaosphere.common.pullback import Pullback
from chaosphere.common.reprs import Brief
from chaosphere.common.schedules import Schedule
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Stream
from chaosphere.geometry import sphere
from chaosphere.interactions.per_layer import per_layer
from chaosphere.interactions.protocol import (
    Interaction,
    InteractionPlan,
    Partition,
    check_interaction,
    check_schedule,
    is_ordered_of,
    plan_of,
)
from chaosphere.models.normalization import NORMALIZATIONS, HalfLayer
from chaosphere.models.operations import Operations, Recorder, Velocity
from chaosphere.models.protocol import Cost, ModelPlan, StepContext, changes
from chaosphere.noise.fixed_mlp import FixedMLP, LayerSource, check_mlp, layer_sources
from chaosphere.noise.mlp import MLP, MLPLayer
from chaosphere.noise.protocol import CommonNoise, Increment, NoisePlan, increment_of, is_noise, noise_plan_of

_SCALES = {"low": 0.0, "high": checks.MAX_SIZE}
_MAX_EXPONENT = 10.0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Transformer(Brief):
    """Attention, random MLP and layer normalisation, L times.

    Y = LN(X + (T/L) Attn(μ_X, X)),  X ← LN(Y + s √(T/L) G_{ℓ+1}(Y)),  LN(v) = v/|v|   (arXiv:2604.26898, eq. 1.1)

    `normalization` says how each half of a layer normalises. With A the attention or the layer's noise at the unit
    tokens θ, and h its step, such as T/L or s √(T/L):

        "post" θ ← LN(θ + h A);  "pre" x ← x + h A;  "peri" x ← x + h A/|A|;  "ngpt" θ ← LN(θ + h A/|A|);
        "sqrt" θ ← LN(θ + h A/√(t+1)), with the time t in the middle of the layer.

    "pre" and "peri" give each token a radius r: x = r θ is what moves, and θ = LN(x) is what attention, noise and
    observables see.

    Parameters
    ----------
    attention : SoftmaxAttention, another interaction, RandomAttention, a sequence of interactions, or None
        None leaves the first half out. A sequence has one interaction for each layer. Random attention G, whose heads
        are drawn anew for every layer, is noise, as any other common noise: its step is Y = LN(X + √(T/L) G(μ_X, X)).
    mlp : MLP, FixedMLP, a sequence of these, or None
        None leaves the second half out. A sequence has one network for each layer. A `FixedMLP`, or an MLP that is not
        drawn anew, is no noise: its step is X ← LN(Y + s (T/L) G(Y)). MLPs that are not drawn anew are all the first
        draw of the seed, those of one width one network; for several, take a `FixedMLP` for each.
    depth : int
        Number L >= 1 of layers.
    horizon : float
        Time T > 0 that the L layers span.
    noise_scale : float, sequence of float, or callable
        s >= 0, of the MLP (1 in the paper): a number, one number for each layer, or a function of the time t. Layer ℓ =
        0, …, L − 1 takes the time in its middle, (ℓ + ½) T/L, for this and for parameters of the attention that are
        functions of t.
    n_fine_steps : int
        The network of a layer is the scaled sum of this many networks, if it is drawn anew; `coarsen` sets it.
    attention_exponent, mlp_exponent : float
        a >= 0 and b >= 0: the steps are T L^{−a} Attn and s √T L^{−b} G instead of (T/L) Attn and s √(T/L) G; of random
        attention √T L^{½−a} G, of networks that are not drawn anew s T L^{−b−½} G. For a = 1 and b = ½ both have a part
        in the limit of many layers. For b > ½ attention alone is left, for a > 1 the noise alone.
    normalization : {"post", "pre", "peri", "ngpt", "sqrt"}
        "post" is that of the paper, and of `LimitSDE`. The others are Pre-LN, Peri-LN, nGPT and LayerNorm scaling.
        nGPT has a step size α; here it is 1, and a run with α over the time T is one over the time αT. Under "peri" and
        "ngpt" only the direction of A matters. Noise then has unit length in each layer: its variance per unit of time,
        all coordinates together, is s² in place of s² d κ(1). Where A is zero it has no direction, and the run stops
        with an error: for `value_scale` 0, or with probability 2^{−m} at a token under relu without biases.
    initial_radius : float
        r > 0 of all tokens at time 0, for "pre" and "peri"; from 1e-30 to 1e30.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, at some layer if it changes, or there is neither attention nor MLP.

    See Also
    --------
    chaosphere.LimitSDE : The limit of deep and wide transformers.
    chaosphere.MeanField : The limit of infinitely many tokens, carried by nodes.
    chaosphere.SoftmaxAttention : Softmax attention.
    chaosphere.L2Attention : Attention by distances.
    chaosphere.MLP : Random layers of a network.
    chaosphere.FixedMLP : A network with matrices of your own.
    chaosphere.Transformer.from_layers : The layers of a model, one after the other.
    chaosphere.simulate : Run a model.
    chaosphere.coupled_run : Run a network and its limit under one noise.
    chaosphere.measures.RadiusMoment : Mean of a power of the radii.
    chaosphere.theory.equiangular : Cosine and radius of tokens that start with one cosine.

    Examples
    --------
    A hundred tokens on the sphere S³ through twenty layers of width 64:

    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=2.0)
    >>> mlp = cs.MLP(width=64)
    >>> model = cs.Transformer(attention=attention, mlp=mlp, depth=20, horizon=1.0)
    >>> x = cs.sample_uniform(100, 4, rng=0)
    >>> cs.simulate(model, x, rng=0).final.shape
    (100, 4)

    The same layers under Pre-LN, where tokens have radii:

    >>> model = cs.Transformer(
    ...     attention=attention, mlp=mlp, depth=20, horizon=1.0, normalization="pre"
    ... )
    >>> observe = {"mean radius": cs.measures.RadiusMoment(power=1)}
    >>> sol = cs.simulate(model, x, rng=0, observe=observe)
    >>> sol.observables["mean radius"][[0, -1]].round(2)
    array([1.  , 1.53])
    """

    attention: Interaction | CommonNoise | Sequence[Interaction] | None
    mlp: MLP | FixedMLP | Sequence[MLP | FixedMLP] | None
    depth: int
    horizon: float
    noise_scale: Schedule = 1.0
    n_fine_steps: int = 1
    attention_exponent: float = added(1.0)
    mlp_exponent: float = added(0.5)
    normalization: str = added("post")
    initial_radius: float = added(1.0)

    def __post_init__(self) -> None:
        """Check, and convert numbers to int and float."""
        object.__setattr__(self, "attention", per_layer(self.attention))
        if not is_noise(self.attention):
            check_interaction(self.attention, "attention")
        checks.integers(self, "depth", "n_fine_steps", low=1)
        object.__setattr__(self, "mlp", check_mlp(self.mlp, depth=self.depth))
        if self.attention is None and self.mlp is None:
            raise ValueError("attention and mlp must not both be None: nothing would move")
        checks.numbers(self, "attention_exponent", "mlp_exponent", low=0, high=_MAX_EXPONENT)
        checks.numbers(self, "horizon", above=0, high=checks.MAX_SIZE)
        checks.choice(self.normalization, "normalization", known=NORMALIZATIONS)
        checks.numbers(self, "initial_radius", low=1 / checks.MAX_STD, high=checks.MAX_STD)
        if self.initial_radius != 1 and not NORMALIZATIONS[self.normalization].has_radius:
            raise ValueError(
                f"initial_radius must be 1 for normalization={self.normalization!r}, which keeps tokens on the unit "
                f"sphere, got {self.initial_radius:g}"
            )
        object.__setattr__(self, "noise_scale", schedules.schedule(self.noise_scale, "noise_scale", **_SCALES))
        check_schedule(self.attention, n_steps=self.depth, horizon=self.horizon)
        self.noise_scales()

    @classmethod
    def from_layers(
        cls,
        layers: Sequence[tuple[Any, Any]],
        *,
        horizon: float | None = None,
        normalization: str = "post",
        initial_radius: float = 1.0,
    ) -> Transformer:
        """Return the network of some layers, one after the other, such as those of a trained model.

        Y = LN(X + h Attn_ℓ(μ_X, X)),  X ← LN(Y + h G_ℓ(Y)),  h = T/L

        Parameters
        ----------
        layers : sequence of pairs
            Attention and MLP of each of L >= 1 layers: an interaction and a `FixedMLP`, or an `MLP`. Either of them
            may be None, in all layers alike.
        horizon : float, optional
            T > 0. Default: L, so that h = 1 and layers are as they are. Of an `MLP` that is drawn anew the step is √h.
        normalization : {"post", "pre", "peri", "ngpt", "sqrt"}
            How each half of a layer normalises, see `Transformer`: the equation above is that of "post".
        initial_radius : float
            r > 0 of all tokens at time 0, for "pre" and "peri".

        Returns
        -------
        Transformer
            Of depth L.

        Raises
        ------
        TypeError, ValueError
            If there is no layer, one is no pair, attention or MLP are missing in some layers and not in others, or an
            argument is out of range.

        See Also
        --------
        chaosphere.Transformer : The network as a whole.
        chaosphere.FixedMLP : A network with matrices of your own.
        chaosphere.MultiHeadAttention : The heads of a layer.

        Examples
        --------
        Three layers of two heads of dimension 2 in R⁴, with matrices that might have been read from a file:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> rng = np.random.default_rng(0)
        >>> layers = []
        >>> for q, k, v, o in rng.standard_normal((3, 4, 2, 2, 4)) / 2:
        ...     heads = [
        ...         cs.SoftmaxAttention(query=q[h], key=k[h], value=v[h], output=o[h].T) for h in (0, 1)
        ...     ]
        ...     attention = cs.MultiHeadAttention(heads=heads, combine="sum")
        ...     inner, outer = rng.standard_normal((2, 16, 4)) / 4
        ...     layers.append((attention, cs.FixedMLP(inner=inner, outer=outer.T, activation="gelu")))
        >>> model = cs.Transformer.from_layers(layers)
        >>> x = cs.sample_uniform(10, 4, rng=0)
        >>> y = cs.simulate(model, x, rng=0).final
        >>> for attention, mlp in layers:
        ...     x = cs.normalize(x + attention(x))
        ...     x = cs.normalize(x + mlp(x))
        >>> np.allclose(x, y)
        True
        """
        attention, mlp = ([pair[part] for pair in _pairs(layers)] for part in (0, 1))
        return cls(
            attention=None if all(part is None for part in attention) else attention,
            mlp=None if all(part is None for part in mlp) else mlp,
            depth=len(layers),
            horizon=float(len(layers)) if horizon is None else horizon,
            normalization=normalization,
            initial_radius=initial_radius,
        )

    def noise_scales(self) -> Floats:
        """Return the noise scale s of every layer.

        Returns
        -------
        ndarray of float64, shape (L,)
            Read-only where it is one number.

        See Also
        --------
        chaosphere.LimitSDE.noise_scales : Noise scale of every step of the equation.

        Examples
        --------
        >>> import chaosphere as cs
        >>> model = cs.Transformer(
        ...     attention=None,
        ...     mlp=cs.MLP(width=8),
        ...     depth=4,
        ...     horizon=2.0,
        ...     noise_scale=lambda t: 1 + t,
        ... )
        >>> model.noise_scales()
        array([1.25, 1.75, 2.25, 2.75])
        """
        return schedules.table(self.noise_scale, "noise_scale", n_steps=self.depth, horizon=self.horizon, **_SCALES)

    @property
    def n_steps(self) -> int:
        """Number of steps: the depth.

        See Also
        --------
        chaosphere.models.protocol.Model.n_steps : Number of steps of any model.

        Examples
        --------
        >>> import chaosphere as cs
        >>> mlp = cs.MLP(width=8)
        >>> cs.Transformer(attention=None, mlp=mlp, depth=20, horizon=1.0).n_steps
        20
        """
        return self.depth

    @property
    def has_own_noise(self) -> bool:
        """Whether tokens have noise of their own: no, layers move all of them.

        See Also
        --------
        chaosphere.LimitSDE.has_own_noise : Whether tokens of the equation have noise of their own.
        chaosphere.MeanField.has_own_noise : Whether tokens of the limit have noise of their own.

        Examples
        --------
        >>> import chaosphere as cs
        >>> mlp = cs.MLP(width=8)
        >>> cs.Transformer(attention=None, mlp=mlp, depth=20, horizon=1.0).has_own_noise
        False
        """
        return False

    @property
    def is_ordered(self) -> bool:
        """Whether the drift depends on the order of the tokens: it does if that of the attention does.

        See Also
        --------
        chaosphere.SoftmaxAttention.is_ordered : Whether softmax attention has a mask.
        chaosphere.UnnormalizedAttention.is_ordered : Whether unnormalised attention has a mask.
        chaosphere.MultiHeadAttention.is_ordered : Whether a head has a mask.
        chaosphere.LimitSDE.is_ordered : Whether the attention of the equation has a mask.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention(mask="causal")
        >>> cs.Transformer(attention=attention, mlp=None, depth=20, horizon=1.0).is_ordered
        True
        """
        return is_ordered_of(self.attention)

    def plan(self, shape: Shape, weights: Floats | None = None) -> TransformerPlan:
        """Return the plan for tokens of one shape, as `simulate` uses it.

        Parameters
        ----------
        shape : Shape
            Replicas, tokens, dimension and dtype.
        weights : ndarray of float64, shape (n_sources,), optional
            The first n_sources tokens make up the measure that moves all of them, with these weights; the rest are
            passive tracers. None: all of them, 1/N each.

        Returns
        -------
        TransformerPlan
            Takes the steps.

        Raises
        ------
        TypeError, ValueError
            If attention or MLP do not serve this shape.

        See Also
        --------
        chaosphere.models.protocol.Model.plan : Plan of any model.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> mlp = cs.MLP(width=8)
        >>> model = cs.Transformer(attention=None, mlp=mlp, depth=20, horizon=1.0)
        >>> model.plan(Shape(n_tokens=100, dim=3)).cost.normals  # U, W, b_U and b_W
        59
        """
        return TransformerPlan(self, shape, weights)

    def coarsen(self, factor: int) -> Transformer:
        """Return the network of depth L/factor driven by the same noise.

        `factor` layers of width m, scaled by √(T/L), sum to one layer of width factor·m scaled by √(factor·T/L): the
        coarse network built from the layers of the fine one, so that runs of both with one seed are coupled. A noise
        scale that is a function of t is taken in the middle of the coarse layers.

        Parameters
        ----------
        factor : int
            Divides the depth.

        Returns
        -------
        Transformer
            Of depth L/factor.

        Raises
        ------
        ValueError
            If factor does not divide the depth, a parameter, the attention or the MLP has one for each layer, an
            exponent is not the default, or noise is divided by its norm.

        See Also
        --------
        chaosphere.LimitSDE.coarsen : The same equation in fewer steps, under the same noise.

        Examples
        --------
        The distance of 64 from 16 layers under one noise, and under two:

        >>> import chaosphere as cs
        >>> mlp = cs.MLP(width=8, activation="tanh")
        >>> model = cs.Transformer(attention=None, mlp=mlp, depth=64, horizon=1.0)
        >>> x = cs.sample_uniform(100, 3, rng=0)
        >>> fine = cs.simulate(model, x, rng=0).final
        >>> coarse = [cs.simulate(model.coarsen(4), x, rng=k).final for k in (0, 1)]
        >>> [round(cs.measures.coupled_distance(fine, y), 2) for y in coarse]
        [0.07, 0.74]
        """
        factor = checks.integer(factor, "factor", low=1)
        if self.depth % factor:
            raise ValueError(f"factor must divide the depth {self.depth}, got {factor}")
        if (self.attention_exponent, self.mlp_exponent) != (1.0, 0.5):
            raise ValueError(
                "attention_exponent and mlp_exponent must be 1 and 0.5 to coarsen: fewer layers have other steps"
            )
        is_noisy = is_noise(self.attention) or (isinstance(self.mlp, MLP) and self.mlp.resample)
        if is_noisy and not NORMALIZATIONS[self.normalization].is_linear:
            raise ValueError(
                f"normalization must not be {self.normalization!r} to coarsen layers with noise: the noise of a coarse "
                "layer, divided by its norm, is not the sum of those of the fine ones"
            )
        return replace(self, depth=self.depth // factor, n_fine_steps=factor * self.n_fine_steps)


def _pairs(layers: Any) -> Sequence[Any]:
    """Return layers, which must be a sequence of pairs."""
    if not isinstance(layers, Sequence) or isinstance(layers, str):
        raise TypeError(f"layers must be a sequence of pairs (attention, mlp), got {messages.shown(layers)}")
    if len(layers) == 0:
        raise ValueError("layers must hold at least one pair (attention, mlp), got none")
    for number, layer in enumerate(layers):
        if not isinstance(layer, Sequence) or isinstance(layer, str) or len(layer) != 2:
            raise TypeError(f"layers[{number}] must be a pair (attention, mlp), got {messages.shown(layer)}")
    return layers


class TransformerPlan(ModelPlan):
    """Layers for tokens of one shape.

    Parameters
    ----------
    model : Transformer
    shape : Shape
    weights : ndarray of float64, shape (n_sources,), optional
    """

    def __init__(self, model: Transformer, shape: Shape, weights: Floats | None) -> None:
        self.resolved, self.n_fine_steps = model, model.n_fine_steps
        self.attention: InteractionPlan | None = None
        self.heads: NoisePlan | None = None
        if is_noise(model.attention):
            self.heads = noise_plan_of(cast(CommonNoise, model.attention), shape, weights)
            self.resolved = replace(model, attention=self.heads.noise)
        elif model.attention is not None:
            attention = cast(Interaction, model.attention)
            self.resolved = replace(model, attention=attention.resolve(shape.n_tokens, shape.dim, shape.dtype))
            self.attention = plan_of(attention, shape, weights)
        self.is_ordered = self.attention is not None and self.attention.is_ordered
        self.block = 1 if self.attention is None else self.attention.block
        self.step_size = model.horizon / model.depth
        self.attention_step = self.step_size * model.depth ** (1.0 - model.attention_exponent)
        self.heads_duration = self.step_size * model.depth ** (2.0 - 2.0 * model.attention_exponent)
        noise_scales = model.noise_scales()
        has_layers = model.mlp is not None and bool((noise_scales > 0).any())
        self.layers = layer_sources(model.mlp if has_layers else None, dim=shape.dim, depth=model.depth)
        power = model.depth ** (0.5 - model.mlp_exponent)
        self.noise_step, self.layer_step = math.sqrt(self.step_size) * power, self.step_size * power
        self.noise_scales = noise_scales
        self.changing = frozenset(
            ["attention"] * (self.attention is not None and changes(self.attention))
            + ["mlp"] * isinstance(model.mlp, tuple)
        )
        self.rule = NORMALIZATIONS[model.normalization]
        self.has_radius, self.initial_radius = self.rule.has_radius, model.initial_radius
        # More than one layer at once where nothing but attention moves the tokens.
        is_alone = self.attention is not None and not self.layers and self.rule.is_fused
        self.max_fused_steps = self.attention.max_fused_steps if self.attention is not None and is_alone else 1
        n_normals = max((s.n_normals * (self.n_fine_steps if s.resample else 1) for s in set(self.layers)), default=0)
        n_normals += 0 if self.heads is None else self.heads.n_normals(self.n_fine_steps)
        self.cost = Cost(
            pairs=sum(part.pairs for part in (self.attention, self.heads) if part is not None),
            normals=n_normals,
            bytes=16 * shape.n_replicas * n_normals,
        )

    def start(self, x: Tokens) -> Tokens:
        """Return the state that tokens start from; see `ModelPlan`."""
        return self.initial_radius * x if self.has_radius else x

    def tokens(self, state: Tokens) -> Tokens:
        """Return the unit tokens of a state; see `ModelPlan`."""
        if not self.has_radius:
            return state
        batch = state.reshape(-1, *state.shape[-2:])
        return sphere.directions(batch, kernels.abi.max_threads()).reshape(state.shape)

    def advance(self, x: Tokens, steps: range, context: StepContext) -> Tokens:
        """Return the state after some layers; see `ModelPlan`."""
        time = schedules.middle(steps.start, self.step_size)
        operations = Operations(context.n_threads)
        for half in self._halves(steps, context, time=time):
            x = self.rule.step(x, half, time=time, operations=operations)
        return x

    def record(self, x: Tokens, step: int, *, context: StepContext, is_exact: bool = False) -> Recorder:
        """Return a layer with its operations; see `ModelPlan`."""
        recorder = Recorder(x, n_threads=context.n_threads, is_exact=is_exact)
        state, time = recorder.start(), schedules.middle(step, self.step_size)
        for half in self._halves(range(step, step + 1), context, time=time):
            state = self.rule.step(state, half, time=time, operations=recorder)
        return recorder

    def _halves(self, steps: range, context: StepContext, *, time: float) -> Iterator[HalfLayer]:
        """Yield what moves the tokens in a layer, drawn when it is due."""
        fine = range(steps.start * self.n_fine_steps, steps.stop * self.n_fine_steps)
        if self.attention is not None:
            attention = self.attention.at(time, step=steps.start)
            yield HalfLayer(
                velocity=Velocity(value=attention.drift, source=attention, part="attention"),
                move=partial(attention.move, n_steps=len(steps)),
                step=self.attention_step,
                length=self.attention_step,
            )
        if self.heads is not None:
            parts = (context.noise.draws(self.heads.stream, k) for k in fine)
            shift = increment_of(self.heads, parts, duration=self.heads_duration)
            yield HalfLayer(
                velocity=Velocity(value=shift, source=shift, part="attention"),
                move=partial(_shifted, shift=shift),
                step=1.0,
                length=math.sqrt(self.heads_duration),
            )
        if self.layers and (noise_scale := float(self.noise_scales[steps.start])) > 0:
            source = self.layers[steps.start]
            numbers, step = (fine, self.noise_step) if source.resample else (range(1), self.layer_step)
            layer = source.draw(context.noise.draws(Stream.LAYER, k) for k in numbers)
            length = noise_scale * step
            velocity = Velocity(value=layer.values, source=_Layer(source, layer), part="mlp")
            yield HalfLayer(velocity=velocity, move=layer.move, step=length, length=length)

    def distribute(self, partition: Partition) -> TransformerPlan:
        """Return the plan for the tokens that this process owns; see `ModelPlan`."""
        mine = copy(self)
        if self.attention is not None:
            mine.attention, mine.max_fused_steps = self.attention.distribute(partition), 1
        if self.heads is not None:
            mine.heads = self.heads.distribute(partition)
        return mine

    def describe(self) -> Transformer:
        """Return the model with every automatic choice made."""
        return self.resolved


@dataclass(frozen=True, slots=True)
class _Layer:
    """The derivative of a network, with the gradient in those of its matrices that are parameters."""

    source: LayerSource
    layer: MLPLayer

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        return self.layer.jvp(x, tangent, n_threads=n_threads)

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        return self.source.vjp(self.layer, x, cotangent=cotangent, n_threads=n_threads)


def _shifted(x: Tokens, step: float, *, n_threads: int, shift: Increment) -> Tokens:
    """Return LN(x + step shift(x))."""
    v = shift(x, n_threads=n_threads)
    check_vectors(v, name_of(shift), x=x)
    return sphere.layer_norm_step(x, v, step, n_threads)
