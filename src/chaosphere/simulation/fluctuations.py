"""The central limit theorem of propagation of chaos: fluctuations of N tokens about their mean-field limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief, Row, short
from chaosphere.common.streams import Seed, root
from chaosphere.interactions.protocol import is_ordered_of
from chaosphere.models.mean_field import MeanField
from chaosphere.simulation.gradient import gradient

Observables = Callable[[Tokens], tuple[Floats, Floats]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Fluctuations(Brief):
    """What `fluctuations` returns.

    Parameters
    ----------
    means : ndarray of float64, shape (K,)
        ⟨μ_T, f_k⟩, of the limit.
    covariance : ndarray of float64, shape (K, K)
        Limit of N Cov(⟨μ^N_T, f_k⟩, ⟨μ^N_T, f_l⟩) conditional on the common noise.
    first_variation : ndarray of float64, shape (n, K)
        ψ_k at the nodes of the limit, up to a constant: by how much ⟨μ_T, f_k⟩ changes with the mass that the initial
        law has there.

    See Also
    --------
    chaosphere.fluctuations : Fluctuations of N tokens about their limit.

    Examples
    --------
    >>> import chaosphere as cs
    >>> model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=5, horizon=0.5)
    >>> limit = cs.MeanField(model=model, law=cs.laws.Uniform(dim=2), n_nodes=16)
    >>> cs.fluctuations(limit, rng=0).first_variation.shape
    (16, 2)
    """

    means: Floats
    covariance: Floats
    first_variation: Floats

    def _rows(self) -> list[Row]:
        facts = {"means": self.means, "covariance": self.covariance, "first_variation": self.first_variation.shape}
        return [(name, short(fact)) for name, fact in facts.items()]


def coordinates(x: Tokens) -> tuple[Floats, Floats]:
    """Return the coordinates of tokens (N, d), shape (N, d), and their gradients, shape (N, d, d)."""
    n_tokens, dim = x.shape
    return x, np.broadcast_to(np.eye(dim), (n_tokens, dim, dim))


def fluctuations(
    limit: MeanField, *, rng: Seed, observables: Observables = coordinates, n_threads: int | None = None
) -> Fluctuations:
    r"""Return the covariance of the Gaussian fluctuations of N tokens about their mean-field limit.

    For N tokens that start i.i.d. from the law μ_0, and conditional on the common noise,

    √N (⟨μ^N_T, f⟩ − ⟨μ_T, f⟩) → Normal(0, Var_{μ_0} ψ),   N → ∞,

    where ψ(x) is the first variation of ⟨μ_T, f⟩ in μ_0: its derivative when mass is added at x. It has two parts: f at
    the end of the token that starts at x, and what this token does to the others along the way.

    Parameters
    ----------
    limit : MeanField
        Its nodes carry the first variation. Its attention has no causal mask.
    rng : int, SeedSequence or Generator
        Decides the common noise, as in `simulate`.
    observables : callable
        Takes tokens, shape (n, d), and returns the values of f_1 … f_K at each, shape (n, K), and their gradients,
        shape (n, K, d). By default the coordinates of a token, whose mean is the mean vector.
    n_threads : int, optional
        Does not change a bit of the result.

    Returns
    -------
    Fluctuations
        Means, covariance, and the first variation at the nodes.

    Raises
    ------
    TypeError, ValueError
        If the limit is no MeanField or has a causal mask, its model has no derivative, or the observables have other
        shapes or are not finite.

    See Also
    --------
    chaosphere.Fluctuations : What is returned.
    chaosphere.gradient : Gradient of a scalar of the final tokens, by which this is computed.
    chaosphere.MeanField : The limit N → ∞.
    chaosphere.simulate : Run N tokens under the same noise.

    Notes
    -----
    The first variation is the gradient of Σ_j p_j f(X_j(T)) in the weights p of the nodes: K gradients, each a few
    times the cost of a run of the nodes. It is that of the model with its steps, not of small steps. The error
    is that of the quadrature of `limit`; two numbers of nodes show it.

    The unconditional variance is larger: under a common noise ⟨μ_T, f⟩ is random, which adds N Var⟨μ_T, f⟩.

    Examples
    --------
    Tokens from the uniform law on the circle. The mean vector grows as e^{σt}, σ the growth rate of the first
    harmonic, and its variance is e^{2σT}/(2N) in each coordinate:

    >>> import math
    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=1.0)
    >>> model = cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=20, scheme="rk4")
    >>> limit = cs.MeanField(model=model, law=cs.laws.Uniform(dim=2), n_nodes=32)
    >>> result = cs.fluctuations(limit, rng=0)
    >>> growth = cs.theory.growth_rate(attention, 1, 2)
    >>> bool(abs(result.covariance[0, 0] - math.exp(2 * growth) / 2) < 1e-5)
    True
    """
    if not isinstance(limit, MeanField):
        raise TypeError(f"limit must be a MeanField, got {messages.shown(limit)}")
    if limit.n_places is not None or is_ordered_of(limit.model):
        raise ValueError("limit must have no causal mask: its tokens are not exchangeable")
    if not callable(observables):
        raise TypeError(f"observables must be a function of the tokens, got {messages.shown(observables)}")
    n_threads = checks.threads(n_threads)
    sequence = root(rng)
    values = _values(observables, limit.nodes)[0]
    variation = np.empty_like(values)

    def objective(x: Tokens, *, index: int) -> tuple[float, Floats]:
        at_end, gradients = _values(observables, x)
        if at_end.shape != values.shape:
            raise ValueError(
                f"observables must return the same number of values, {values.shape[1]}, whatever the tokens, got "
                f"{at_end.shape[1]}"
            )
        values[:] = at_end
        return float(limit.weights @ values[:, index]), limit.weights[:, None] * gradients[:, index]

    for k in range(values.shape[1]):
        of_nodes = gradient(
            limit.model,
            limit.nodes,
            partial(objective, index=k),
            rng=sequence,
            weights=limit.weights,
            n_threads=n_threads,
        )
        along_the_way = 0.0 if of_nodes.weights is None else of_nodes.weights  # None: tokens do not interact
        variation[:, k] = values[:, k] + along_the_way
    centred = variation - limit.weights @ variation
    return Fluctuations(
        means=limit.weights @ values,
        covariance=centred.T @ (limit.weights[:, None] * centred),
        first_variation=variation,
    )


def _values(observables: Observables, x: Tokens) -> tuple[Floats, Floats]:
    """Return the observables of tokens (n, d), shape (n, K), and their gradients, shape (n, K, d)."""
    answer = observables(x)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise TypeError(f"observables must return the pair (values, gradients), got {type(answer).__name__}")
    values, gradients = (_numbers(part) for part in answer)
    n_tokens, dim = x.shape
    if values.ndim != 2 or len(values) != n_tokens or values.shape[1] < 1 or gradients.shape != (*values.shape, dim):
        raise ValueError(
            f"observables must return values of shape ({n_tokens}, K), K >= 1, and gradients of shape "
            f"({n_tokens}, K, {dim}), got {values.shape} and {gradients.shape}"
        )
    if not (np.isfinite(values).all() and np.isfinite(gradients).all()):
        raise ValueError("observables must return finite values and gradients")
    return values, gradients


def _numbers(part: Any) -> Floats:
    """Return what observables returned as an array of float64."""
    try:
        array = np.asarray(part)
    except ValueError as error:
        raise TypeError(f"observables must return arrays of real numbers: {error}") from None
    if array.dtype.kind not in "fiu":
        raise TypeError(f"observables must return arrays of real numbers, got {array.dtype}")
    return array.astype(np.float64)
