"""A network and its deep-and-wide limit, run together under one noise."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from chaosphere.common import checks, messages, schedules
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import short
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Seeds, Stream
from chaosphere.geometry import sphere
from chaosphere.interactions.protocol import Interaction
from chaosphere.measures.observables import Observable, value_of
from chaosphere.models.protocol import ModelPlan, StepContext
from chaosphere.models.sde import LimitSDE
from chaosphere.models.transformer import Transformer
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.gaussian import GaussianField
from chaosphere.noise.mlp import MLP
from chaosphere.noise.protocol import is_noise
from chaosphere.simulation.checkpoints import Checkpoint
from chaosphere.simulation.loop import simulate
from chaosphere.simulation.observables import check_radii, observables
from chaosphere.simulation.solution import Solution
from chaosphere.theory.coupling import as_layer

_MAX_TOKENS = 2000  # a layer costs a few eigenvalue problems of this size, some seconds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CoupledRun:
    """The result of `coupled_run`: two solutions with the same times.

    Parameters
    ----------
    network : Solution
        Of the transformer.
    limit : Solution
        Of its deep-and-wide limit.

    See Also
    --------
    chaosphere.coupled_run : Run a network and its limit under one noise.
    chaosphere.Solution : What a run returns.

    Examples
    --------
    >>> import chaosphere as cs
    >>> mlp = cs.MLP(width=64, activation="tanh")
    >>> model = cs.Transformer(attention=None, mlp=mlp, depth=10, horizon=1.0)
    >>> x = cs.sample_uniform(10, 3, rng=0)
    >>> observe = {"energy": cs.measures.Energy(beta=1.0)}
    >>> run = cs.coupled_run(model, x, rng=0, observe=observe)
    >>> energies = [sol.observables["energy"] for sol in (run.network, run.limit)]
    >>> [round(float(energy[-1]), 1) for energy in energies]
    [0.7, 0.7]
    """

    network: Solution
    limit: Solution

    def __repr__(self) -> str:
        """Return a few lines."""
        return "\n".join(
            ["CoupledRun", *textwrap.indent(f"network: {self.network!r}\nlimit: {self.limit!r}", "  ").splitlines()]
        )

    def _repr_html_(self) -> str:
        """Return two tables, for notebooks."""
        return f"{self.network._repr_html_()}{self.limit._repr_html_()}"


def coupled_run(
    model: Transformer,
    x: Tokens,
    *,
    rng: Seeds,
    refinement: int = 4,
    tolerance: float = 1e-6,
    save_at: Any = None,
    observe: Mapping[str, Observable] | None = None,
    n_threads: int | None = None,
    save_states: bool = True,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
) -> CoupledRun:
    """Run a network and its deep-and-wide limit from the same tokens, as close to each other as the theorem makes them.

    The limit is `LimitSDE` with scheme "split" and `refinement` steps per layer, under the noise that it has in a run
    of its own with this seed. The network takes, at its own tokens Y, the limit's noise increment ΔW(Y) over its layer.
    It maps it to the law of a layer conditional on the inner weights: G(Y) = T ΔW(Y), with T the optimal map from
    N(0, κ(YYᵀ)) to N(0, K_m). The network then has the law of `model` up to the field's tolerance, and the inner
    weights U, b_U of a run of `model` with this seed; its path is another one (arXiv:2604.26898, Theorem 1: the
    coupling Γ).

    Parameters
    ----------
    model : Transformer
        With an MLP.
    x : ndarray of float64, shape (N, d) or (R, N, d)
        Up to 2 000 tokens.
    rng : int, SeedSequence or Generator, or a list of them
        As in `simulate`.
    refinement : int
        Steps of the limit per layer, >= 1.
    tolerance : float
        Share of the noise's variance that its harmonics may leave out, in (0, 1).
    save_at : array_like of float, optional
        As in `simulate`; times are those of the network's layers.
    observe : mapping of str to callable, optional
        As in `simulate`; called for network and limit.
    n_threads : int, optional
        Default: all that OpenMP may use. Does not change a bit of the result.
    save_states : bool
        As in `simulate`.
    progress : bool
        As in `simulate`.
    checkpoint : path or Checkpoint, optional
        As in `simulate`.

    Returns
    -------
    CoupledRun
        The solutions of network and limit.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, there is no noise to couple, or the field needs too many harmonics.
    SimulationError, OSError, Interrupted
        As in `simulate`.

    See Also
    --------
    chaosphere.simulate : Run a model.
    chaosphere.CoupledRun : The solutions of a network and its limit.
    chaosphere.Transformer : The discrete transformer.
    chaosphere.LimitSDE : The limit of deep and wide transformers.
    chaosphere.measures.coupled_distance : Root mean square distance, token by token.

    Notes
    -----
    O(N³) for each layer and replica, O(N² d) and the field's harmonics for each step of the limit. LAPACK runs on one
    thread, so that results are the same for any number of threads. `chaosphere.experiments.depth_width` measures the
    distance for many depths and widths, and its exponents.

    Examples
    --------
    The root mean square distance of the network to its coupled limit, and that of a run whose noise is its own:

    >>> import chaosphere as cs
    >>> mlp = cs.MLP(width=256, activation="tanh", bias_std=0.3)
    >>> attention = cs.SoftmaxAttention(beta=1.0)
    >>> model = cs.Transformer(attention=attention, mlp=mlp, depth=50, horizon=1.0)
    >>> x = cs.sample_uniform(20, 3, rng=0)
    >>> run = cs.coupled_run(model, x, rng=0)
    >>> coupled = cs.measures.coupled_distance(run.network.final, run.limit.final)
    >>> other = cs.simulate(model, x, rng=0)
    >>> alone = cs.measures.coupled_distance(other.final, run.limit.final)
    >>> round(coupled, 2), round(alone, 2)
    (0.12, 1.06)
    """
    if not isinstance(model, Transformer):
        raise TypeError(f"model must be a Transformer, got {messages.shown(model)}")
    noise_scale = model.noise_scale
    if model.mlp is None or noise_scale == 0:
        raise ValueError("model must have an MLP and a noise_scale > 0: there is no noise to couple")
    if not isinstance(noise_scale, float):
        raise ValueError(f"model must have a noise_scale that is one number, got {messages.shown(noise_scale)}")
    if not isinstance(model.mlp, MLP):
        raise ValueError("model must have one MLP for all layers, drawn anew: the limit is of such layers")
    if model.normalization != "post":
        raise ValueError(f"model must have normalization='post', that of the limit, got {model.normalization!r}")
    if (model.attention_exponent, model.mlp_exponent) != (1.0, 0.5) or not model.mlp.resample:
        raise ValueError("model must have the default exponents and layers that are drawn anew: the limit is of those")
    if is_noise(model.attention):
        raise ValueError(
            "model must have attention without random heads: a Transformer and a LimitSDE with them as its field share "
            "those heads by one seed, without maps"
        )
    batch = checks.tokens(x)
    n_tokens, dim = batch.shape[1:]
    if batch.dtype != np.float64:
        raise TypeError(f"x must be a float64 array, got {batch.dtype}: the optimal maps need its digits")
    if n_tokens > _MAX_TOKENS:
        raise ValueError(f"x must have at most {_MAX_TOKENS} tokens, got {n_tokens}: a layer costs O(N³)")
    refinement = checks.integer(refinement, "refinement", low=1)
    kernel = model.mlp.kernel(dim)
    pair = _Pair(
        network=model,
        mlp=model.mlp,
        kernel=kernel,
        limit=LimitSDE(
            attention=cast(Interaction | None, model.attention),
            field=GaussianField(kernel=kernel.scaled(noise_scale), method="spectral", tolerance=tolerance),
            horizon=model.horizon,
            n_steps=model.depth * refinement,
            scheme="split",
        ),
    )
    models = {"network": model, "limit": pair.limit}
    halves = {"network": slice(None, n_tokens), "limit": slice(n_tokens, None)}
    observe = observables(observe)
    check_radii(observe, has_radius=False)
    sol = simulate(
        pair,
        np.concatenate([x, x], axis=-2),
        rng=rng,
        save_at=save_at,
        observe={
            f"{half}: {name}": _Half(function=function, rows=rows)
            for half, rows in halves.items()
            for name, function in observe.items()
        },
        n_threads=n_threads,
        save_states=save_states,
        progress=progress,
        checkpoint=checkpoint,
    )
    network, limit = (
        replace(
            sol,
            states=sol.states[..., rows, :],
            final=sol.final[..., rows, :],
            observables={name: sol.observables[f"{half}: {name}"] for name in observe},
            attributes=sol.attributes | {"part": half},
            model=short(models[half]),
        )
        for half, rows in halves.items()
    )
    return CoupledRun(network=network, limit=limit)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Half:
    """An observable of one half of the tokens of a `_Pair`."""

    function: Observable
    rows: slice

    def __call__(self, time: float, x: Tokens) -> Any:
        return value_of(self.function, time, tokens=x[..., self.rows, :], radii=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """A model of 2N tokens: those of a network, followed by those of its limit."""

    network: Transformer
    mlp: MLP
    kernel: CovarianceKernel
    limit: LimitSDE

    @property
    def n_steps(self) -> int:
        return self.network.n_steps

    @property
    def horizon(self) -> float:
        return self.network.horizon

    def plan(self, shape: Shape, weights: Floats | None = None) -> _PairPlan:
        return _PairPlan(self, replace(shape, n_tokens=shape.n_tokens // 2))


class _PairPlan(ModelPlan):
    """The first half of the tokens moves by the network, the second by the limit."""

    def __init__(self, pair: _Pair, half: Shape) -> None:
        network, self.limit, self.half = pair.network.plan(half), pair.limit.plan(half), half
        self.pair = replace(pair, network=network.describe(), limit=self.limit.describe())
        self.attention, self.field, self.layers = network.attention, self.limit.field, network.layers
        self.refinement = pair.limit.n_steps // pair.network.n_steps
        self.step_size = pair.network.horizon / pair.network.n_steps

    def advance(self, x: Tokens, steps: range, context: StepContext) -> Tokens:
        for index in steps:
            y, z = x[:, : self.half.n_tokens], x[:, self.half.n_tokens :]
            fine = range(index * self.refinement, (index + 1) * self.refinement)
            for k in fine:
                z = self.limit.advance(z, range(k, k + 1), context)
            x = np.concatenate([self._network(y, index, fine, context), z], axis=1)
        return x

    def _network(self, y: Tokens, index: int, fine: range, context: StepContext) -> Tokens:
        """Return the network's tokens after a layer."""
        noise, n_threads = context.noise, context.n_threads
        if self.attention is not None:
            attention = self.attention.at(schedules.middle(index, self.step_size), step=index)
            y = attention.move(y, self.step_size, n_threads=n_threads)
        merged = self.pair.network.n_fine_steps
        assert self.field is not None
        draws = (noise.draws(Stream.BROWNIAN, k) for k in fine)
        g = self.field.increment(draws, duration=1.0)(y, n_threads=n_threads)
        layers = (noise.draws(Stream.LAYER, k) for k in range(index * merged, (index + 1) * merged))
        layer = self.layers[index].draw(layers)
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, user_api="blas"):  # more are slower at this size, and bits would follow their number
            g = as_layer(g, y, layer=layer, kernel=self.pair.kernel, output_bias_std=self.pair.mlp.output_bias_std)
        return sphere.layer_norm_step(y, g, math.sqrt(self.step_size), n_threads)

    def describe(self) -> _Pair:
        return self.pair
