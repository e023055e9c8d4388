"""Attention at low temperature, on the circle: distances from the limit β → ∞ and from the projected law.

For β → ∞ and tokens everywhere on the sphere, attention under scores β⟨Ax, y⟩ takes the value at y = Ax/|Ax|, whatever
the law of the tokens is. Then ẋ = P_x V A x/|Ax|, which is the flow of M = VA on directions with a time of its own,
ds = dt/|Ax|: x_t = e^{sM} x_0/|e^{sM} x_0|. It ends in π(x) = Ex/|Ex| with E the projection onto the leading eigenspace
of M along the others.

For two real eigenvalues with the difference γ the component across falls as e^{−γs}, and s >= t/|A|. Tokens of a
smooth law that start within ε of the direction across are a share of the order ε, so that the mean square of the
distance from π(x) is of the order e^{−γs}: W2 falls at least as e^{−ct} with c = γ/(2|A|).
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import Seed, root
from chaosphere.experiments import estimates
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_memory
from chaosphere.geometry import sphere
from chaosphere.interactions.custom import CustomInteraction
from chaosphere.interactions.protocol import Interaction
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.measures.distances.transport import wasserstein2
from chaosphere.models.transformer import Transformer
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.simulation.loop import simulate

_SINGULAR = (1.0, 0.7)  # of Q and K
_N_TIMES = 24
_WINDOW = (0.25, 0.75)  # of the horizon: where the rate is taken


class Matrices(NamedTuple):
    """Q, K and V of a replica, the eigenvectors of VKᵀQ as columns, the leading one first, and |KᵀQ|."""

    query: Floats
    key: Floats
    value: Floats
    vectors: Floats
    norm: float


def run(
    *,
    rng: Seed,
    betas: Sequence[float] = (4.0, 16.0, 64.0, 256.0),
    gap: float = 2.0,
    n_tokens: int = 2000,
    horizon: float = 4.0,
    n_steps: int = 160,
    n_replicas: int = 8,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Run evenly spaced tokens on the circle under attention with random matrices, for each β and for β → ∞.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Replica r has its own matrices, the same for every number of replicas.
    betas : sequence of float
        Increasing factors β > 0 of QᵀK, at least two.
    gap : float
        Difference γ > 0 of the eigenvalues of VKᵀQ, which are 1 and 1 − γ.
    n_tokens : int
        Tokens, at least 100. The larger β and the time are, the more it takes: tokens leave a part of the circle.
    horizon : float
        Time T.
    n_steps : int
        Steps, at least 48.
    n_replicas : int
        At least 2.
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
        token; limit (replica, time), the distance W2 for β → ∞; and rate (replica), c.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Examples
    --------
    >>> data = run(rng=0, betas=[8.0, 32.0], n_tokens=100, n_steps=48, n_replicas=2)
    >>> data["distance"].dims
    ('replica', 'beta', 'time')
    """
    sizes = [checks.number(beta, "betas", above=0, high=1e6) for beta in betas]
    if len(sizes) < 2 or any(b <= a for a, b in itertools.pairwise(sizes)):
        raise ValueError(f"betas must be increasing, at least two, got {sizes}")
    gap, horizon = checks.number(gap, "gap", above=0, high=10), checks.number(horizon, "horizon", above=0, high=1e3)
    n_tokens, n_steps, n_replicas = (
        checks.integer(value, name, low=low)
        for value, name, low in (
            (n_tokens, "n_tokens", 100),
            (n_steps, "n_steps", 2 * _N_TIMES),
            (n_replicas, "n_replicas", 2),
        )
    )
    if gap * horizon / n_steps > 0.25:
        raise ValueError(f"n_steps must be at least 4 gap horizon = {4 * gap * horizon:g}, got {n_steps}")
    n_threads = checks.threads(n_threads)
    check_memory(n_tokens=n_tokens, dim=2)
    sequence = root(rng)
    facts = {
        "study": "attention at low temperature",
        "betas": sizes,
        "gap": gap,
        "n_tokens": n_tokens,
        "horizon": horizon,
        "n_steps": n_steps,
    }
    study = netcdf.identity(facts, sequence)
    every = np.unique(np.linspace(0, n_steps, _N_TIMES + 1).round().astype(int)) * (horizon / n_steps)
    start = _on_circle(2 * np.pi * (np.arange(n_tokens) + 0.5) / n_tokens)

    def states(attention: Interaction) -> Tokens:
        model = Transformer(attention=attention, mlp=None, depth=n_steps, horizon=horizon)
        return simulate(model, start, rng=0, save_at=every, n_threads=n_threads).states

    def measure(replica: int) -> Floats:
        seeds = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica))
        matrices = drawn(np.random.default_rng(seeds), gap=gap)
        form = matrices.key.T @ matrices.query

        def limit(x: Floats, weights: Floats) -> Floats:
            return sphere.normalize(x @ form.T) @ matrices.value.T

        cold = states(CustomInteraction(limit))
        ends, masses = projected(start, matrices.vectors)
        out = np.zeros((len(sizes), 2, len(every)))
        for i, beta in enumerate(sizes):
            query = beta * matrices.query
            warm = states(SoftmaxAttention(query=query, key=matrices.key, value=matrices.value))
            out[i, 0] = [wasserstein2(x, ends, y_weights=masses) for x in warm]
            out[i, 1] = np.sqrt(((warm - cold) ** 2).sum(axis=2).mean(axis=1))
        limits = [wasserstein2(x, ends, y_weights=masses) for x in cold]
        return np.concatenate([out, [[limits, np.full(len(every), gap / (2 * matrices.norm))]]])

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


def drawn(generator: np.random.Generator, *, gap: float) -> Matrices:
    """Return random matrices with the eigenvalues 1 and 1 − γ of VKᵀQ, whose eigenvectors are at 60° to 120°."""
    turns = [_rotation(angle) for angle in generator.uniform(0, 2 * np.pi, 4)]
    query, key = (turns[2 * i] @ np.diag(_SINGULAR) @ turns[2 * i + 1] for i in range(2))
    angle, opening = generator.uniform(0, 2 * np.pi), generator.uniform(np.pi / 3, 2 * np.pi / 3)
    vectors = _on_circle(np.array([angle, angle + opening])).T
    form = key.T @ query
    product = vectors @ np.diag([1.0, 1.0 - gap]) @ np.linalg.inv(vectors)
    value = product @ np.linalg.inv(form)
    return Matrices(query, key, value, vectors, float(np.linalg.norm(form, 2)))


def projected(x: Tokens, vectors: Floats) -> tuple[Floats, Floats]:
    """Return ± the leading eigenvector, shape (2, 2), and the shares of the tokens that project to each."""
    share = float((np.linalg.solve(vectors, x.T)[0] > 0).mean())
    return np.stack([vectors[:, 0], -vectors[:, 0]]), np.array([share, 1 - share])


def claims(dataset: Any) -> list[Claim]:
    """Return the exponents in β and the rate in time, beside their bounds."""
    betas, times = dataset["beta"].values, dataset["time"].values
    coupled, distance, limit, rate = (dataset[name].values for name in ("coupled", "distance", "limit", "rate"))
    at = int(np.argmin(abs(times - _WINDOW[0] * times[-1])))
    smallest = distance.min(axis=2)
    window = (times >= _WINDOW[0] * times[-1]) & (times <= _WINDOW[1] * times[-1])
    slopes = np.polyfit(times[window], np.log(limit[:, window]).T, 1)[0]
    return [
        estimates.from_slope(
            f"exponent in β of the distance from the flow of β = ∞ at t = {times[at]:g}",
            (betas, coupled[:, :, at] ** 2),
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
    lines = [dataset.attrs["title"], "", f"{'β':>8}  {'smallest W2':>11}  {'at time':>7}"]
    mean = dataset["distance"].mean("replica")
    for beta, row in zip(dataset["beta"].values, mean.values, strict=True):
        at = int(row.argmin())
        lines.append(f"{beta:8g}  {row[at]:11.4f}  {float(dataset['time'][at]):7.2f}")
    return "\n".join([*lines, "", format_claims(claims(dataset))])


def _on_circle(angle: Floats) -> Tokens:
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _rotation(angle: float) -> Floats:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def _pieces(dataset: Any) -> list[Floats]:
    both = np.stack([dataset["distance"].values, dataset["coupled"].values], axis=2)
    limits = dataset["limit"].values
    last = np.stack([limits, np.broadcast_to(dataset["rate"].values[:, None], limits.shape)], axis=1)
    return list(np.concatenate([both, last[:, None]], axis=1))


def _to_dataset(pieces: Floats, *, times: Floats, identity: str) -> Any:
    study = json.loads(identity)
    parts = [f"N = {study['n_tokens']}", f"gap {study['gap']:g}", f"{study['n_steps']} steps"]
    return checks.extra("xarray", "io").Dataset(
        {
            "distance": (("replica", "beta", "time"), pieces[:, :-1, 0]),
            "coupled": (("replica", "beta", "time"), pieces[:, :-1, 1]),
            "limit": (("replica", "time"), pieces[:, -1, 0]),
            "rate": (("replica",), pieces[:, -1, 1, 0]),
        },
        coords={"beta": study["betas"], "time": times},
        attrs={
            "title": f"Attention at low temperature on the circle, {len(pieces)} replicas\n{', '.join(parts)}",
            "identity": identity,
        },
    )
