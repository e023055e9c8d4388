"""Two opposite clusters of different sizes under random values: how long they stay apart."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.streams import Seed, root
from chaosphere.experiments import estimates
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.interactions.random_attention import RandomAttention
from chaosphere.models.transformer import Transformer
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.simulation.identity import describe
from chaosphere.simulation.trajectory import trajectory
from chaosphere.theory import two_point

_RELEVANT = 0.2  # half-width of an interval, as a share of a lifetime
_N_MEANS = 12.0  # mean lifetimes that a run spans at most
# A walk of Gaussian steps passes a level by 0.5826 standard deviations of a step in the mean (Broadie, Glasserman and
# Kou, A continuity correction for discrete barrier options, Mathematical Finance 7 (1997), 325–349).
_OVERSHOOT = 0.5826


def run(
    *,
    rng: Seed,
    splits: Sequence[int] = (1, 2, 4),
    split_dim: int = 3,
    split_beta: float = 1.0,
    n_layers_per_time: int = 50,
    n_split_systems: int = 100,
    n_split_replicas: int = 12,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Start n + 1 tokens at a point and n at the opposite one, and take the time until they are orthogonal.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Replica r has its own layers, the same for every number of replicas.
    splits : sequence of int
        Increasing numbers n.
    split_dim : int
        d of the study of splits.
    split_beta : float
        β of the study of splits, in (0, 100].
    n_layers_per_time : int
        Layers L/T of the study of splits, at least 10.
    n_split_systems : int
        Systems of a replica of the study of splits, each with layers of its own.
    n_split_replicas : int
        Replicas of the study of splits, at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the replicas; replicas of the same study in it are not computed again.
    on_step : callable, optional
        Called after every replica.

    Returns
    -------
    xarray.Dataset
        lifetime (replica, split), the mean over systems; expected (split), by the equation of two tokens; difference
        (split), t₁ − t₂ of `RandomAttention.pair`.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Examples
    --------
    >>> data = run(rng=0, splits=[1], n_layers_per_time=10, n_split_systems=5, n_split_replicas=2)
    >>> data["lifetime"].dims
    ('replica', 'split')
    """
    ladder = checks.increasing(splits, "splits", low=1)
    dim = checks.integer(split_dim, "split_dim", low=2)
    beta = checks.number(split_beta, "split_beta", above=0, high=100)
    rate = checks.integer(n_layers_per_time, "n_layers_per_time", low=10)
    n_systems, n_replicas = (
        checks.integer(value, name, low=low)
        for value, name, low in (
            (n_split_systems, "n_split_systems", 1),
            (n_split_replicas, "n_split_replicas", 2),
        )
    )
    n_threads = checks.threads(n_threads)
    attention = RandomAttention(beta=beta)
    several = {"dim": dim, "n_replicas": n_replicas, "n_layer_numbers": n_systems * dim**2}
    check_size(n_tokens=n_systems * (2 * ladder[-1] + 1), n_steps=rate, **several)
    horizons = [math.ceil(_N_MEANS * lifetime(attention, dim, n=n)) for n in ladder]
    check_size(n_tokens=0, n_steps=rate * max(horizons), **several)
    models = [Transformer(attention=attention, mlp=None, depth=rate * t, horizon=float(t)) for t in horizons]
    sequence = root(rng)
    facts = {"models": [describe(m) for m in models], "splits": list(ladder), "dim": dim, "n_systems": n_systems}
    study = netcdf.identity(facts, sequence)

    def measure(replica: int) -> Floats:
        out = np.empty(len(ladder))
        for j, (n, model) in enumerate(zip(ladder, models, strict=True)):
            key = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica, j))
            out[j] = _lifetimes(model, n, dim=dim, n_systems=n_systems, key=key, n_threads=n_threads).mean()
        return out

    def to_dataset(pieces: Sequence[Floats]) -> Any:
        return _to_dataset(pieces, ladder, attention=attention, dim=dim, rate=rate, identity=study)

    return grow(
        measure,
        n_pieces=n_replicas,
        identity=study,
        to_dataset=to_dataset,
        from_dataset=lambda dataset: list(dataset["lifetime"].values),
        store=store,
        on_step=on_step,
        n_least=2,
    )


def claims(dataset: Any) -> list[Claim]:
    """Return the mean lifetimes beside those of the equation of two tokens."""
    rows = []
    for j, n in enumerate(dataset["split"].values):
        interval = stats.mean_interval(dataset["lifetime"].values[:, j], at_least=0)
        expected = float(dataset["expected"][j])
        label = f"{n + 1} against {n} tokens: mean time until orthogonal"
        rows.append(estimates.from_interval(label, interval, expected=expected, relevant=_RELEVANT * expected))
    return rows


def table(dataset: Any) -> str:
    """Return the exponent of lifetimes for small t₁ − t₂, and the claims, as text."""
    power = exponent(dataset.attrs["beta"], dataset.attrs["dim"])
    law = f"for small t₁ − t₂ the mean time grows as its power {power:.3g}" if power < 0 else "lifetimes are bounded"
    return "\n".join([dataset.attrs["title"], law, "", format_claims(claims(dataset))])


def exponent(beta: float, dim: int) -> float:
    """Return the exponent of mean lifetimes in t₁ − t₂ → 0; 0 where opposite clusters of equal size repel.

    The distance D = |X + Y| is of the order t₁ − t₂ when noise takes over from the drift that separates the clusters.
    From there log D is a random walk with the negative drift λ and the variance s² per unit of time, up to D ≈ 1; its
    maximum exceeds log(1/D) with the probability D^{−2λ/s²}.
    """
    square = math.tanh(beta) ** 2
    return min(0.0, ((dim - 3) - (dim - 1) * square) / (1.0 + square))


def lifetime(attention: RandomAttention, dim: int, *, n: float, rate: int | None = None) -> float:
    """Return the mean time of n + 1 against n tokens until they are orthogonal, as seen at `rate` layers a unit."""
    pair = attention.pair(dim, weight=(n + 1) / (2 * n + 1))
    target = 0.0
    if rate is not None:
        target = _OVERSHOOT * math.sqrt(2.0 * float(pair.diffusion(np.zeros(1))[0]) / rate)
    return float(two_point.mean_hitting_time(pair, -1.0, target))


def difference(beta: float, n: float) -> float:
    """Return t₁ − t₂ of n + 1 against n tokens."""
    odds = 0.5 * math.log1p(1 / n)
    return math.tanh(beta + odds) - math.tanh(beta - odds)


def _lifetimes(
    model: Transformer, n: int, *, dim: int, n_systems: int, key: np.random.SeedSequence, n_threads: int
) -> Floats:
    """Return the times until the clusters of each system are orthogonal; at most the horizon."""
    x = np.zeros((n_systems, 2 * n + 1, dim))
    x[:, : n + 1, 0], x[:, n + 1 :, 0] = 1.0, -1.0
    times = np.full(n_systems, model.horizon)
    is_alive = np.ones(n_systems, dtype=bool)
    for time, tokens in trajectory(model, x, rng=key, n_threads=n_threads):
        is_over = is_alive & (np.einsum("rc,rc->r", tokens[:, 0], tokens[:, -1]) >= 0)
        times[is_over] = time
        is_alive &= ~is_over
        if not is_alive.any():
            break
    return times


def _to_dataset(
    pieces: Sequence[Floats], ladder: Sequence[int], *, attention: RandomAttention, dim: int, rate: int, identity: str
) -> Any:
    beta = float(attention.beta or 0.0)
    n_systems = json.loads(identity)["n_systems"]
    parts = [f"d = {dim}", f"β = {beta:g}", f"{n_systems} systems", f"{rate} layers per unit of time"]
    return checks.extra("xarray", "io").Dataset(
        {
            "lifetime": (("replica", "split"), np.stack(pieces)),
            "expected": (("split",), [lifetime(attention, dim, n=n, rate=rate) for n in ladder]),
            "difference": (("split",), [difference(beta, n) for n in ladder]),
        },
        coords={"split": list(ladder)},
        attrs={
            "dim": dim,
            "beta": beta,
            "title": f"Opposite clusters of n + 1 and n tokens, {len(pieces)} replicas\n{', '.join(parts)}",
            "identity": identity,
        },
    )
