"""Attention at low temperature: distances from the limit β → ∞ and from the projected law, for general Q, K and V.

For β → ∞ and tokens everywhere on the sphere, attention under scores β⟨Ax, y⟩ takes the value at y = Ax/|Ax|, whatever
the law of the tokens is. Then ẋ = P_x V A x/|Ax|, which is the flow of M = VA on directions with a time of its own,
ds = dt/|Ax|: x_t = e^{sM} x_0/|e^{sM} x_0|. It ends in π(x) = Ex/|Ex| with E the projection onto the leading eigenspace
of M along the others.

If the eigenvalue of E is 1 and the others have the real part 1 − γ, the component across falls as e^{−γs}, and
s >= t/|A|. Tokens of a smooth law that start within ε of the directions across are a share of the order ε^k, k the
dimension of the eigenspace. For k = 1 the mean square of the distance from π(x) is then of the order e^{−γs}, and
smaller for k > 1: W2 falls at least as e^{−ct} with c = γ/(2|A|).

The law is carried by quadrature nodes of the uniform law, as in `chaosphere.MeanField`. The projected law is that of
the projections of the same nodes: another sample of it would be at a distance of the order N^{−1/(d−1)}, or at that of
the share of tokens that start on either side, whatever the flow does. What is left is that nodes resolve scores up to
β of the order N^{2/(d−1)}, fewer where tokens have left a part of the sphere. So each run is repeated with a quarter of
the nodes.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import Seed, root
from chaosphere.experiments import estimates
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.geometry import sphere
from chaosphere.geometry.laws import Uniform
from chaosphere.geometry.quadrature import Quadrature, quadrature
from chaosphere.interactions.custom import CustomInteraction
from chaosphere.interactions.protocol import Interaction
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.measures.distances.transport import wasserstein2
from chaosphere.models.sde import LimitSDE
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.reporting.digits import significant
from chaosphere.simulation.loop import simulate

_SINGULAR = (1.0, 0.7)  # of Q and K
_N_TIMES = 24
_WINDOW = (0.125, 0.5)  # of the horizon: where the rate is taken
_ROUNDING = 1e-8  # of distances: smaller ones have no rate
_BY_BETA = ("distance", "coupled", "coarse")
_MAX_DIM = 1000
_MAX_TOKENS = 10_000  # of which pairs with as many projections fit into a matrix of costs


class Matrices(NamedTuple):
    """Q, K and V of a replica, bases of the two invariant spaces of VKᵀQ as columns, the leading first, and |KᵀQ|."""

    query: Floats
    key: Floats
    value: Floats
    vectors: Floats
    norm: float


def run(
    *,
    rng: Seed,
    dim: int = 2,
    n_leading: int = 1,
    betas: Sequence[float] = (4.0, 16.0, 64.0, 256.0),
    gap: float = 2.0,
    n_tokens: int = 2000,
    horizon: float = 4.0,
    n_steps: int = 48,
    n_replicas: int = 16,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Run nodes of the uniform law under attention with random matrices, for each β and for β → ∞.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Replica r has its own matrices, the same for every number of replicas.
    dim : int
        d >= 2.
    n_leading : int
        Dimension k of the leading eigenspace of VKᵀQ, below d. With 1 the projected law is two points; with more it
        is spread over a sphere of dimension k − 1.
    betas : sequence of float
        Increasing factors β > 0 of QᵀK, at least two.
    gap : float
        Difference γ > 0 of the real parts of the eigenvalues of VKᵀQ: 1, and 1 − γ of all others.
    n_tokens : int
        Number of nodes that represent the uniform law, at least 100, and at most 10 000 if k > 1. For d >= 3 it is
        rounded, so that a quarter of it is the size of a rule, too. A larger β, dimension or time needs more nodes, as
        tokens leave a part of the sphere.
    horizon : float
        Time T.
    n_steps : int
        Steps of the Runge–Kutta scheme of order 4, at least 48.
    n_replicas : int
        Number of replicas, at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the replicas; replicas of the same study in it are not computed again.
    on_step : callable, optional
        Called after every replica.

    Returns
    -------
    xarray.Dataset
        distance (replica, beta, time), the Wasserstein distance W2 between the tokens and their projections π(x_0);
        coupled (replica, beta, time), the root of the mean square of the distance from the flow for β → ∞, token by
        token; coarse (replica, beta, time), the distance W2 with a quarter of the nodes; limit (replica, time), the
        distance W2 for β → ∞; and rate (replica), c.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the study would take more memory than this machine has, as the costs of plans
        between N nodes with n_leading above 1, or `store` holds another study.

    Examples
    --------
    >>> data = run(rng=0, betas=[8.0, 32.0], n_tokens=100, n_steps=48, n_replicas=2)
    >>> data["distance"].dims
    ('replica', 'beta', 'time')
    """
    dim = checks.integer(dim, "dim", low=2, high=_MAX_DIM)
    n_leading = checks.integer(n_leading, "n_leading", low=1, high=dim - 1)
    sizes = [checks.number(beta, "betas", above=0, high=1e6) for beta in checks.sequence(betas, "betas")]
    if len(sizes) < 2 or any(b <= a for a, b in itertools.pairwise(sizes)):
        raise ValueError(f"betas must be increasing, at least two, got {sizes}")
    gap, horizon = checks.number(gap, "gap", above=0, high=10), checks.number(horizon, "horizon", above=0, high=1e3)
    n_tokens = checks.integer(n_tokens, "n_tokens", low=100, high=_MAX_TOKENS if n_leading > 1 else checks.MAX_INTEGER)
    n_steps = checks.integer(n_steps, "n_steps", low=2 * _N_TIMES)
    n_replicas = checks.integer(n_replicas, "n_replicas", low=2)
    if gap * horizon / n_steps > 0.25:
        raise ValueError(f"n_steps must be at least 4 gap horizon = {4 * gap * horizon:g}, got {n_steps}")
    n_threads = checks.threads(n_threads)

    def check(n_nodes: int) -> None:
        check_size(
            n_tokens=2 * n_nodes,
            dim=dim,
            n_steps=n_steps,
            n_replicas=n_replicas,
            n_results=2 * _N_TIMES * n_nodes * dim,
            n_costs=n_nodes**2 if n_leading > 1 else 2 * n_nodes,
        )

    check(n_tokens)  # before there are any
    coarse = quadrature(Uniform(dim=dim), n_tokens // 4)
    n_nodes = 4 * len(coarse.weights)
    check(n_nodes)
    sequence = root(rng)
    fine = quadrature(Uniform(dim=dim), n_nodes)  # of as many, in each dimension
    facts = {
        "study": "attention at low temperature",
        "dim": dim,
        "n_leading": n_leading,
        "betas": sizes,
        "gap": gap,
        "n_nodes": n_nodes,
        "n_coarse_nodes": len(coarse.weights),
        "horizon": horizon,
        "n_steps": n_steps,
        "singular_values": list(_SINGULAR),
        "n_times": _N_TIMES,
    }
    study = netcdf.identity(facts, sequence)
    every = np.unique(np.linspace(0, n_steps, _N_TIMES + 1).round().astype(int)) * (horizon / n_steps)

    def states(attention: Interaction, rule: Quadrature) -> Tokens:
        model = LimitSDE(attention=attention, field=None, horizon=horizon, n_steps=n_steps, scheme="rk4")
        weights = rule.weights
        return simulate(model, rule.nodes, rng=0, weights=weights, save_at=every, n_threads=n_threads).states

    def measure(replica: int) -> Floats:
        seeds = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica))
        matrices = drawn(np.random.default_rng(seeds), dim=dim, gap=gap, n_leading=n_leading)
        form = matrices.key.T @ matrices.query

        def limit(x: Floats, weights: Floats) -> Floats:
            return sphere.normalize(x @ form.T) @ matrices.value.T

        def warm(beta: float, rule: Quadrature) -> Tokens:
            query = beta * matrices.query
            return states(SoftmaxAttention(query=query, key=matrices.key, value=matrices.value), rule)

        def to_projections(tokens: Tokens, rule: Quadrature) -> list[float]:
            ends, masses = projected(rule.nodes, matrices.vectors, weights=rule.weights, n_leading=n_leading)
            return [wasserstein2(x, ends, x_weights=rule.weights, y_weights=masses) for x in tokens]

        cold = states(CustomInteraction(limit), fine)
        out = np.zeros((len(sizes) + 1, 3, len(every)))
        for i, beta in enumerate(sizes):
            tokens = warm(beta, fine)
            out[i, 0] = to_projections(tokens, fine)
            out[i, 1] = np.sqrt(((tokens - cold) ** 2).sum(axis=2) @ fine.weights)
            out[i, 2] = to_projections(warm(beta, coarse), coarse)
        out[-1, 0] = to_projections(cold, fine)
        out[-1, 1] = gap / (2 * matrices.norm)
        return out

    return grow(
        measure,
        n_pieces=n_replicas,
        identity=study,
        to_dataset=lambda pieces: _to_dataset(np.stack(pieces), times=every, identity=study),
        from_dataset=_pieces,
        store=store,
        on_step=on_step,
        n_least=2,
    )


def drawn(generator: np.random.Generator, *, dim: int, gap: float, n_leading: int) -> Matrices:
    """Return random matrices for which VKᵀQ has the eigenvalue 1, k times, and others with the real part 1 − γ.

    Its invariant spaces are those of a matrix of the condition number √3 at most; it takes vectors across by 1 − γ and
    a rotation with rates up to γ. Q and K have the singular values 1 to 0.7 in random directions.
    """
    rotations = scipy.stats.ortho_group.rvs(dim, size=6, random_state=generator)
    scales = np.linspace(*_SINGULAR, dim)
    query, key = (left * scales @ right for left, right in (rotations[:2], rotations[2:4]))
    vectors = rotations[4] * np.sqrt(generator.uniform(0.5, 1.5, dim)) @ rotations[5]
    flow = np.eye(dim)
    flow[n_leading:, n_leading:] = (1.0 - gap) * np.eye(dim - n_leading) + gap * _skew(generator, dim - n_leading)
    form = key.T @ query
    value = vectors @ flow @ np.linalg.inv(vectors) @ np.linalg.inv(form)
    return Matrices(query, key, value, vectors, float(np.linalg.norm(form, 2)))


def projected(x: Tokens, vectors: Floats, *, weights: Floats, n_leading: int) -> tuple[Floats, Floats]:
    """Return the projections of weighted tokens and their weights: two points if the leading space is a line."""
    leading = vectors[:, :n_leading]
    parts = np.linalg.solve(vectors, x.T)[:n_leading]
    if n_leading > 1:
        return sphere.normalize(np.ascontiguousarray((leading @ parts).T)), weights
    end = sphere.normalize(np.ascontiguousarray(leading.T))
    share = float(weights[parts[0] > 0].sum())
    return np.concatenate([end, -end]), np.array([share, 1 - share])


def claims(dataset: Any) -> list[Claim]:
    """Return the exponents in β and the rate in time, beside their bounds."""
    betas, times = dataset["beta"].values, dataset["time"].values
    coupled, distance, limit, rate = (dataset[name].values for name in ("coupled", "distance", "limit", "rate"))
    at = int(np.argmin(abs(times - _WINDOW[0] * times[-1])))
    smallest = distance.min(axis=2)
    window = (times >= _WINDOW[0] * times[-1]) & (times <= _WINDOW[1] * times[-1]) & (limit > _ROUNDING).all(axis=0)
    slopes = np.full(len(limit), np.nan)
    if window.sum() > 1:
        slopes = np.polyfit(times[window], np.log(limit[:, window]).T, 1)[0]
    return [
        estimates.from_slope(
            f"exponent in β/log(β + 1) of the distance from the flow of β = ∞ at t = {times[at]:g}",
            (betas / np.log(betas + 1), coupled[:, :, at] ** 2),
            expected=-0.5,
            is_bound=True,
        ),
        estimates.from_slope(
            "exponent in β of the smallest W2 from the projected law", (betas, smallest**2), expected=0.0, is_bound=True
        ),
        estimates.from_interval(
            "rate of log W2 of the flow of β = ∞, plus c = γ/(2|A|)",
            stats.mean_interval(slopes + rate),
            expected=0.0,
            is_bound=True,
        ),
    ]


def table(dataset: Any) -> str:
    """Return the smallest distances and when they are reached, and the claims, as text."""
    columns = f"{'β':>8}  {'smallest W2':>11}  {'at time':>7}  {'with 1/4 of the nodes':>21}"
    lines = [dataset.attrs["title"], "", columns]
    mean, coarse = dataset["distance"].mean("replica").values, dataset["coarse"].mean("replica").values
    for beta, row, other in zip(dataset["beta"].values, mean, coarse, strict=True):
        at = int(row.argmin())
        time = float(dataset["time"][at])
        smallest, fewer = (significant(value, n_digits=4) for value in (row[at], other[at]))
        lines.append(f"{beta:8g}  {smallest:>11}  {significant(time, n_digits=3):>7}  {fewer:>21}")
    return "\n".join([*lines, "", format_claims(claims(dataset))])


def _skew(generator: np.random.Generator, dim: int) -> Floats:
    """Return a random antisymmetric matrix of norm 1, or 0 in one dimension."""
    matrix = generator.standard_normal((dim, dim))
    matrix -= matrix.T
    return np.asarray(matrix / max(float(np.linalg.norm(matrix, 2)), 1e-300))


def _pieces(dataset: Any) -> list[Floats]:
    main = np.stack([dataset[name].values for name in _BY_BETA], axis=2)
    last = np.zeros_like(main[:, :1])
    last[:, 0, 0], last[:, 0, 1] = dataset["limit"].values, dataset["rate"].values[:, None]
    return list(np.concatenate([main, last], axis=1))


def _to_dataset(pieces: Floats, *, times: Floats, identity: str) -> Any:
    study = json.loads(identity)
    parts = [f"dim {study['dim']}", f"N = {study['n_nodes']}", f"gap {study['gap']:g}", f"{study['n_steps']} steps"]
    if study["n_leading"] > 1:
        parts.insert(1, f"leading space of dim {study['n_leading']}")
    by_beta = {name: (("replica", "beta", "time"), pieces[:, :-1, i]) for i, name in enumerate(_BY_BETA)}
    return checks.extra("xarray", "io").Dataset(
        {
            **by_beta,
            "limit": (("replica", "time"), pieces[:, -1, 0]),
            "rate": (("replica",), pieces[:, -1, 1, 0]),
        },
        coords={"beta": study["betas"], "time": times},
        attrs={
            "title": f"Attention at low temperature, {len(pieces)} replicas\n{', '.join(parts)}",
            "identity": identity,
        },
    )
