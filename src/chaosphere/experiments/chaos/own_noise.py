"""Propagation of chaos where each token has noise of its own: the cases, and one replica of one.

The coupled copy X̄^i of a token X^i has its start, its own noise and the common noise, and moves in the mean field of
infinitely many tokens. Systems and copies take the same steps. Where the mean field has a solver for its density, that
is the reference: on the circle `CircleDensity`, beyond it, without a common noise, `AxisymmetricDensity`. Elsewhere a
system of M tokens stands for infinitely many; its own error is of the same kind as that of N tokens and independent of
it, so that errors are fitted against the effective number 1/(1/N + 1/M).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from chaosphere import measures
from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise, Seed, Stream
from chaosphere.experiments.cases import CONCENTRATION, TARGETS, Case, attention_facts, start_law
from chaosphere.experiments.chaos.references import Reference, attention_plan, pair_energy, reference_of
from chaosphere.experiments.chaos.replica import TRANSPORT_TIMES, Measured, follow
from chaosphere.experiments.models import MakeInteraction
from chaosphere.experiments.pieces import OnStep
from chaosphere.interactions.protocol import Interaction, InteractionPlan
from chaosphere.models.axisymmetric import AxisymmetricDensity
from chaosphere.models.densities import CircleDensity
from chaosphere.models.schemes import SCHEMES, Flow
from chaosphere.models.sde import LimitSDE
from chaosphere.models.transformer import Transformer
from chaosphere.noise.gaussian import GaussianField
from chaosphere.noise.mlp import MLP

_SIZES = {2: 6, 3: 6}  # of the ladder 64, 128, …; 5 in more dimensions
_N_MODES = {2: 256}  # of a density; 48 beyond the circle
_SOURCES = 4  # tokens of the system that stands for infinitely many, over the largest N


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OwnNoiseCase(Case):
    """A case whose tokens have noise of their own; `n_nodes` are modes of the density, or the tokens M instead of it.

    Raises
    ------
    TypeError, ValueError
        Also if the interaction has no drift of such densities.
    """

    model: LimitSDE

    def __post_init__(self) -> None:
        """Check."""
        Case.__post_init__(self)
        self.density(self.model)

    def _check_model(self) -> None:
        if not isinstance(self.model, LimitSDE):
            raise TypeError(f"model must be a LimitSDE, got {messages.shown(self.model)}")
        if self.model.is_ordered:
            raise ValueError("interaction must have no mask where tokens have noise of their own")
        if self.law is None or self.model.n_steps % 2:
            raise ValueError("a case of own noise must have a law and an even number of steps")

    @property
    def has_density(self) -> bool:
        """Whether the limit is solved for its density."""
        return self.dim == 2 or self.model.field is None

    def density(self, model: LimitSDE) -> CircleDensity | AxisymmetricDensity | None:
        """Return the solver for the density of a model in place of this one; None where there is none."""
        assert self.law is not None
        if not self.has_density:
            return None
        solver = CircleDensity if self.dim == 2 else AxisymmetricDensity
        return solver(model=model, law=self.law, n_modes=self.n_nodes)

    def reference(self, model: LimitSDE, *, layers: Seed, n_threads: int) -> Reference:
        """Return what stands for infinitely many tokens of a model in place of this one."""
        return reference_of(
            self.density(model),
            model,
            n_sources=self.n_nodes,
            shape=Shape(n_tokens=self.n_reference, dim=self.dim),
            layers=layers,
            n_threads=n_threads,
        )

    @property
    def n_effective(self) -> Floats:
        """N, or 1/(1/N + 1/M)."""
        n = np.array(self.tokens, dtype=np.float64)
        return n if self.has_density else np.asarray(1 / (1 / n + 1 / self.n_nodes))

    def expected(self, quantity: str) -> float:
        """Return the exponent in N of the error; see `Case`.

        None is known, nan, for the transport distance for d >= 5. Beside that of independent tokens, N^{−2/(d−1)}, it
        has parts of order 1/N from what tokens do to one another, and the largest of three times is larger than each,
        more so for few tokens. At the sizes for which W2 can be taken these make the slope steeper, by about 0.03 for
        d = 5. The bound of the theorem is claimed there as elsewhere.
        """
        return math.nan if quantity == "transport" and self.dim >= 5 else Case.expected(self, quantity)

    def n_fitted(self, quantity: str) -> Floats:
        """Return the effective number; for transport N, in proportion to which are the points that it is taken to."""
        return np.array(self.tokens, dtype=np.float64) if quantity == "transport" else self.n_effective

    @property
    def n_label(self) -> str:
        """What the errors are drawn against."""
        return r"number of tokens $N$" if self.has_density else r"effective number $1\,/\,(1/N + 1/M)$"

    @property
    def check(self) -> str:
        """What the row of the reference's own error is."""
        return "steps: change of the difference from the density, with steps twice as long under the same noise"

    @property
    def pairs(self) -> float:
        """Pair interactions of attention in one replica."""
        if self.model.attention is None:
            return 0.0
        per_step = sum(s * n**2 for s, n in zip(self.n_systems("energy"), self.tokens, strict=True))
        if not self.has_density:
            per_step += self.n_nodes * (self.n_nodes + self.n_reference)
        return float(per_step) * self.model.n_steps * SCHEMES[self.model.scheme].evaluations

    @property
    def n_moved(self) -> int:
        """Tokens that a step of one replica moves."""
        n = sum(s * size for s, size in zip(self.n_systems("energy"), self.tokens, strict=True))
        return n + 2 * self.n_reference + (0 if self.has_density else self.n_nodes)

    @property
    def n_layer_numbers(self) -> int:
        """Random numbers of a layer: there are none."""
        return 0

    def facts(self, *, with_steps: bool, with_rate: bool) -> list[str]:
        """Return what a title says of the model."""
        parts = [f"τ = {self.model.temperature:g}"]
        if with_steps:
            parts += [f"{self.model.n_steps} steps"]
        return parts + attention_facts(self.model, with_rate=with_rate)


def cases(
    model: Transformer,
    *,
    temperature: float,
    dims: Sequence[int] = (2, 3, 4, 5),
    tokens: Sequence[int] | None = None,
    n_steps: int = 64,
    n_nodes: int | None = None,
    concentration: float = CONCENTRATION,
    make: MakeInteraction | None = None,
) -> list[OwnNoiseCase]:
    """Return two cases per dimension: own noise alone, and with the common noise of the limit of deep, wide networks.

    Parameters
    ----------
    model : Transformer
        Its attention, horizon and the law of its layers are taken.
    temperature : float
        τ > 0 of the noise that each token has for itself.
    dims : sequence of int
        Dimensions d of the tokens.
    tokens : sequence of int, optional
        Increasing numbers of tokens N; by default 64 … 2048, to 1024 for d > 3.
    n_steps : int
        Steps of the limiting equation, even; by the scheme "heun".
    n_nodes : int, optional
        Modes of a density; by default 256 on the circle and 48 beyond.
    concentration : float
        Concentration of the initial von Mises-Fisher law; 0: the uniform law.
    make : callable, optional
        Makes the interaction of each dimension, instead of that of the model.
    """
    temperature = checks.number(temperature, "temperature", above=0, high=100)
    n_steps = checks.integer(n_steps, "n_steps", low=2)
    if n_steps % 2:
        raise ValueError(f"n_steps must be even, got {n_steps}: half of them measure the error of the steps")
    rows, sizes = [], None if tokens is None else tuple(checks.sequence(tokens, "tokens"))
    for dim in checks.sequence(dims, "dims"):
        ladder = sizes if sizes is not None else tuple(64 * 2**k for k in range(_SIZES.get(dim, 5)))
        n_modes = _N_MODES.get(dim, 48) if n_nodes is None else n_nodes
        attention = cast(Interaction | None, model.attention if make is None else make(dim=dim))
        equation = LimitSDE(
            attention=attention,
            field=None,
            horizon=model.horizon,
            n_steps=n_steps,
            scheme="heun",
            temperature=temperature,
        )
        fields: dict[str, GaussianField | None] = {"own noise": None}
        if isinstance(model.mlp, MLP):
            fields["own and common noise"] = GaussianField(kernel=model.mlp.kernel(dim), method="spectral")
        for name, field in fields.items():
            has_density = dim == 2 or field is None
            rows.append(
                OwnNoiseCase(
                    name=f"d = {dim}, {name}",
                    model=replace(equation, field=field),
                    law=start_law(dim, concentration),
                    tokens=ladder,
                    n_nodes=n_modes if has_density else _SOURCES * ladder[-1],
                    n_transport=ladder[-1] if dim == 2 else 512,
                )
            )
    return rows


def measure(case: OwnNoiseCase, *, tokens: Seed, layers: Seed, n_threads: int, on_step: OnStep) -> Measured:
    """Run systems and copies in lockstep and take the errors."""
    begin = time.perf_counter()
    assert case.law is not None
    reference = case.reference(case.model, layers=layers, n_threads=n_threads)
    x = case.law.sample(case.n_reference + reference.n_sources, rng=tokens)
    copies = np.concatenate([x[case.n_reference :], x[: case.n_reference]])[None]
    n_systems = case.n_systems("energy")
    systems = [x[: s * n].reshape(s, n, -1) for n, s in zip(case.tokens, n_systems, strict=True)]
    plans = [attention_plan(case.model, Shape.of(system)) for system in systems]
    run = _Steps(case.model, case.dim, layers=layers, n_threads=n_threads)
    paths = [np.zeros(system.shape[:2]) for system in systems]
    transport = {n: np.zeros(s) for n, s in zip(case.tokens, case.n_systems("transport"), strict=True) if s}
    moments = set(np.linspace(0, case.model.n_steps, TRANSPORT_TIMES).round().astype(int))
    halved, coarse_copies, pending = None, copies, np.zeros(0)
    if case.has_density:
        halved = case.reference(case.model.coarsen(2), layers=layers, n_threads=n_threads)
        coarse = _Steps(case.model.coarsen(2), case.dim, layers=layers, n_threads=n_threads)
    own = Noise(tokens)
    for step in range(case.model.n_steps + 1):
        if step > 0:
            normals = own.draws(Stream.IDIOSYNCRATIC, step - 1).normals(x.shape)[0][0]
            of_copies = np.concatenate([normals[case.n_reference :], normals[: case.n_reference]])[None]
            systems = [
                run(y, plan, normals=normals[: y.shape[0] * y.shape[1]].reshape(y.shape), index=step - 1)
                for y, plan in zip(systems, plans, strict=True)
            ]
            copies = run(copies, reference.interaction, normals=of_copies, index=step - 1)
            if halved is not None and step % 2:
                pending = of_copies
            elif halved is not None:
                both = math.sqrt(0.5) * (pending + of_copies)
                coarse_copies = coarse(coarse_copies, halved.interaction, normals=both, index=step // 2 - 1)
            if on_step is not None:
                on_step()
        follow(paths, systems, copies[0, reference.n_sources :])
        if step in moments:
            _transport(case, reference.target, systems=systems, copies=copies[0], step=step, largest=transport)

    squares = np.full((4, len(systems)), np.nan)
    energy, mean = reference.values(-1, copies[0], case.beta)
    squares[0] = [np.mean((pair_energy(y, case.beta, n_threads=n_threads) - energy) ** 2) for y in systems]
    squares[1] = [np.mean(((measures.mean_vector(y) - mean) ** 2).sum(axis=1)) for y in systems]
    squares[2] = [path.mean() for path in paths]
    squares[3, : len(transport)] = [values.mean() for values in transport.values()]
    node_squares = np.full(4, np.nan)
    if halved is not None:
        coarse_energy, coarse_mean = halved.values(-1, coarse_copies[0], case.beta)
        gaps = [measures.energy(y[0], case.beta, n_threads=n_threads) for y in (copies, coarse_copies)]
        node_squares[0] = (gaps[0] - energy - gaps[1] + coarse_energy) ** 2
        shift = measures.mean_vector(copies[0]) - mean - measures.mean_vector(coarse_copies[0]) + coarse_mean
        node_squares[1] = shift @ shift
    return Measured(squares=squares, node_squares=node_squares, seconds=time.perf_counter() - begin)


class _Steps:
    """Takes steps of an equation with the own noise that it is given."""

    def __init__(self, model: LimitSDE, dim: int, *, layers: Seed, n_threads: int) -> None:
        self.scheme, self.n_threads = SCHEMES[model.scheme], n_threads
        self.step_size, self.noise = model.horizon / model.n_steps, Noise(layers)
        self.own_scale = math.sqrt(2 * model.temperature * self.step_size)
        self.plan = model.plan(Shape(n_tokens=2, dim=dim))

    def __call__(self, x: Tokens, interaction: InteractionPlan | None, *, normals: Floats, index: int) -> Tokens:
        flow = Flow(
            interaction=interaction,
            increment=self.plan.increment(index, self.noise),
            own=self.own_scale * normals,
            step_size=self.step_size,
            n_threads=self.n_threads,
            time=index * self.step_size,
            step=index,
        )
        step: Tokens = self.scheme.step(x, flow)
        return step


def _transport(
    case: OwnNoiseCase,
    target: Callable[[int, Tokens, int], tuple[Floats, Floats | None]],
    *,
    systems: Sequence[Tokens],
    copies: Tokens,
    step: int,
    largest: dict[int, Floats],
) -> None:
    """Raise the largest W2² so far of every system to the present one."""
    distance = measures.circular_wasserstein2 if case.dim == 2 else measures.wasserstein2
    for n, system in zip(case.tokens, systems, strict=True):
        if n not in largest:
            continue
        points, weights = target(step, copies, n if case.dim == 2 else TARGETS * n)
        for k in range(len(largest[n])):
            largest[n][k] = max(largest[n][k], distance(system[k], points, y_weights=weights) ** 2)
