"""Runs of N tokens on the circle and of their limit under the same noise, and E sup_{t ≤ T} W2² as T grows.

The measure μ_t is the law of a token conditional on the common noise. Tokens at n quantiles of the initial law, many
more than N, discretise it: under the same noise they solve its equation exactly, from a start within W2 = O(1/n) of
μ_0. Half as many quantiles show what is left of that error. W2 is that of the arc length, and the supremum is over the
recorded times.

Two facts say what to expect. First, on the circle the angle θ between two tokens under an isotropic noise alone is a
martingale, so that from a small angle ε it reaches a > ε before 0 with probability ε/a, and

    E sup_t θ² = ε² + ∫_ε^π 2a (ε/a) da = 2πε − ε².

When all N tokens are at one point and the limit at another, neither feels attention. So E sup over all times is
bounded, but by a multiple of ε, that is of N^{−1/2}, the theorem's rate; over short times it is of the order 1/N.

Second, without noise the uniform law is stationary. Its harmonics of degree l have E|m_l|² = 1/N in a sample of N
tokens, and grow at the rates σ_l (`theory.growth_rate`). To leading order

    E W2² = (2/N) Σ_l e^{2 σ_l t} / l²,

as long as these harmonics are small. Where the first of them grows fastest, for β < 1.044, all tokens come to one
point, where W2² = π²/3 for every N: the limit stays uniform. For larger β they may come to several clusters, which stay
for times that grow exponentially with β.

Repulsion may keep the tokens from one point. Then nothing here says that E sup is bounded: the mean of the square of a
small distance may grow exponentially, as it does on the circle under noise alone, where a typical one falls.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import Seed, root
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.experiments.uniform_in_time.linear import growth_rates, linear_theory
from chaosphere.experiments.uniform_in_time.verdicts import claims, table
from chaosphere.geometry.laws import Law, Uniform, VonMisesFisher
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.measures.distances.line import circular_wasserstein2
from chaosphere.models.sde import LimitSDE
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.gaussian import GaussianField
from chaosphere.reporting import netcdf
from chaosphere.simulation.loop import simulate

__all__ = ["CASES", "claims", "run", "table"]

_CONCENTRATION = 1.0  # of the start where it is not uniform
_N_TIMES = 40
_N_GRID = 2**16 + 1  # angles at which a density is summed
_MAX_GROWTH = 28.0  # of its logarithm; rounding of 1e-16 is then 1e-4
_MAX_STEP = 0.1  # for a noise with κ(1) = 1


class _Case(NamedTuple):
    """A regime: the sign of V, and whether there is noise and the start is uniform."""

    sign: int
    has_noise: bool
    is_uniform: bool = False


CASES = {
    "no noise": _Case(1, has_noise=False),
    "no noise, uniform start": _Case(1, has_noise=False, is_uniform=True),
    "noise alone": _Case(0, has_noise=True),
    "noise, attraction": _Case(1, has_noise=True),
    "noise, repulsion": _Case(-1, has_noise=True),
}


def run(
    *,
    rng: Seed,
    beta: float = 1.0,
    repulsion: float = 1.0,
    tokens: Sequence[int] = (16, 64, 256),
    n_nodes: int = 2048,
    horizon: float = 40.0,
    n_steps: int = 400,
    n_systems: int = 2,
    n_replicas: int = 128,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Run N tokens and their limit under the same noise, with attraction, without attention and with repulsion.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Replica r has its own noise and tokens, the same for every number of replicas.
    beta : float
        β of attention, in (0, 100].
    repulsion : float
        |δ| of the case with repulsion, V = −|δ|I, where the exponent of a cluster is |δ| − 0.75. All other cases have
        V = I.
    tokens : sequence of int
        Increasing numbers of tokens N, at least two.
    n_nodes : int
        Number of quantiles of the initial law that represent the limit, even, at least 4N.
    horizon : float
        Time T. The uniform law is unstable, so T must be so short that rounding errors stay small: at most 62 for
        β = 1.
    n_steps : int
        Number of steps, a multiple of 40, at least 10 for each unit of time.
    n_systems : int
        Systems of each N in a replica, under the same noise.
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
        largest (replica, case, n_tokens, time), the largest W2² so far, the mean over the systems of a replica; nodes
        (replica, case, time), the same for half as many nodes; linear (n_tokens, time), E W2² of the linear theory from
        the uniform start without noise.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Examples
    --------
    >>> data = run(rng=0, tokens=[4, 8], n_nodes=64, horizon=2.0, n_steps=40, n_replicas=2)
    >>> data["largest"].dims, data.sizes["case"]
    (('replica', 'case', 'n_tokens', 'time'), 5)
    """
    beta = checks.number(beta, "beta", above=0, high=100)
    repulsion = checks.number(repulsion, "repulsion", above=0, high=100)
    ladder = checks.ladder(tokens, "tokens", low=2)
    horizon = checks.number(horizon, "horizon", above=0, high=1e4)
    if (growth := float(growth_rates(beta).max()) * horizon) > _MAX_GROWTH:
        raise ValueError(
            f"horizon must be at most {horizon * _MAX_GROWTH / growth:.3g} for beta = {beta:g}, where rounding has "
            f"grown by e^{_MAX_GROWTH:g} from the uniform law, got {horizon:g}"
        )
    n_nodes, n_steps, n_systems, n_replicas = (
        checks.integer(value, name, low=low)
        for value, name, low in (
            (n_nodes, "n_nodes", 4 * ladder[-1]),
            (n_steps, "n_steps", _N_TIMES),
            (n_systems, "n_systems", 1),
            (n_replicas, "n_replicas", 2),
        )
    )
    if n_nodes % 2:
        raise ValueError(f"n_nodes must be even, got {n_nodes}")
    if n_steps % _N_TIMES or horizon > _MAX_STEP * n_steps:
        least = _N_TIMES * math.ceil(horizon / _MAX_STEP / _N_TIMES - 1e-9)
        raise ValueError(f"n_steps must be a multiple of {_N_TIMES}, at least {least}, got {n_steps}")
    n_threads = checks.threads(n_threads)
    check_size(n_tokens=2 * n_nodes + n_systems * sum(ladder), dim=2, n_steps=n_steps, n_replicas=n_replicas)
    sequence = root(rng)
    facts = {
        "study": "uniform in time",
        "beta": beta,
        "repulsion": repulsion,
        "tokens": list(ladder),
        "n_nodes": n_nodes,
        "horizon": horizon,
        "n_steps": n_steps,
        "n_systems": n_systems,
        "concentration": _CONCENTRATION,
        "n_times": _N_TIMES,
        "n_grid": _N_GRID,
    }
    study = netcdf.identity(facts, sequence)
    field = GaussianField(kernel=CovarianceKernel.from_function(lambda u: 0.5 * (1 + u), dim=2), method="spectral")

    def model(case: _Case) -> LimitSDE:
        scale = repulsion if case.sign < 0 else 1.0
        attention = SoftmaxAttention(beta=beta, value_scale=case.sign * scale) if case.sign else None
        return LimitSDE(attention=attention, field=field if case.has_noise else None, horizon=horizon, n_steps=n_steps)

    def states(case: _Case, x: Tokens, *, rng: Seed) -> Tokens:
        every = np.linspace(0, horizon, _N_TIMES + 1)
        return simulate(model(case), x, rng=rng, shared_noise=True, save_at=every, n_threads=n_threads).states

    def limits(case: _Case, rng: Seed) -> list[Tokens]:
        return [states(case, quantiles(initial_law(case), n)[None], rng=rng) for n in (n_nodes, n_nodes // 2)]

    quiet: dict[_Case, list[Tokens]] = {}  # limits without noise, the same in all replicas

    def measure(replica: int) -> Floats:
        seeds = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica))
        noise, *of_tokens = seeds.spawn(1 + len(ladder))
        rows = []
        for case in CASES.values():
            if not case.has_noise and case not in quiet:
                quiet[case] = limits(case, 0)
            limit, half = limits(case, noise) if case.has_noise else quiet[case]
            law = initial_law(case)
            starts = [law.sample(n, rng=seed, n_replicas=n_systems) for n, seed in zip(ladder, of_tokens, strict=True)]
            rows.append(distances(limit, [*(states(case, x, rng=noise) for x in starts), half]))
        return np.stack(rows)

    return grow(
        measure,
        n_pieces=n_replicas,
        identity=study,
        to_dataset=lambda pieces: _to_dataset(np.stack(pieces), identity=study),
        from_dataset=_pieces,
        store=store,
        on_step=on_step,
        n_least=2,
    )


def initial_law(case: _Case) -> Law:
    """Return the law of the first tokens of a case."""
    return (
        Uniform(dim=2) if case.is_uniform else VonMisesFisher(mean_direction=(1.0, 0.0), concentration=_CONCENTRATION)
    )


def distances(limit: Tokens, others: Sequence[Tokens]) -> Floats:
    """Return the largest W2² so far from the limit (times, 1, n, 2) of others (times, S, N, 2), the mean over S.

    Shape (number of others, times).
    """
    squares = [
        [np.asarray(circular_wasserstein2(y[0], x)) ** 2 for x, y in zip(xs, limit, strict=True)] for xs in others
    ]
    return np.stack([np.maximum.accumulate(np.array(rows), axis=0).mean(axis=1) for rows in squares])


def quantiles(law: Law, n: int) -> Tokens:
    """Return points of the circle that cut a law into n parts of equal mass, one in the middle of each."""
    angle = np.linspace(-np.pi, np.pi, _N_GRID)
    density = law.density(_on_circle(angle))
    below = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    return _on_circle(np.interp((np.arange(n) + 0.5) / n, below / below[-1], angle))


def _on_circle(angle: Floats) -> Tokens:
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _pieces(dataset: Any) -> list[Floats]:
    return list(np.concatenate([dataset["largest"].values, dataset["nodes"].values[:, :, None]], axis=2))


def _to_dataset(pieces: Floats, *, identity: str) -> Any:
    study = json.loads(identity)
    times = np.linspace(0, study["horizon"], _N_TIMES + 1)
    parts = [f"β = {study['beta']:g}", f"δ = −{study['repulsion']:g} under repulsion", f"{study['n_nodes']} nodes"]
    return checks.extra("xarray", "io").Dataset(
        {
            "largest": (("replica", "case", "n_tokens", "time"), pieces[:, :, :-1]),
            "nodes": (("replica", "case", "time"), pieces[:, :, -1]),
            "linear": (("n_tokens", "time"), linear_theory(study["beta"], tokens=study["tokens"], times=times)),
        },
        coords={"case": list(CASES), "n_tokens": study["tokens"], "time": times},
        attrs={
            "title": f"Chaos over long times on the circle, {len(pieces)} replicas\n{', '.join(parts)}",
            "identity": identity,
        },
    )
