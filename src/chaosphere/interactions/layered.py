"""Attention under a causal mask with infinitely many tokens: a measure for each place, carried by layers of nodes.

Token i of N is at the place i/N. As N → ∞ the tokens at the place σ see the measures μ_s of the places s <= σ,

    ν_σ = ∫_0^σ e^{−λ(σ − s)} μ_s ds / ∫_0^σ e^{−λ(σ − s)} ds,

and move in the drift that attention without a mask has for ν_σ. K layers of nodes stand for the places (k − ½)/K, k = 1
… K: each sees the layers before it and half of its own (the midpoint rule). Passive tokens, in their order, are at the
places 1/N … 1; their drift is interpolated between the places k/K, where whole layers are seen, and up to the place 1/K
it is that of the first layer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.shape import Shape
from chaosphere.interactions.protocol import Interaction, InteractionPlan, Pullback


class LayeredPlan(InteractionPlan):
    """The drift for K layers of n nodes each, followed by passive tokens.

    Parameters
    ----------
    shape : Shape
        Its first K n tokens are the nodes, layer by layer.
    weights : ndarray of float64, shape (K, n)
        Weights of the nodes; each row has the sum 1.
    unmasked : Interaction
        The attention without its mask.
    decay : float
        λ.
    """

    def __init__(self, shape: Shape, weights: Floats, *, unmasked: Interaction, decay: float) -> None:
        n_layers, n_nodes = weights.shape
        n_passive = shape.n_tokens - weights.size
        self.parts: list[_Part] = []
        self.n_nodes = weights.size

        def add(k: int, own_share: float, tokens: slice, factors: Floats) -> None:
            """Let the first k layers, and a share of the last of them, move some tokens."""
            shares = prefix_shares(k, decay=decay / n_layers, own_share=own_share)[:, None]
            seen = shares * weights[:k]
            n_tokens = seen.size + tokens.stop - tokens.start
            part = Shape(n_replicas=shape.n_replicas, n_tokens=n_tokens, dim=shape.dim, dtype=shape.dtype)
            plan = unmasked.plan(part, seen.ravel())
            every = np.broadcast_to(shares, seen.shape).ravel()
            self.parts.append(_Part(plan, seen.size, tokens, factors.astype(shape.dtype)[:, None], every))

        for k in range(1, n_layers + 1):
            add(k, 0.5, slice((k - 1) * n_nodes, k * n_nodes), np.ones(n_nodes))
        # The drift is smooth between the edges of the layers, where one law may follow another.
        place = np.maximum(np.arange(1, n_passive + 1) * n_layers / max(n_passive, 1), 1)
        for k in range(1, n_layers + 1):
            near = np.flatnonzero(abs(place - k) < 1)
            if len(near):
                first = weights.size + int(near[0])
                add(k, 1.0, slice(first, first + len(near)), 1 - abs(place[near] - k))
        self.pairs = float(sum(part.n_seen * (part.tokens.stop - part.tokens.start) for part in self.parts))

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return the drift; see `InteractionPlan`."""
        drift = np.zeros_like(x)
        for part in self.parts:
            both = part.of(x)
            own = part.plan.rows(both, first=part.n_seen, stop=both.shape[1], n_threads=n_threads)
            drift[:, part.tokens] += part.factors * own
        return drift

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Return the derivative in a direction; see `InteractionPlan`."""
        out = np.zeros_like(x)
        for part in self.parts:
            own = part.plan.jvp(part.of(x), part.of(tangent), n_threads=n_threads)
            out[:, part.tokens] += part.factors * own[:, part.n_seen :]
        return out

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        """Return gradients, in the weights of all nodes one layer after the other; see `InteractionPlan`."""
        tokens, weights = np.zeros_like(x), np.zeros((len(x), self.n_nodes))
        parameters: dict[str, Any] = {}
        for part in self.parts:
            seen = part.of(np.zeros_like(x))
            seen[:, part.n_seen :] = part.factors * cotangent[:, part.tokens]
            back = part.plan.vjp(part.of(x), seen, n_threads=n_threads)
            tokens[:, : part.n_seen] += back.tokens[:, : part.n_seen]
            tokens[:, part.tokens] += back.tokens[:, part.n_seen :]
            weights[:, : part.n_seen] += part.shares * back.weights
            for name, values in back.parameters.items():
                parameters[name] = parameters.get(name, 0.0) + values
        return Pullback(tokens=tokens, weights=weights, parameters=parameters)


class _Part(NamedTuple):
    """The drift of the measure of the first n_seen tokens, times factors, at some tokens; each node has its share."""

    plan: InteractionPlan
    n_seen: int
    tokens: slice
    factors: Tokens
    shares: Floats

    def of(self, x: Tokens) -> Tokens:
        """Return the tokens that are seen, and then those that see them."""
        return np.concatenate([x[:, : self.n_seen], x[:, self.tokens]], axis=1)


def plan(unmasked: Interaction, shape: Shape, weights: Floats, *, decay: float) -> InteractionPlan:
    """Return the drift for layers of nodes of weights (K, n); one layer is the limit of an attention without a mask."""
    if len(weights) == 1:
        return unmasked.plan(shape, weights[0])
    return LayeredPlan(shape, weights, unmasked=unmasked, decay=decay)


def prefix_shares(n_layers: int, *, decay: float, own_share: float) -> Floats:
    """Return the shares that layers have in what a token in the last of them sees; with sum 1.

    Parameters
    ----------
    n_layers : int
        Layers up to its own.
    decay : float
        Of the weight from one layer to the next, as an exponent.
    own_share : float
        The share of its own layer that is before it.
    """
    if decay == 0:
        shares = np.append(np.ones(n_layers - 1), own_share)
    else:
        distance = np.arange(n_layers - 2, -1, -1) + own_share
        shares = np.append(np.exp(-decay * distance) * -np.expm1(-decay), -np.expm1(-decay * own_share))
    return np.asarray(shares / shares.sum())


def of_all(weights: Floats | None) -> Floats | None:
    """Return the weights of all tokens, (K n,) for layers (K, n) of sum 1 each, for what has no mask."""
    return weights if weights is None or weights.ndim == 1 else weights.ravel() / len(weights)
