"""States of k clusters on the circle: how their lifetime grows with β."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import Seed, root
from chaosphere.experiments import estimates
from chaosphere.experiments.metastability.hitting import Flow, bracket, on_circle
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.measures.linkage import clusters
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim, format_claims

_PRECISION = 1e-3  # of a lifetime
_TOLERANCE = 1e-8  # of an inner step
_MAX_CLUSTERS = 1000  # β grows with their square, and the time of a run with that of all pairs
_COALESCE = 1e-3
_DISTURBANCE = 1e-5  # standard deviation of the angles


def run(
    *,
    rng: Seed,
    k_clusters: Sequence[int] = (3, 4, 5, 6),
    lifetime_barriers: Sequence[float] = (12.0, 16.0, 20.0, 24.0),
    n_lifetime_replicas: int = 6,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Disturb k clusters of one weight at equal distances on the circle, and take the time until two have merged.

    Each has the same forces from both sides, which do not keep it there: small disturbances grow at a rate of order
    β e^{−β(1 − cos(2π/k))}. See `lifetime` for what is expected of the lifetime.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Replica r has its own disturbances, the same for all β and for every number of replicas.
    k_clusters : sequence of int
        Increasing numbers k of clusters, from 3 to 1000.
    lifetime_barriers : sequence of float
        Increasing values of β(1 − cos(2π/k)), at least two, from 8 to 36: β is another for each k.
    n_lifetime_replicas : int
        Replicas of the study of lifetimes, at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the replicas; replicas of the same study in it are not computed again.
    on_step : callable, optional
        Called after every replica.

    Returns
    -------
    xarray.Dataset
        lifetime (replica, k, barrier); beta (k, barrier); expected (k, barrier), the lifetime for a disturbance of mean
        size.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Examples
    --------
    >>> data = run(rng=0, k_clusters=[5, 6], lifetime_barriers=[8.0, 9.0], n_lifetime_replicas=2)
    >>> data["lifetime"].dims
    ('replica', 'k', 'barrier')
    """
    numbers = checks.increasing(k_clusters, "k_clusters", low=3, high=_MAX_CLUSTERS)
    barriers = [
        checks.number(b, "lifetime_barriers", low=8, high=36)
        for b in checks.sequence(lifetime_barriers, "lifetime_barriers")
    ]
    if len(barriers) < 2 or sorted(set(barriers)) != barriers:
        raise ValueError(f"lifetime_barriers must be increasing, at least two, got {barriers}")
    n_replicas = checks.integer(n_lifetime_replicas, "n_lifetime_replicas", low=2)
    n_threads = checks.threads(n_threads)
    check_size(n_tokens=numbers[-1], dim=2, n_steps=1, n_replicas=n_replicas)
    betas = [[barrier / (1 - math.cos(2 * math.pi / k)) for barrier in barriers] for k in numbers]
    sequence = root(rng)
    facts = {"k": numbers, "barriers": barriers, "disturbance": _DISTURBANCE}
    facts |= {"precision": _PRECISION, "tolerance": _TOLERANCE, "coalesce": _COALESCE}
    study = netcdf.identity(facts, sequence)

    def measure(replica: int) -> Floats:
        key = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica))
        normals = np.random.default_rng(key).standard_normal(numbers[-1])
        rows = []
        for k, ladder in zip(numbers, betas, strict=True):
            x = on_circle(2 * math.pi * np.arange(k) / k + _DISTURBANCE * normals[:k])
            rows.append([_lifetime(x, beta, n_threads=n_threads) for beta in ladder])
        return np.array(rows)

    def to_dataset(pieces: Sequence[Floats]) -> Any:
        return checks.extra("xarray", "io").Dataset(
            {
                "lifetime": (("replica", "k", "barrier"), np.stack(pieces)),
                "beta": (("k", "barrier"), betas),
                "expected": (
                    ("k", "barrier"),
                    [
                        [lifetime(k, beta, disturbance=_DISTURBANCE) for beta in ladder]
                        for k, ladder in zip(numbers, betas, strict=True)
                    ],
                ),
            },
            coords={"k": list(numbers), "barrier": barriers},
            attrs={"title": f"Lifetimes of k clusters on the circle, {len(pieces)} replicas", "identity": study},
        )

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


def lifetime(k: int, beta: float, *, disturbance: float) -> float:
    """Return the time until two of k equal clusters at equal distances merge, to leading order for large β.

    A cluster at the angle 0 moves with Σ_j g(φ_j)/Z, where φ_j = 2πj/k are the others, g(φ) = sin φ e^{β(cos φ − 1)},
    and Z = Σ_j e^{β(cos φ_j − 1)} with the cluster itself. The sum is 0, so that 1/Z need not be derived: a disturbance
    cos(2πmj/k) grows at the rate Σ_j g′(φ_j)(cos(mφ_j) − 1)/Z. Let λ be the largest of these, for the mode m. A
    disturbance of size a changes gaps between neighbours by up to 2a sin(πm/k). Forces of neighbours change by the
    factor e^{b a}, b = 2 sin(πm/k) β sin(2π/k), so that ȧ = (λ/b) sinh(b a) to leading order, and a grows from a₀
    without bound in −log tanh(b a₀/2)/λ. Angles that are Gaussian of standard deviation ε have a₀ = ε √(2/k).
    """
    angle = 2 * math.pi * np.arange(1, k) / k
    weight = np.exp(beta * (np.cos(angle) - 1))
    slope = (np.cos(angle) - beta * np.sin(angle) ** 2) * weight
    rates = [float((slope * (np.cos(m * angle) - 1)).sum()) for m in range(1, k // 2 + 1)]
    mode = int(np.argmax(rates)) + 1
    change = 2 * math.sin(math.pi * mode / k) * beta * math.sin(2 * math.pi / k) * disturbance * math.sqrt(2 / k)
    return -math.log(math.tanh(change / 2)) * (1 + float(weight.sum())) / rates[mode - 1]


def claims(dataset: Any) -> list[Claim]:
    """Return the slope of the log lifetime in β for each k, beside that of the expected lifetime.

    The interval of the mean over replicas is wider by what the precision of lifetimes may change in the slope.
    """
    rows = []
    for k in dataset["k"].values:
        row, limit = dataset.sel(k=k), 1 - math.cos(2 * math.pi / k)
        name = f"k = {k}: slope of log lifetime in β (large β: {limit:.4g})"
        value, low, high = stats.mean_interval(_slopes(row, np.log(row["lifetime"].values)))
        error = _PRECISION * float(np.abs(_slopes(row, np.eye(row.sizes["barrier"]))).sum())
        interval = stats.Interval(value=value, low=low - error, high=high + error)
        expected = float(_slopes(row, np.log(row["expected"].values)[None])[0])
        rows.append(estimates.from_interval(name, interval, expected=expected))
    return rows


def table(dataset: Any) -> str:
    """Return the mean log₁₀ lifetimes, and the claims, as text."""
    lines = [dataset.attrs["title"], "", "mean of the decimal logarithm of the lifetime"]
    lines.append(f"{'barrier':>8}" + "".join(f"{barrier:10g}" for barrier in dataset["barrier"].values))
    for k in dataset["k"].values:
        means = np.log10(dataset["lifetime"].sel(k=k).values).mean(axis=0)
        lines.append(f"{f'k = {k}':>8}" + "".join(f"{mean:10.2f}" for mean in means))
    return "\n".join([*lines, "", format_claims(claims(dataset))])


def _slopes(row: Any, values: Floats) -> Floats:
    """Return the slope in β of values (replica, barrier), by least squares."""
    beta = row["beta"].values - row["beta"].values.mean()
    return np.asarray(values @ beta / (beta @ beta))


def _lifetime(x: Tokens, beta: float, *, n_threads: int) -> float:
    """Return the time until two of the tokens have merged."""
    flow = Flow(beta, tolerance=_TOLERANCE, coalesce=_COALESCE, n_threads=n_threads)

    def has_ended(y: Tokens) -> bool:
        return len(clusters(y, scale=1 / math.sqrt(beta)).sizes) < len(x)

    return float(np.mean(bracket(flow, x, has_ended=has_ended, precision=_PRECISION)))
