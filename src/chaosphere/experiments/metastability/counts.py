"""The number of clusters of i.i.d. uniform tokens on the circle over time: how many form, and how long they last."""

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
from chaosphere.experiments.metastability.hitting import Flow
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.geometry.sphere import sample_uniform
from chaosphere.measures.linkage import clusters
from chaosphere.measures.states import lifetimes
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.simulation.times import log_times

_TOLERANCE = 1e-6  # of an inner step
_COALESCE = 1e-3  # of the scale of links
_FIRST = 0.5  # recorded time after 0
_MAX_GAP = 0.01  # share of the gaps between tokens at time 0 that may be longer than a link


def run(
    *,
    rng: Seed,
    count_betas: Sequence[float] = (8.0, 16.0, 32.0, 64.0, 128.0),
    n_tokens: int = 512,
    horizon: float = 1e6,
    n_times: int = 60,
    n_replicas: int = 8,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Count the clusters of i.i.d. uniform tokens on the circle under attention without noise.

    Tokens are in one cluster if links of chordal length β^{−1/2} at most join them. At the start all are in few. The
    harmonic of degree √(2β) grows fastest about the uniform law, so that about as many clusters form; these merge in
    times that grow exponentially with β.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Replica r has its own tokens, the same for all β and for every number of replicas.
    count_betas : sequence of float
        Increasing values of β of the study of counts, at least two.
    n_tokens : int
        N of the study of counts, so large that few neighbours at the start are too far apart to count as one cluster.
    horizon : float
        T of the study of counts, in [10, 10⁹].
    n_times : int
        Number of times at which clusters are counted; they have equal ratios, from 0.5 to T.
    n_replicas : int
        Number of replicas of the study of counts, at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the replicas; replicas of the same study in it are not computed again.
    on_step : callable, optional
        Called after every replica.

    Returns
    -------
    xarray.Dataset
        count (replica, beta, time), the number of clusters; expected (beta), how many form first, see `peaks`; angle
        (replica, beta, time, token), float32.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Examples
    --------
    >>> data = run(rng=0, count_betas=[4.0, 8.0], n_tokens=90, horizon=20.0, n_times=5, n_replicas=2)
    >>> data["count"].dims
    ('replica', 'beta', 'time')
    """
    betas = [
        checks.number(beta, "count_betas", low=1, high=1e4) for beta in checks.sequence(count_betas, "count_betas")
    ]
    if len(betas) < 2 or sorted(set(betas)) != betas:
        raise ValueError(f"count_betas must be increasing, at least two, got {betas}")
    n_tokens = checks.integer(n_tokens, "n_tokens", low=2)
    horizon = checks.number(horizon, "horizon", low=10, high=1e9)
    n_times = checks.integer(n_times, "n_times", low=2)
    n_replicas = checks.integer(n_replicas, "n_replicas", low=2)
    n_threads = checks.threads(n_threads)
    fewest = math.ceil(2 * math.pi * math.sqrt(betas[-1]) * -math.log(_MAX_GAP))
    if n_tokens < fewest:
        raise ValueError(
            f"n_tokens must be at least {fewest} for β = {betas[-1]:g}, so that few gaps at the start are longer than "
            f"a link, got {n_tokens}"
        )
    check_size(
        n_tokens=n_tokens,
        dim=2,
        n_steps=n_times,
        n_replicas=n_replicas,
        n_results=n_tokens * n_replicas * len(betas) * (n_times + 1),
    )
    times = log_times(first=_FIRST, last=horizon, n_times=n_times)
    sequence = root(rng)
    facts = {"betas": betas, "n_tokens": n_tokens, "times": times.tolist()}
    study = netcdf.identity(facts | {"tolerance": _TOLERANCE, "coalesce": _COALESCE}, sequence)

    def measure(replica: int) -> Floats:
        key = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica))
        start = sample_uniform(n_tokens, 2, rng=key)
        rows = []
        for beta in betas:
            scale = 1 / math.sqrt(beta)
            flow = Flow(beta, tolerance=_TOLERANCE, coalesce=_COALESCE * scale, n_threads=n_threads)
            states = [start]
            for duration in np.diff(times):
                states.append(flow.after(states[-1], float(duration)))
            rows.append([np.arctan2(x[:, 1], x[:, 0]) for x in states])
        return np.array(rows, dtype=np.float32)

    return grow(
        measure,
        n_pieces=n_replicas,
        identity=study,
        to_dataset=lambda pieces: _to_dataset(pieces, betas=betas, times=times, identity=study),
        from_dataset=lambda dataset: list(dataset["angle"].values),
        store=store,
        on_step=on_step,
        n_least=2,
    )


def first_clusters(dataset: Any) -> Floats:
    """Return the number of clusters that form first, shape (replica, beta): the largest of a run."""
    return np.asarray(dataset["count"].max("time").values, dtype=np.float64)


def peaks(beta: float, n_tokens: int) -> float:
    """Return the expected number of peaks of the potential of attention when its fluctuations are as large as its mean.

    About the uniform law the harmonic of degree l of the potential Σ_j e^{β⟨x, x_j⟩} is, for i.i.d. tokens, Gaussian of
    relative variance S_l = (2/N)(I_l(β)/I_0(β))² e^{2σ_l t} in the limit of many tokens, with the rate σ_l of
    `theory.growth_rate`. By Rice's formula it has √(Σ l⁴ S_l / Σ l² S_l) maxima on average. The time is that at which
    Σ_l S_l = 1. As β grows, this tends to the degree that grows fastest, which is about √(2β).
    """
    from scipy.optimize import brentq
    from scipy.special import ive

    degree = np.arange(1, math.ceil(6 * math.sqrt(beta)) + 10)
    share = ive(degree, beta) / ive(0, beta)
    rate = degree**2 / beta * share

    def spectrum(time: float) -> Floats:
        return np.asarray(2 / n_tokens * share**2 * np.exp(2 * rate * time))

    if spectrum(0.0).sum() >= 1:
        time = 0.0
    else:  # the fastest alone reaches 1 before the end of the bracket
        end = -math.log(2 / n_tokens * share[rate.argmax()] ** 2) / (2 * rate.max())
        time = float(brentq(lambda t: math.log(spectrum(t).sum()), 0.0, end))
    power = spectrum(time)
    return float(np.sqrt((degree**4 * power).sum() / (degree**2 * power).sum()))


def claims(dataset: Any) -> list[Claim]:
    """Return the exponent in β of the number of first clusters, and the numbers at first and at the end.

    The number of `peaks` is an estimate for large β, beside which the numbers at first are no claims.
    """
    betas, first = dataset["beta"].values, first_clusters(dataset)
    name = "exponent in β of the number of first clusters"
    rows = [estimates.from_slope(name, (betas, first), expected=0.5, power=2)]
    for k, beta in enumerate(betas):
        others = f"peaks {float(dataset['expected'][k]):.2f}, √(2β) = {math.sqrt(2 * beta):.2f}"
        interval = stats.mean_interval(first[:, k], at_least=0)
        rows.append(
            estimates.from_interval(f"β = {beta:g}: number of first clusters ({others})", interval, expected=None)
        )
    for k, beta in enumerate(betas):
        interval = stats.mean_interval(dataset["count"].values[:, k, -1].astype(float), at_least=1)
        rows.append(estimates.from_interval(f"β = {beta:g}: clusters at time T", interval, expected=None))
    return rows


def table(dataset: Any) -> str:
    """Return the mean numbers of clusters over time, and the claims, as text."""
    lines = [dataset.attrs["title"], "", "mean number of clusters"]
    some = np.unique(np.linspace(1, dataset.sizes["time"] - 1, 8).round().astype(int))
    lines.append(f"{'':>10}" + "".join(f"{f't = {_rounded(dataset.time.values[k])}':>12}" for k in some))
    for k, beta in enumerate(dataset["beta"].values):
        means = dataset["count"].values[:, k].mean(axis=0)
        lines.append(f"{f'β = {beta:g}':>10}" + "".join(f"{means[t]:12.2f}" for t in some))
    lines += ["", f"{'':>10}{'the state that lasts longest, of those that end before T':>60}"]
    for k, beta in enumerate(dataset["beta"].values):
        number, duration = np.transpose(
            [_longest(row, dataset["time"].values) for row in dataset["count"].values[:, k]]
        )
        if np.isfinite(duration).all():
            text = f"{number.mean():.2f} clusters, 10^{np.log10(duration).mean():.2f} units of time"
            lines.append(f"{f'β = {beta:g}':>10}{text:>60}")
    return "\n".join([*lines, "", format_claims(claims(dataset))])


def _rounded(time: float) -> str:
    """Return a short time in two digits, a long one as a power of ten to 0.1 of the exponent."""
    return f"{time:.2g}" if time < 99.5 else f"10^{round(math.log10(time), 1):g}"


def _longest(count: Any, time: Floats) -> tuple[float, float]:
    """Return the number of clusters and the duration of the longest state that a run leaves, NaN without any."""
    states = lifetimes(count, times=time)
    if not states.is_complete.any():
        return math.nan, math.nan
    longest = int(states.durations[states.is_complete].argmax())
    return float(states.values[longest]), float(states.durations[longest])


def _to_dataset(pieces: Sequence[Floats], *, betas: list[float], times: Floats, identity: str) -> Any:
    study = json.loads(identity)
    angle = np.stack(pieces)
    count = np.array(
        [[[_count(a, beta) for a in row] for row, beta in zip(piece, betas, strict=True)] for piece in angle]
    )
    end = float(times[-1])
    parts = [f"N = {study['n_tokens']}", f"T = {_rounded(end) if math.log10(end).is_integer() else f'{end:g}'}"]
    return checks.extra("xarray", "io").Dataset(
        {
            "count": (("replica", "beta", "time"), count),
            "expected": (("beta",), [peaks(beta, study["n_tokens"]) for beta in betas]),
            "angle": (("replica", "beta", "time", "token"), angle),
        },
        coords={"beta": betas, "time": times},
        attrs={
            "title": f"Clusters of tokens on the circle, {len(pieces)} replicas\n{', '.join(parts)}",
            "identity": identity,
        },
    )


def _count(angle: Floats, beta: float) -> int:
    """Return the number of clusters of tokens at some angles."""
    angle = angle.astype(np.float64)
    return len(clusters(np.stack([np.cos(angle), np.sin(angle)], axis=-1), scale=1 / math.sqrt(beta)).sizes)
