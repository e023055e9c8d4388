"""Cases of the experiments on many tokens: regimes of the model, and sizes at which tokens meet the limit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.experiments.models import MakeInteraction, interaction
from chaosphere.experiments.sizes import MAX_STEPS
from chaosphere.geometry.laws import Law, Uniform, VonMisesFisher, quadrature
from chaosphere.interactions.protocol import beta_of, consensus_rate_of
from chaosphere.models.sde import LimitSDE
from chaosphere.models.transformer import Transformer
from chaosphere.noise import activations
from chaosphere.noise.mlp import MLP

# Each is stored as its mean square; the exponents are those of the error in the power that stands here.
POWERS = {"energy": 1, "mean direction": 1, "coupled particles": 2, "transport": 2}
QUANTITIES = tuple(POWERS)
CONCENTRATION = 1.0  # of the initial law
DEFAULT_NODES = {2: 256, 3: 3200}  # beyond: a Sobol sequence of 8 192
MAX_SYSTEMS = 8  # disjoint systems of one size per replica
TARGETS = 4  # points that stand for the limit in W2, per token, for d > 2; one on the circle, where their error is 1/N²
CHECKED = 1024  # tokens that also follow half as many nodes, for the nodes' own error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One regime: a model, the start of its tokens, and the sizes at which it is measured.

    Parameters
    ----------
    name : str
    model : Transformer
        A LimitSDE in a case of own noise.
    law : Law, optional
        Law of the initial tokens, which are i.i.d.; the reference is its mean-field limit.
    x0 : ndarray of float64 or float32, shape (M, d), optional
        Instead of a law: tokens on the unit sphere, the reference; the systems are drawn from them.
    tokens : sequence of int
        Increasing ladder of N, at least two.
    n_nodes : int
        Nodes of the mean-field limit; 0 with x0.
    n_transport : int
        Largest N whose distance W2 is taken; 0: none. Exact, so that N beyond some thousands is for d = 2.
    is_conditional : bool
        All replicas have the same layers: errors conditional on the noise.
    is_asymptotic : bool
        False where no exponent is claimed: constants grow with the horizon and may hide the rate.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """

    name: str
    model: Transformer | LimitSDE
    tokens: tuple[int, ...]
    law: Law | None = None
    x0: Tokens | None = None
    n_nodes: int = 0
    n_transport: int = 0
    is_conditional: bool = False
    is_asymptotic: bool = True

    def __post_init__(self) -> None:
        """Check."""
        self._check_model()
        if (self.law is None) == (self.x0 is None):
            raise ValueError("one of law and x0 must be given")
        checks.integer(self.n_nodes, "n_nodes", low=0)
        if self.x0 is not None and self.model.is_ordered:
            raise ValueError("x0 must be None under a causal mask: tokens have other places in a sample than among all")
        if self.x0 is not None:
            checks.tokens(self.x0, "x0")
            if self.x0.ndim != 2:
                raise ValueError(f"x0 must have shape (n_tokens, dim), got {self.x0.shape}")
            if self.n_nodes or self.n_transport:
                raise ValueError("n_nodes and n_transport must be 0 with x0: the law of its tokens is not known")
        elif self.n_nodes < 4:
            raise ValueError(f"n_nodes must be at least 4 with a law, got {self.n_nodes}")
        ladder = checks.ladder(self.tokens, "tokens", low=2)
        if self.x0 is not None and ladder[-1] >= len(self.x0):
            raise ValueError(f"tokens must be < {len(self.x0)}, the number of tokens in x0, got {ladder[-1]}")
        object.__setattr__(self, "tokens", ladder)

    def _check_model(self) -> None:
        if not isinstance(self.model, Transformer):
            raise TypeError(f"model must be a Transformer, got {messages.shown(self.model)}")

    @property
    def dim(self) -> int:
        """Dimension d of the tokens."""
        if self.law is not None:
            return self.law.dim
        assert self.x0 is not None
        return int(self.x0.shape[1])

    @property
    def beta(self) -> float:
        """β of the energy: that of the attention, 1 where it has none or it is 0."""
        return beta_of(self.model.attention) or 1.0

    @property
    def n_reference(self) -> int:
        """Tokens of the reference: M, or those that follow the limit."""
        return self.tokens[-1] if self.x0 is None else len(self.x0)

    @property
    def n_effective(self) -> Floats:
        """1/(1/N − 1/M) for each N; N itself against the limit."""
        n = np.array(self.tokens, dtype=np.float64)
        return n if self.x0 is None else np.asarray(1 / (1 / n - 1 / len(self.x0)))

    def n_fitted(self, quantity: str) -> Floats:
        """Return the numbers against which the exponent of a quantity is fitted."""
        return self.n_effective

    @property
    def n_label(self) -> str:
        """What the errors are drawn against."""
        return r"number of tokens $N$" if self.x0 is None else r"effective number $1\,/\,(1/N - 1/M)$"

    @property
    def check(self) -> str:
        """What the row of the reference's own error is, after a word that names it; empty where there is none."""
        return (
            "" if self.law is None else "nodes: error of the limit itself, from half as many nodes under the same noise"
        )

    def n_systems(self, quantity: str) -> tuple[int, ...]:
        """Return the number of disjoint systems of each N in a replica of which a quantity is taken."""
        most = [min(self.n_reference // n, MAX_SYSTEMS) for n in self.tokens]
        if quantity == "transport":
            most = [min(s, self.n_transport // n) for s, n in zip(most, self.tokens, strict=True)]
        return tuple(most)

    @property
    def pairs(self) -> float:
        """Pair interactions of attention in one replica."""
        if self.model.attention is None:
            return 0.0
        n_targets = sum(self._n_targets(n) for n, s in self._transported() if s)
        share = 0.5 if self.model.is_ordered else 1.0  # of all pairs
        per_step = share * sum(s * n**2 for s, n in zip(self.n_systems("energy"), self.tokens, strict=True))
        if self.x0 is not None:
            per_step += len(self.x0) ** 2
        else:
            per_step += self.n_nodes * (self.n_nodes + self.n_reference + n_targets)
            per_step += self.n_nodes // 2 * (self.n_nodes // 2 + min(CHECKED, self.n_reference))
        return float(per_step) * self.model.n_steps

    @property
    def n_moved(self) -> int:
        """Tokens that a step of one replica moves: systems, reference and, against the limit, nodes and targets."""
        n = sum(s * size for s, size in zip(self.n_systems("energy"), self.tokens, strict=True)) + self.n_reference
        if self.x0 is not None:
            return n
        n += self.n_nodes + self.n_nodes // 2 + min(CHECKED, self.n_reference)
        return n + sum(self._n_targets(size) for size, s in self._transported() if s)

    @property
    def n_layer_numbers(self) -> int:
        """Random numbers of a layer."""
        assert isinstance(self.model, Transformer)
        return self.model.mlp.width * (2 * self.dim + 1) if isinstance(self.model.mlp, MLP) else 0

    def facts(self, *, with_steps: bool, with_rate: bool) -> list[str]:
        """Return what a title says of the model."""
        assert isinstance(self.model, Transformer)
        parts = [f"L = {self.model.depth}"] if with_steps else []
        parts += attention_facts(self.model, with_rate=with_rate)
        if isinstance(mlp := self.model.mlp, MLP):
            parts += [f"{activations.get(mlp.activation).name}, m = {mlp.width}, σ_U = {mlp.bias_std:g}"]
        return parts

    def targets(self) -> dict[int, tuple[Floats, Floats]]:
        """Return for each N with a transport distance the points that stand for the initial law, and their weights."""
        if self.law is None:
            return {}
        rules = {n: quadrature(self.law, self._n_targets(n)) for n, s in self._transported() if s}
        return {n: (rule.nodes, rule.weights) for n, rule in rules.items()}

    def _n_targets(self, n_tokens: int) -> int:
        return n_tokens if self.dim == 2 else TARGETS * n_tokens

    def _transported(self) -> Iterator[tuple[int, int]]:
        return zip(self.tokens, self.n_systems("transport"), strict=True)

    def expected(self, quantity: str) -> float:
        """Return the exponent in N of the error; for transport that of a smooth density on a (d − 1)-sphere.

        A factor log N, divided out, is not part of it; see `has_log`. None is known, nan, for d = 3 under a causal
        mask: there log N / N is hidden by the first tokens, which see few, at the sizes for which W2 can be taken.
        """
        if quantity != "transport":
            return -0.5 * POWERS[quantity]
        if self.model.is_ordered and self.dim == 3:
            return math.nan
        return -2 / max(self.dim - 1, 2)

    def has_log(self, quantity: str) -> bool:
        """Whether the expected rate has a factor log N.

        The transport distance has it for d = 3. So have coupled particles under a causal mask: the i-th token sees i
        tokens, its square error falls as 1/i, and the mean of these over N tokens is of order log N / N.
        """
        if quantity == "transport":
            return self.dim == 3
        return quantity == "coupled particles" and self.model.is_ordered

    def log_factor(self, quantity: str) -> Floats:
        """Return the logarithm in the expected rate, or ones."""
        return np.log(self.tokens) if self.has_log(quantity) else np.ones(len(self.tokens))

    def theorem_rate(self) -> Floats:
        """Return r_d(N): N^{−1/2}, times log(1 + N) for d = 4, N^{−2/d} beyond (arXiv:2604.26898); NaN under a mask."""
        if self.model.is_ordered:
            return np.full(len(self.tokens), np.nan)
        n = np.array(self.tokens, dtype=np.float64)
        if self.dim > 4:
            return np.asarray(n ** (-2 / self.dim))
        return np.asarray(n**-0.5 * (np.log1p(n) if self.dim == 4 else 1.0))


def attention_facts(model: Transformer | LimitSDE, *, with_rate: bool) -> list[str]:
    """Return what a title says of the horizon and the attention."""
    parts, attention = [f"T = {model.horizon:g}"], model.attention
    if attention is not None:
        parts += [type(attention).__name__]
    beta, rate = beta_of(attention), consensus_rate_of(attention)
    if beta is not None:
        parts += [f"β = {beta:g}"]
        if rate is not None and with_rate:
            parts += [f"δ = {rate:g}"]
    return parts


def start_law(dim: int, concentration: float) -> Law:
    """Return the uniform law, or for concentration c > 0 the von Mises–Fisher law around the first axis."""
    checks.integer(dim, "dim", low=2)
    if checks.number(concentration, "concentration", low=0) == 0:
        return Uniform(dim=dim)
    return VonMisesFisher(mean_direction=(1.0,) + (0.0,) * (dim - 1), concentration=concentration)


def rates(
    model: Transformer,
    *,
    dims: Sequence[int] = (2, 3, 4, 5),
    tokens: Sequence[int] | None = None,
    n_nodes: int | None = None,
    concentration: float = CONCENTRATION,
    make: MakeInteraction | None = None,
) -> list[Case]:
    """Return one case per dimension: the rates in N.

    Parameters
    ----------
    model : Transformer
    dims : sequence of int
        Dimensions d of the tokens.
    tokens : sequence of int, optional
        Increasing numbers of tokens N; by default 64 … 32768, to 4096 for d > 3.
    n_nodes : int, optional
        Number of nodes of the mean-field limit; by default 256 for d = 2, 3200 for d = 3 and 8192 for d > 3.
    concentration : float
        Concentration of the initial von Mises-Fisher law; 0: the uniform law.
    make : callable, optional
        Makes the interaction of each dimension, instead of that of the model.

    Notes
    -----
    W2 is taken up to N = 512 for d >= 3. Under the uniform law and weak noise the energy is near its maximum, where its
    error falls faster than N^{−1/2}.
    """
    cases, sizes = [], None if tokens is None else tuple(checks.sequence(tokens, "tokens"))
    for dim in checks.sequence(dims, "dims"):
        ladder = sizes if sizes is not None else tuple(64 * 2**k for k in range(10 if dim <= 3 else 7))
        cases.append(
            Case(
                name=f"d = {dim}",
                model=model if make is None else replace(model, attention=make(dim=dim)),
                law=start_law(dim, concentration),
                tokens=ladder,
                n_nodes=DEFAULT_NODES.get(dim, 8192) if n_nodes is None else n_nodes,
                n_transport=ladder[-1] if dim == 2 else 512,
            )
        )
    return cases


def own_tokens(model: Transformer, x0: Tokens, *, tokens: Sequence[int] | None = None) -> list[Case]:
    """Return the case of the user's tokens x0 (M, d); the default ladder is 64, 128, … up to M/2."""
    if tokens is None:
        tokens = [64 * 2**k for k in range(30) if 128 * 2**k <= len(x0)]
    return [Case(name="x0", model=model, x0=x0, tokens=tuple(checks.sequence(tokens, "tokens")))]


def regimes(
    model: Transformer, *, concentration: float = CONCENTRATION, make: MakeInteraction | None = None
) -> list[Case]:
    """Return cases on the circle: attraction, none and repulsion, with noise and without, conditional on it, and steep.

    Parameters
    ----------
    model : Transformer
        Its attention must have a β, unless `make` is given.
    concentration : float
        Of the initial law.
    make : callable, optional
        Makes the interaction for each δ, and for β = 4; by default softmax attention at the model's β.

    Raises
    ------
    ValueError
        If the model has no attention with QᵀK = βI or no MLP.
    """
    beta = beta_of(model.attention)
    if model.mlp is None or (make is None and beta is None):
        raise ValueError("model must have an attention with QᵀK = βI and an MLP: both are switched here")
    if make is None:
        make = partial(interaction, beta=1.0 if beta is None else beta)
    forces = {"attraction": make(dim=2, value_scale=1.0), "no attention": None}
    forces["repulsion"] = make(dim=2, value_scale=-1.0)
    base = Case(
        name="attraction, quenched noise",
        model=replace(model, attention=forces["attraction"]),
        law=start_law(2, concentration),
        tokens=tuple(64 * 2**k for k in range(6)),
        n_nodes=256,
        n_transport=2048,
        is_conditional=True,
    )
    # Separatrices between clusters make the flow steep; the time step stays that of the other cases.
    depth = round(model.depth * 3 / model.horizon)
    if not 1 <= depth <= MAX_STEPS:
        raise ValueError(
            f"depth and horizon must give 1 to {MAX_STEPS} layers of the same length over the time 3, got depth = "
            f"{model.depth} and horizon = {model.horizon:g}"
        )
    steep = Transformer(
        attention=make(dim=2, beta=4.0, value_scale=1.0),
        mlp=model.mlp,
        depth=depth,
        horizon=3.0,
    )
    cases = [
        replace(
            base, name=f"{force}, {noise}", model=replace(model, attention=attention, mlp=mlp), is_conditional=False
        )
        for force, attention in forces.items()
        for noise, mlp in (("noise", model.mlp), ("no noise", None))
        if attention is not None or mlp is not None
    ]
    last = replace(base, name="β = 4, T = 3", model=steep, n_nodes=1024, is_conditional=False, is_asymptotic=False)
    return [*cases, base, last]


def depths(
    model: Transformer, *, depths: Sequence[int] = (8, 16, 32, 64, 128), concentration: float = CONCENTRATION
) -> list[Case]:
    """Return cases on the circle over the depth L at one horizon: the rates hold uniformly in L."""
    return [
        Case(
            name=f"L = {depth}",
            model=replace(model, depth=depth),
            law=start_law(2, concentration),
            tokens=tuple(64 * 2**k for k in range(6)),
            n_nodes=256,
            n_transport=2048,
        )
        for depth in sorted(checks.sequence(depths, "depths"))
    ]
