"""The mean-field limit N → ∞: a measure transported by the common noise, carried by weighted nodes.

More than half of this file is docstrings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.fields import added, in_identity
from chaosphere.common.reprs import Brief
from chaosphere.common.shape import Shape
from chaosphere.geometry.law import check_law
from chaosphere.geometry.laws import Law, Quadrature, quadrature
from chaosphere.interactions.protocol import is_ordered_of
from chaosphere.models.operations import Recorder
from chaosphere.models.protocol import (
    Inside,
    Model,
    ModelPlan,
    StepContext,
    check_model,
    has_own_noise_of,
    model_plan_of,
    resolved,
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MeanField(Brief):
    """A model with infinitely many tokens of a given initial law.

    The empirical measure of tokens solves the limiting equation for measures exactly (arXiv:2604.26898, the mean-field
    limit): μ_t is the image of μ_0 under a random flow that depends on μ itself. Weighted quadrature nodes of μ_0 moved
    by the particle kernels therefore solve it with the quadrature's error for integrands as smooth as the flow:
    spectral for smooth activations and densities on S¹ and S², algebraic for relu. Two numbers of nodes under one seed
    show it.

    Passive tracers (tokens of weight zero) may come after the nodes: the measure of the nodes moves them, and they do
    not contribute to it. Such a token is X̄^i of propagation of chaos, under the noise of the seed.

    Under a causal mask token i of N has the place i/N in (0, 1], and as N → ∞ each place has a measure of its own,
    which depends on those of the places up to it. If all tokens start from one law these measures are equal, and the
    limit is that of the attention without its mask. For several laws along the order there are `n_places` sets of
    nodes, at the places (k − ½)/n_places. Each set sees the sets before it and half of itself. This is the midpoint
    rule, with an error of second order in 1/n_places for places within a law. Passive tracers, in their order, have
    the places 1/N … 1.

    Parameters
    ----------
    model : Transformer, LimitSDE, or another model
        Without noise of each token's own (`has_own_noise`; here `temperature`). In the limit such noise is a diffusion,
        which nodes cannot represent.
    law : Law, or list or tuple of Law
        See `chaosphere.laws`. With a causal mask there may be several: the law of the first tokens, that of the next
        tokens, as many, and so on.
    n_nodes : int
        Nodes of each place; see `chaosphere.laws.quadrature`.
    n_places : int, optional
        Places K along the order, a multiple of the number of laws. By default one for each law.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or there are several laws or places and the model's attention has no mask.

    See Also
    --------
    chaosphere.Transformer : The discrete transformer.
    chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.
    chaosphere.fluctuations : Fluctuations of N tokens about the limit.
    chaosphere.laws.quadrature : Make nodes and weights for a law.
    chaosphere.laws.Law : What a law of tokens offers.
    chaosphere.AxisymmetricDensity : The mean-field limit of densities that are symmetric about an axis.
    chaosphere.SphereDensity : The mean-field limit on S², solved for its density.
    chaosphere.estimate : Expectation of an observable to a tolerance.

    Notes
    -----
    A step costs what n nodes plus the passive tokens cost the model. K places of n nodes take, by pairs, as many as
    (K + 1) n/2 sources for K n nodes and twice the passive tokens.

    Examples
    --------
    64 nodes discretise a law of infinitely many tokens on the circle; the order parameter at both ends of a run:

    >>> import chaosphere as cs
    >>> mlp = cs.MLP(width=8, activation="tanh")
    >>> attention = cs.SoftmaxAttention()
    >>> model = cs.Transformer(attention=attention, mlp=mlp, depth=50, horizon=1.0)
    >>> law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.0)
    >>> limit = cs.MeanField(model=model, law=law, n_nodes=64)
    >>> sol = cs.simulate(limit, limit.start(), rng=0)
    >>> ends = limit.nodes, sol.final
    >>> orders = [cs.measures.order_parameter(x, weights=limit.weights) for x in ends]
    >>> [round(float(order), 3) for order in orders]
    [0.446, 0.442]

    Under a causal mask, with the first half of the tokens from one law and the second half from another, the mean
    direction of the last tokens, which start about (0, 1):

    >>> causal = cs.SoftmaxAttention(mask="causal")
    >>> model = cs.Transformer(attention=causal, mlp=None, depth=20, horizon=1.0)
    >>> other = cs.laws.VonMisesFisher(mean_direction=(0.0, 1.0), concentration=1.0)
    >>> limit = cs.MeanField(model=model, law=[law, other], n_nodes=64, n_places=8)
    >>> last = cs.simulate(limit, limit.start(), rng=0).final[-64:]
    >>> weights = 8 * limit.weights[-64:]
    >>> cs.measures.mean_vector(last, weights=weights).round(3)
    array([0.15 , 0.523])
    """

    model: Model
    law: Law | Sequence[Law]
    n_nodes: int
    n_places: int | None = added(None)
    _rule: Quadrature = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check, convert numbers to int, and make the nodes."""
        check_model(self.model)
        if has_own_noise_of(self.model):
            raise ValueError(
                "model must have temperature 0: nodes do not carry the diffusion of each token's own noise; "
                "a model of your own says by has_own_noise = False that it has none"
            )
        checks.integers(self, "n_nodes", low=2)
        laws = self._laws()
        if isinstance(self.law, list):
            object.__setattr__(self, "law", tuple(laws))
        n_places = len(laws) if self.n_places is None else checks.integer(self.n_places, "n_places", low=1)
        if n_places % len(laws):
            raise ValueError(f"n_places must be a multiple of the number of laws, {len(laws)}, got {n_places}")
        if n_places > 1 and not is_ordered_of(self.model):
            raise ValueError(
                "law and n_places must be one law and one place for a model without a causal mask: its tokens have no "
                "order"
            )
        rules = [quadrature(law, self.n_nodes) for law in laws for _ in range(n_places // len(laws))]
        object.__setattr__(self, "_rule", _joined(rules))
        if self.n_places is not None:
            object.__setattr__(self, "n_places", n_places)

    @property
    def nodes(self) -> Floats:
        """Nodes of the initial law, shape (n, d); of several places, one after the other, (K n, d).

        See Also
        --------
        chaosphere.MeanField.weights : Weights of the nodes.
        chaosphere.MeanField.start : Nodes and passive tokens to start a run from.
        chaosphere.laws.quadrature : Make nodes and weights for a law.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention()
        >>> model = cs.Transformer(attention=attention, mlp=None, depth=5, horizon=0.5)
        >>> limit = cs.MeanField(model=model, law=cs.laws.Uniform(dim=2), n_nodes=4)
        >>> limit.nodes.round(12) + 0.0
        array([[ 1.,  0.],
               [ 0.,  1.],
               [-1.,  0.],
               [ 0., -1.]])
        """
        return self._rule.nodes

    @property
    def weights(self) -> Floats:
        """Weights of the nodes, shape (n,) or (K n,), with sum 1.

        See Also
        --------
        chaosphere.MeanField.nodes : Nodes of the initial law.
        chaosphere.MeanField.start : Nodes and passive tokens to start a run from.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention()
        >>> model = cs.Transformer(attention=attention, mlp=None, depth=5, horizon=0.5)
        >>> cs.MeanField(model=model, law=cs.laws.Uniform(dim=2), n_nodes=4).weights
        array([0.25, 0.25, 0.25, 0.25])
        """
        return self._rule.weights

    @property
    def n_steps(self) -> int:
        """Number of steps, that of the model.

        See Also
        --------
        chaosphere.models.protocol.Model.n_steps : Number of steps of any model.
        chaosphere.MeanField.horizon : Time that the limit spans.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention()
        >>> model = cs.Transformer(attention=attention, mlp=None, depth=5, horizon=0.5)
        >>> cs.MeanField(model=model, law=cs.laws.Uniform(dim=2), n_nodes=4).n_steps
        5
        """
        return self.model.n_steps

    @property
    def horizon(self) -> float:
        """Time that the steps span, that of the model.

        See Also
        --------
        chaosphere.MeanField.n_steps : Number of steps of the limit.
        chaosphere.models.protocol.Model.horizon : Time that any model spans.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention()
        >>> model = cs.Transformer(attention=attention, mlp=None, depth=5, horizon=0.5)
        >>> cs.MeanField(model=model, law=cs.laws.Uniform(dim=2), n_nodes=4).horizon
        0.5
        """
        return self.model.horizon

    def start(self, passive: Tokens | None = None) -> Tokens:
        """Return the nodes, followed by passive tokens if given, to be handed to `simulate`.

        Parameters
        ----------
        passive : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere that move in the mean field; None for the nodes alone.

        Returns
        -------
        ndarray, shape (n, d), (n + N, d) or (R, n + N, d)
            Of the dtype of `passive`; R replicas of the nodes.

        Raises
        ------
        TypeError, ValueError
            If `passive` is not made of tokens of the law's dimension.

        See Also
        --------
        chaosphere.MeanField.nodes : Nodes of the initial law.
        chaosphere.MeanField.weights : Weights of the nodes.

        Examples
        --------
        Ten tokens that follow the mean field of 64 nodes:

        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention()
        >>> model = cs.Transformer(attention=attention, mlp=None, depth=5, horizon=0.5)
        >>> limit = cs.MeanField(model=model, law=cs.laws.Uniform(dim=2), n_nodes=64)
        >>> x = limit.start(cs.sample_uniform(10, 2, rng=0))
        >>> sol = cs.simulate(limit, x, rng=0)
        >>> sol.final[64:].shape
        (10, 2)
        """
        if passive is None:
            return self.nodes
        batch = checks.tokens(passive, "passive")
        self._check_dim(batch.shape[2], "passive")
        nodes = np.broadcast_to(self.nodes.astype(batch.dtype), (len(batch), *self.nodes.shape))
        tokens = np.concatenate([nodes, batch], axis=1)
        return tokens if passive.ndim == 3 else tokens[0]

    @property
    def has_own_noise(self) -> bool:
        """Whether tokens have noise of their own: no, `model` has none.

        See Also
        --------
        chaosphere.LimitSDE.has_own_noise : Whether tokens of the equation have noise of their own.
        chaosphere.Transformer.has_own_noise : Whether tokens of a network have noise of their own.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention()
        >>> model = cs.Transformer(attention=attention, mlp=None, depth=5, horizon=0.5)
        >>> limit = cs.MeanField(model=model, law=cs.laws.Uniform(dim=2), n_nodes=4)
        >>> limit.has_own_noise
        False
        """
        return False

    def plan(self, shape: Shape, weights: Floats | None = None) -> MeanFieldPlan:
        """Return the model's plan with the nodes as sources, as `simulate` uses it.

        Parameters
        ----------
        shape : Shape
            Replicas, tokens, dimension and dtype; the first tokens are the nodes.
        weights : None
            The nodes have weights of their own.

        Returns
        -------
        MeanFieldPlan
            Takes the steps.

        Raises
        ------
        TypeError, ValueError
            If there are fewer tokens than nodes, or the model does not serve this shape.

        See Also
        --------
        chaosphere.models.protocol.Model.plan : Plan of any model.

        Examples
        --------
        The cost of a step for 64 nodes and 10 tokens that follow them:

        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> attention = cs.SoftmaxAttention()
        >>> model = cs.Transformer(attention=attention, mlp=None, depth=5, horizon=0.5)
        >>> limit = cs.MeanField(model=model, law=cs.laws.Uniform(dim=2), n_nodes=64)
        >>> limit.plan(Shape(n_tokens=74, dim=2)).cost.pairs == 64 * 74
        True
        """
        if weights is not None:
            raise ValueError("weights must be None for a MeanField, which has those of its nodes")
        self._check_dim(shape.dim, "x")
        if shape.n_tokens < len(self.weights):
            raise ValueError(
                f"x must start with the {len(self.weights)} nodes of `start()`, got {shape.n_tokens} tokens"
            )
        n_places = self.n_places or len(self._laws())
        layers = (n_places * self.weights).reshape(n_places, -1)
        inner = model_plan_of(self.model, shape, layers if is_ordered_of(self.model) else self.weights)
        if inner.is_ordered:
            raise ValueError(
                "model must say that it is ordered, by a property is_ordered, and take the nodes of its places as "
                "weights of shape (K, n)"
            )
        return MeanFieldPlan(self, inner)

    def _laws(self) -> list[Law]:
        """Return the laws along the order, all of one dimension."""
        if not isinstance(self.law, (list, tuple)):
            return [check_law(self.law)]
        laws = [check_law(law, f"law[{k}]") for k, law in enumerate(self.law)]
        if not laws or len({law.dim for law in laws}) > 1:
            raise ValueError(
                f"law must be a law, or a list or tuple of laws of one dim, got dims {[law.dim for law in laws]}"
            )
        return laws

    def _check_dim(self, dim: int, name: str) -> None:
        of_law = self.nodes.shape[1]
        if dim != of_law:
            raise ValueError(f"{name} must have dim {of_law}, that of the law, got {dim}")


class MeanFieldPlan(ModelPlan):
    """The plan of a model whose first tokens are the nodes of a limit.

    Parameters
    ----------
    limit : MeanField
    inner : ModelPlan
    """

    def __init__(self, limit: MeanField, inner: ModelPlan) -> None:
        self.limit, self.inner = limit, inner
        self.max_fused_steps, self.cost = inner.max_fused_steps, inner.cost
        self.has_radius, self.changing, self.is_dense = inner.has_radius, inner.changing, inner.is_dense

    def start(self, x: Tokens) -> Tokens:
        """Return the state that nodes and passive tokens start from; see `ModelPlan`."""
        return self.inner.start(x)

    def tokens(self, state: Tokens) -> Tokens:
        """Return the unit nodes and passive tokens of a state; see `ModelPlan`."""
        return self.inner.tokens(state)

    def advance(self, x: Tokens, steps: range, context: StepContext) -> Tokens:
        """Return the state of nodes and passive tokens after some steps; see `ModelPlan`."""
        return self.inner.advance(x, steps, context)

    def advance_through(self, x: Tokens, step: int, *, inside: Inside, context: StepContext) -> Tokens:
        """Take a step of nodes and passive tokens and fill in their states within it; see `ModelPlan`."""
        return self.inner.advance_through(x, step, inside=inside, context=context)

    def record(self, x: Tokens, step: int, *, context: StepContext, is_exact: bool = False) -> Recorder:
        """Return a step of nodes and passive tokens with its operations; see `ModelPlan`."""
        return self.inner.record(x, step, context=context, is_exact=is_exact)

    def check_levels(self, x0: Tokens | None) -> None:
        """Raise unless the tokens begin with the nodes; see `ModelPlan`.

        There is one level alone, so it does not matter whether the model has the same law in other levels.
        """
        if x0 is None:
            raise ValueError("x0 must be the tokens of start() for a MeanField, which has nodes of its own, not a law")
        nodes = self.limit.nodes.astype(x0.dtype)
        if not np.array_equal(x0[: len(nodes)], nodes):
            raise ValueError(f"x0 must begin with the {len(nodes)} nodes of the MeanField, as start() returns them")

    def describe(self) -> dict[str, Any]:
        """Return the limit with every automatic choice of its model made."""
        values = {name: getattr(self.limit, name) for name in in_identity(self.limit)}
        return {"type": type(self.limit).__name__} | values | {"model": resolved(self.limit.model, self.inner)}


def _joined(rules: Sequence[Quadrature]) -> Quadrature:
    """Return the nodes of several rules, with weights of sum 1."""
    nodes, weights = np.concatenate([rule.nodes for rule in rules]), np.concatenate([rule.weights for rule in rules])
    return Quadrature(nodes=nodes, weights=weights / len(rules), degree=rules[0].degree)
