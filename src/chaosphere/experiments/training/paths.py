"""What both studies measure: tokens and adjoints at all depths, after some steps of training, beside the limit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.geometry.sphere import sample_uniform
from chaosphere.models.operations import projected
from chaosphere.training import AdamW, AttentionNetwork, MeanRegression, TrainingLimit, train

KINDS = ("tokens", "adjoints")
BOUND = -5 / 6  # exponent along L = H of the bound 1/L + L^(-1/3) H^(-1/2)
BOUND_IN_DEPTH = -1 / 3  # in L alone
EPSILON = 1e-3  # of AdamW


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Path:
    """One training.

    Attributes
    ----------
    states : ndarray, shape (step, depth, B, N, d)
        Tokens at all depths.
    adjoints : ndarray, shape (step, depth, B, N, d)
        B N times the gradients of the loss in them, along the sphere where tokens stay on it.
    losses : ndarray, shape (iteration,)
        Before every step, and after the last.
    """

    states: Floats
    adjoints: Floats
    losses: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting:
    """What is trained, and how.

    Attributes
    ----------
    options : dict
        Arguments that networks and limit share.
    x : ndarray, shape (B, N, d)
        Initial tokens.
    learning_rate : float
    steps : sequence of int
        Steps after which paths are taken.
    n_threads : int
    """

    options: dict[str, Any]
    x: Floats
    learning_rate: float
    steps: Sequence[int]
    n_threads: int

    def network(self, depth: int, n_heads: int) -> AttentionNetwork:
        """Return a network."""
        return AttentionNetwork(depth=depth, n_heads=n_heads, **self.options)

    def limit(self, n_cells: int, n_heads: int) -> TrainingLimit:
        """Return the limit at some resolution."""
        return TrainingLimit(n_cells=n_cells, n_heads=n_heads, **self.options)

    def follow(self, network: AttentionNetwork | TrainingLimit, rng: np.random.SeedSequence) -> Path:
        """Return the path of a training."""
        dim = self.x.shape[2]
        loss = MeanRegression(targets=0.5 * np.eye(dim)[np.arange(len(self.x)) % dim])
        adamw = AdamW(learning_rate=self.learning_rate, epsilon=EPSILON)
        state = adamw.start(network.initial(rng))
        states, adjoints, losses = [], [], []
        for before, after in itertools.pairwise((0, *self.steps)):
            several: dict[str, Any] = {"loss": loss, "optimizer": adamw, "n_threads": self.n_threads}
            done = train(network, self.x, start=state, n_steps=after - before, **several)
            state = done.state
            losses += list(done.losses[:-1])
            result = network.gradient(
                state.parameters, self.x, objective=loss, save_states=True, n_threads=self.n_threads
            )
            assert result.states is not None
            assert result.adjoints is not None
            states.append(result.states)
            adjoint = self.x.shape[0] * self.x.shape[1] * result.adjoints
            if network.normalization == "post":
                flat = (-1, *self.x.shape[1:])
                adjoint = projected(result.states.reshape(flat), adjoint.reshape(flat)).reshape(adjoint.shape)
            adjoints.append(adjoint)
        return Path(states=np.stack(states), adjoints=np.stack(adjoints), losses=np.array([*losses, result.value]))


def squares(path: Path, limit: Path) -> Floats:
    """Return sup_ℓ (1/BN) Σ |X_ℓ − X̄(ℓ/L)|², and the same of adjoints, shape (step, kind)."""
    out = []
    for own, exact in ((path.states, limit.states), (path.adjoints, limit.adjoints)):
        stride = (exact.shape[1] - 1) // (own.shape[1] - 1)
        out.append(np.square(own - exact[:, ::stride]).sum(axis=-1).mean(axis=(2, 3)).max(axis=1))
    return np.stack(out, axis=1)


def sequences(n_tokens: int, dim: int, *, n_sequences: int, rng: np.random.SeedSequence) -> Floats:
    """Return i.i.d. uniform tokens (B, N, d); those of fewer tokens are the first of those of more."""
    return np.stack([sample_uniform(n_tokens, dim, rng=key(rng, 0, b)) for b in range(n_sequences)])


def key(sequence: np.random.SeedSequence, *numbers: int) -> np.random.SeedSequence:
    """Return the seed of one of several parts of a study."""
    return np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, *numbers))


def shared_options(
    *, dim: int, horizon: float, std: float, value_scale: float, mask: str, normalization: str
) -> dict[str, Any]:
    """Return the arguments that networks and limit share."""
    checks.choice(mask, "mask", known=("none", "causal"))
    checks.choice(normalization, "normalization", known=("post", "identity"))
    return {
        "dim": checks.integer(dim, "dim", low=2),
        "horizon": checks.number(horizon, "horizon", above=0),
        "std": checks.number(std, "std", low=0),
        "value_scale": checks.number(value_scale, "value_scale"),
        "mask": None if mask == "none" else mask,
        "normalization": normalization,
    }


def checked_steps(steps: Sequence[int], name: str) -> list[int]:
    """Return increasing numbers of steps, from 0 on."""
    values = [checks.integer(step, name, low=0) for step in checks.sequence(steps, name)]
    if not values or values[0] != 0 or any(b <= a for a, b in itertools.pairwise(values)):
        raise ValueError(f"{name} must be increasing, and begin with 0, got {values}")
    return values


def of_steps(step: int) -> str:
    """Return "1 step", or "4 steps"."""
    return "1 step" if step == 1 else f"{step} steps"


def title(what: str, study: dict[str, Any]) -> str:
    """Return the title of a dataset."""
    options = study["options"]
    parts = [f"d = {options['dim']}", f"T = {options['horizon']:g}", f"σ = {options['std']:g}"]
    parts += [f"δ = {options['value_scale']:g}", f"learning rate {study['learning_rate']:g}"]
    parts += ["causal"] if options["mask"] else []
    parts += ["no normalisation"] if options["normalization"] == "identity" else []
    return f"{what}\n{', '.join(parts)}"
