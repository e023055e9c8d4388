"""Correlation of positions under causal attention: tokens drawn anew and coupled, against the closed form."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import Seed, root
from chaosphere.experiments import estimates
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.geometry.gegenbauer import gegenbauer
from chaosphere.geometry.sphere import sample_uniform
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.models.sde import LimitSDE
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.simulation.identity import describe
from chaosphere.simulation.loop import simulate
from chaosphere.theory.causal import causal_covariance

_Piece = tuple[Floats, Floats]  # covariances (earlier, bin), distances (earlier,)
_MAX_DEGREE = 10_000  # its polynomials take a recurrence of as many steps
_N_BINS = 4  # of later positions, for each earlier one


def run(
    *,
    rng: Seed,
    beta: float = 2.0,
    value_scale: float = 1.0,
    decay: float = 0.0,
    dim: int = 2,
    degree: int = 1,
    n_tokens: int = 1600,
    horizon: float = 2.0,
    n_steps: int = 20,
    earlier: Sequence[float] = (0.25, 0.5),
    n_replicas: int = 64,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Measure N Cov(Y(X_σ(T)), Y(X_σ₀(0))) under causal attention without noise, from i.i.d. uniform tokens.

    A token j at position σ₀ is drawn anew, and the tokens are moved once with each of the two. With X and X' the two
    runs, N/2 (P(⟨X_i, x_j⟩) − P(⟨X'_i, x_j⟩) − P(⟨X_i, x'_j⟩) + P(⟨X'_i, x'_j⟩)) has the covariance for its mean, P the
    zonal harmonic with P(1) = 1: the tokens are independent at the start. Its average over the tokens i of a bin of
    later positions is what is stored, with the distance 1 − P(⟨x_j, x'_j⟩), to which it is nearly proportional. The
    distance has mean 1, so it is a control variate: the estimate is the mean of the average less c times the distance
    less 1, for which any c would do; it is the limit.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Replica r has its own tokens, the same for every number of replicas.
    beta : float
        β of attention, QᵀK = βI.
    value_scale : float
        δ, V = δI: 1 attracts, -1 repels.
    decay : float
        λ of the extra weights e^{−λ(i − j)/N} (ALiBi).
    dim : int
        Dimension d of the tokens.
    degree : int
        Degree of the harmonic, at most 10 000.
    n_tokens : int
        Number N of tokens, at least 8.
    horizon : float
        T, time of the run.
    n_steps : int
        Steps of the Runge-Kutta scheme.
    earlier : sequence of float
        Positions σ₀ in (0, 1), increasing.
    n_replicas : int
        Independent draws, at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the replicas; replicas of the same study in it are not computed again.
    on_step : callable, optional
        Called after every replica.

    Returns
    -------
    xarray.Dataset
        covariance (replica, earlier, bin), N times the covariance; distance (replica, earlier); expected
        (earlier, bin), the limit averaged over the tokens of the bin; later (earlier, bin), their mean position.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Notes
    -----
    O(N² d) for each evaluation of attention, or less by prefix sums. The error of an estimate falls as R^{−1/2}, its
    bias as 1/N.

    Examples
    --------
    >>> data = run(rng=0, n_tokens=40, earlier=[0.5], n_replicas=4)
    >>> data["covariance"].shape
    (4, 1, 4)
    """
    n_tokens = checks.integer(n_tokens, "n_tokens", low=8)
    dim, degree = checks.integer(dim, "dim", low=2), checks.integer(degree, "degree", low=1, high=_MAX_DEGREE)
    n_replicas = checks.integer(n_replicas, "n_replicas", low=2)
    n_threads = checks.threads(n_threads)
    n_steps = checks.integer(n_steps, "n_steps", low=1)
    beta, value_scale = checks.number(beta, "beta"), checks.number(value_scale, "value_scale")
    tokens = _tokens_at(earlier, n_tokens)
    check_size(n_tokens=(len(tokens) + 1) * n_tokens, dim=dim, n_steps=n_steps, n_replicas=n_replicas)
    # Its closed form is in terms of attention without the mask.
    free = SoftmaxAttention(beta=beta, value_scale=value_scale)
    causal = replace(free, mask="causal", decay=decay)
    model = LimitSDE(attention=causal, field=None, horizon=horizon, n_steps=n_steps, scheme="rk4")
    positions = [np.arange(j + 1, n_tokens) for j in tokens]
    bins = [np.array_split(later, _N_BINS) for later in positions]
    options = {"time": horizon, "decay": causal.decay}
    expected = [
        [
            np.mean(
                [
                    causal_covariance(
                        free, degree, dim, earlier=(j + 1) / n_tokens, later=(i + 1) / n_tokens, **options
                    )
                    for i in part
                ]
            )
            for part in parts
        ]
        for j, parts in zip(tokens, bins, strict=True)
    ]
    sequence = root(rng)
    facts = {"model": describe(model), "dim": dim, "degree": degree, "n_tokens": n_tokens, "tokens": tokens}
    study = netcdf.identity(facts | {"n_bins": _N_BINS}, sequence)

    def measure(replica: int) -> _Piece:
        key = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica))
        drawn = sample_uniform(n_tokens + len(tokens), dim, rng=key)
        starts = np.repeat(drawn[None, :n_tokens], len(tokens) + 1, axis=0)
        for k, j in enumerate(tokens):
            starts[k + 1, j] = drawn[n_tokens + k]
        ends = simulate(model, starts, rng=key, n_threads=n_threads).final
        rows, distances = [], []
        for k, (j, parts) in enumerate(zip(tokens, bins, strict=True)):
            change = _zonal(ends[0], starts[0, j], degree) - _zonal(ends[k + 1], starts[0, j], degree)
            change -= _zonal(ends[0], starts[k + 1, j], degree) - _zonal(ends[k + 1], starts[k + 1, j], degree)
            rows.append([0.5 * n_tokens * change[part].mean() for part in parts])
            distances.append(1.0 - float(_zonal(starts[k + 1, j : j + 1], starts[0, j], degree)[0]))
        return np.array(rows), np.array(distances)

    def to_dataset(pieces: Sequence[_Piece]) -> Any:
        later = [[(part.mean() + 1) / n_tokens for part in parts] for parts in bins]
        return checks.extra("xarray", "io").Dataset(
            {
                "covariance": (("replica", "earlier", "bin"), np.stack([rows for rows, _ in pieces])),
                "distance": (("replica", "earlier"), np.stack([distances for _, distances in pieces])),
                "expected": (("earlier", "bin"), expected),
                "later": (("earlier", "bin"), later),
            },
            coords={"earlier": [(j + 1) / n_tokens for j in tokens]},
            attrs={"title": _title(study, len(pieces)), "identity": study},
        )

    return grow(
        measure,
        n_pieces=n_replicas,
        identity=study,
        to_dataset=to_dataset,
        from_dataset=lambda dataset: list(zip(dataset["covariance"].values, dataset["distance"].values, strict=True)),
        store=store,
        on_step=on_step,
        n_least=2,
    )


def claims(dataset: Any) -> list[Claim]:
    """Return N Cov of each bin of later positions beside its limit, from the dataset of `run`."""
    rows = []
    for at in dataset["earlier"].values:
        row = dataset.sel(earlier=at)
        for k in range(_N_BINS):
            name = f"N Cov of positions {at:.4g} and {float(row['later'][k]):.4g}"
            rows.append(estimates.from_interval(name, interval(row, k), expected=float(row["expected"][k])))
    return rows


def interval(row: Any, k: int) -> tuple[float, float, float]:
    """Return the estimate of N Cov in a bin, with its interval, from the part of a dataset of one earlier position."""
    controlled = row["covariance"].values[:, k] - float(row["expected"][k]) * (row["distance"].values - 1.0)
    measured, low, high = stats.mean_interval(controlled)
    return float(measured), float(low), float(high)


def table(dataset: Any) -> str:
    """Return the claims as text."""
    return f"{dataset.attrs['title']}\n\n{format_claims(claims(dataset))}"


def _tokens_at(earlier: Sequence[float], n_tokens: int) -> list[int]:
    """Return the tokens at some positions; at least one token for each bin comes after each."""
    earlier = checks.sequence(earlier, "earlier")
    if not earlier:
        raise ValueError("earlier must hold at least one position")
    places = [checks.number(at, "earlier", above=0, high=1) for at in earlier]
    tokens = [round(at * n_tokens) - 1 for at in places]
    if not tokens[0] >= 0 or any(b <= a for a, b in itertools.pairwise(tokens)) or tokens[-1] + _N_BINS >= n_tokens:
        raise ValueError(
            f"earlier must hold increasing positions of different tokens, from 1/N to {1 - _N_BINS / n_tokens:.4g}, "
            f"got {earlier}"
        )
    return tokens


def _zonal(x: Tokens, at: Tokens, degree: int) -> Floats:
    """Return P(⟨x_i, y⟩) for tokens (N, d) and a point y."""
    u = np.clip(x @ at, -1.0, 1.0)
    return np.asarray(next(itertools.islice(gegenbauer(u, x.shape[1]), degree, None)))


def _title(identity: str, n_replicas: int) -> str:
    study = json.loads(identity)
    model, attention = study["model"], study["model"]["attention"]
    parts = [f"d = {study['dim']}", f"N = {study['n_tokens']}", f"T = {model['horizon']:g}"]
    parts += [f"β = {attention['beta']:g}", f"δ = {attention['value_scale']:g}", f"degree {study['degree']}"]
    parts += [f"λ = {attention['decay']:g}"] if attention.get("decay") else []
    return f"Correlation of positions under causal attention, {n_replicas} replicas\n{', '.join(parts)}"
