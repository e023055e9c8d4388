"""Pull-back runs: the same noise up to time 0, from starts at ever earlier times.

The increment of the noise is a function of (seed, step). Number the steps of the longest run from −T: a run that starts
later takes the last of the same steps, by `trajectory(first_step=…)`. As the start goes to −∞ the ends converge, to a
set or a law that the noise up to time 0 alone decides: its attractor.

For two starts s < t the ends are images of different tokens at time t under the same flow. Where λ1 < 0 two tokens come
together as e^{λ1 T} in the typical run, T = |t|, and the attractor is a point; it is a pair x, −x for an odd noise.
Where λ1 > 0 the law of the ends converges to a random measure. The probability that two points of it are within r is of
the order r^{D₂}, over the noise as well (`CovarianceKernel.correlation_dimension`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

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
from chaosphere.measures.dimension import correlation_dimension
from chaosphere.measures.statistics import cluster_count
from chaosphere.models.sde import LimitSDE
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.gaussian import GaussianField
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.simulation.trajectory import trajectory
from chaosphere.stats import Interval

NOISES = ("point", "pair", "measure")
_N_STARTS = 5
_FIT = slice(1, _N_STARTS - 1)  # of the starts: where the distance from the earliest is fitted
_RADIUS, _TOLERANCE = 0.05, 0.05
_SMALLEST = float(np.finfo(np.float64).eps)  # of distances
_KERNEL_BETA = 4.0  # of the kernel e^{β⟨x, y⟩} by which two laws are compared
_RELEVANT_SHARE, _RELEVANT_DIMENSION = 0.1, 0.5
_MIN_DIMENSION = 0.5  # of a claim: pairs within the radius follow the power of small radii if it is not small


def kernel(noise: str, *, dim: int, power: int) -> CovarianceKernel:
    """Return κ of a noise: ½(1 + u) gathers tokens at a point, u at a pair, and a high odd power spreads them."""
    functions = {"point": lambda u: 0.5 * (1 + u), "pair": lambda u: u, "measure": lambda u: u**power}
    return CovarianceKernel.from_function(functions[noise], dim=dim)


def run(
    *,
    rng: Seed,
    dim: int = 5,
    power: int = 5,
    n_tokens: int = 400,
    decays: float = 16.0,
    n_steps: int = 2000,
    n_replicas: int = 24,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Run tokens from five starts, the earliest at −T, under the same noise up to time 0.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Replica r has its own noise and tokens, the same for every number of replicas.
    dim : int
        Dimension d of the tokens, in [4, 16].
    power : int
        Odd power of the noise with κ(u) = uⁿ, with (d − 3) n > d − 1, so that λ1 > 0; at most 9.
    n_tokens : int
        Tokens of each start, in [20, 2 000].
    decays : float
        T in units of 1/|λ1|, with the λ1 of each noise.
    n_steps : int
        Steps of the longest run, a multiple of 5. Long steps make the rates of the point and the pair too small.
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
        tokens (replica, noise, token, coordinate), the ends from the earliest start; log_gap (replica, noise, start),
        the median logarithm of the distance of the ends from a start to one end y from the earliest, under the odd
        noises to y or −y; discrepancy
        (replica, start), the square of the kernel distance of the laws of the two under the noise "measure"; age
        (noise, start), the time T from each start; exponent (noise), λ1.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Examples
    --------
    >>> data = run(rng=0, n_tokens=20, n_steps=20, n_replicas=2)
    >>> data["tokens"].dims
    ('replica', 'noise', 'token', 'coordinate')
    """
    dim = checks.integer(dim, "dim", low=4, high=16)
    power = checks.integer(power, "power", low=3, high=9)
    if power % 2 == 0 or (dim - 3) * power <= dim - 1:
        raise ValueError(f"power must be odd and above (dim - 1)/(dim - 3) = {(dim - 1) / (dim - 3):g}, got {power}")
    n_tokens = checks.integer(n_tokens, "n_tokens", low=20, high=2000)
    n_steps, n_replicas = (
        checks.integer(value, name, low=low)
        for value, name, low in ((n_steps, "n_steps", _N_STARTS), (n_replicas, "n_replicas", 2))
    )
    if n_steps % _N_STARTS != 0:
        raise ValueError(f"n_steps must be a multiple of {_N_STARTS}, got {n_steps}")
    decays = checks.number(decays, "decays", above=0, high=30)
    n_threads = checks.threads(n_threads)
    check_size(
        n_tokens=_N_STARTS * n_tokens,
        dim=dim,
        n_steps=n_steps,
        n_replicas=n_replicas,
        n_results=n_replicas * len(NOISES) * n_tokens * dim,
    )
    sequence = root(rng)
    facts = {
        "study": "attractors of the noise",
        "dim": dim,
        "power": power,
        "n_tokens": n_tokens,
        "decays": decays,
        "n_steps": n_steps,
        "n_starts": _N_STARTS,
        "kernel_beta": _KERNEL_BETA,
    }
    study = netcdf.identity(facts, sequence)
    kernels = [kernel(noise, dim=dim, power=power) for noise in NOISES]
    horizons = [decays / abs(k.lyapunov_exponent()) for k in kernels]
    models = [
        LimitSDE(attention=None, field=GaussianField(kernel=k, method="spectral"), horizon=horizon, n_steps=n_steps)
        for k, horizon in zip(kernels, horizons, strict=True)
    ]

    def measure(replica: int) -> dict[str, Floats]:
        seed, of_tokens = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica)).spawn(2)
        starts = sphere.sample_uniform(n_tokens, dim, rng=np.random.default_rng(of_tokens), n_replicas=_N_STARTS)
        out: dict[str, list[Any]] = {"tokens": [], "log_gap": [], "discrepancy": []}
        for noise, model in zip(NOISES, models, strict=True):
            ends = pulled_back(model, starts, rng=seed, n_threads=n_threads)
            out["tokens"].append(ends[-1])
            out["log_gap"].append([log_gap(x, ends[-1, 0], is_odd=noise != "point") for x in ends[:-1]])
            if noise == "measure":
                out["discrepancy"] = [discrepancy(x, ends[-1]) for x in ends[:-1]]
        return {name: np.asarray(values) for name, values in out.items()}

    def to_dataset(pieces: Sequence[dict[str, Floats]]) -> Any:
        several = {name: np.stack([piece[name] for piece in pieces]) for name in pieces[0]}
        return _to_dataset(several, kernels=kernels, horizons=horizons, identity=study)

    return grow(
        measure,
        n_pieces=n_replicas,
        identity=study,
        to_dataset=to_dataset,
        from_dataset=lambda dataset: [
            {name: dataset[name].values[r] for name in ("tokens", "log_gap", "discrepancy")}
            for r in range(dataset.sizes["replica"])
        ],
        store=store,
        on_step=on_step,
        n_least=2,
    )


def pulled_back(model: LimitSDE, starts: Tokens, *, rng: Seed, n_threads: int) -> Tokens:
    """Return the ends of S runs from tokens (S, N, d), under the last 1/S, 2/S, …, and all of the steps of a model."""
    ends, n_starts = [], len(starts)
    for number, x in enumerate(starts, start=1):
        first_step = model.n_steps - number * model.n_steps // n_starts
        for _, state in trajectory(model, x, rng=rng, first_step=first_step, n_threads=n_threads):
            end = state
        ends.append(np.array(end))
    return np.stack(ends)


def log_gap(x: Tokens, end: Floats, *, is_odd: bool) -> float:
    """Return the median, over tokens x, of the logarithm of the distance from one other, or from it and its opposite.

    From one alone: the nearest of many would be nearer than a typical one.
    """
    distance = np.linalg.norm(x - end, axis=1)
    if is_odd:
        distance = np.minimum(distance, np.linalg.norm(x + end, axis=1))
    return float(np.median(np.log(np.maximum(distance, _SMALLEST))))


def discrepancy(x: Tokens, y: Tokens) -> float:
    """Return the square of the distance of two laws by the kernel e^{β(⟨x, y⟩ − 1)}, from samples, without bias."""
    n, m = len(x), len(y)
    of_x, of_y, both = (np.exp(_KERNEL_BETA * (a @ b.T - 1)) for a, b in ((x, x), (y, y), (x, y)))
    own = (of_x.sum() - np.trace(of_x)) / (n * (n - 1)) + (of_y.sum() - np.trace(of_y)) / (m * (m - 1))
    return float(own - 2 * both.mean())


def unrelated(tokens: Tokens) -> float:
    """Return the mean discrepancy of the tokens (R, N, d) of a replica and the next, whose noises are unrelated."""
    return float(np.mean([discrepancy(x, y) for x, y in zip(tokens, np.roll(tokens, 1, axis=0), strict=True)]))


def claims(dataset: Any) -> list[Claim]:
    """Return rates, numbers of points, the convergence of the measure and its dimension, beside theory."""
    rows = []
    for i, noise in enumerate(NOISES[:2]):
        ages = dataset["age"].values[i, _FIT]
        slopes = np.polyfit(ages, dataset["log_gap"].values[:, i, _FIT].T, 1)[0]
        exponent = float(dataset["exponent"][i])
        rows.append(
            estimates.from_interval(
                f"{noise}: rate at which ends of two starts meet", stats.mean_interval(slopes), expected=exponent
            )
        )
        n_points = cluster_count(dataset["tokens"].values[:, i], _TOLERANCE)
        rows.append(
            estimates.from_interval(
                f"{noise}: number of points", stats.median_interval(n_points.astype(float)), expected=i + 1.0
            )
        )
    tokens = dataset["tokens"].values[:, 2]
    rows.append(
        estimates.from_interval(
            "measure: discrepancy of the two earliest starts, over that of two noises",
            stats.mean_interval(dataset["discrepancy"].values[:, -1] / unrelated(tokens)),
            expected=0.0,
            relevant=_RELEVANT_SHARE,
        )
    )
    dimension = float(dataset.attrs["dimension"])
    is_claim = dimension >= _MIN_DIMENSION
    rows.append(
        estimates.from_interval(
            f"measure: correlation dimension below r = {_RADIUS:g}"
            + ("" if is_claim else f" (for r → 0 {dimension:.4f})"),
            _dimension(tokens),
            expected=dimension if is_claim else None,
            relevant=_RELEVANT_DIMENSION,
        )
    )
    return rows


def table(dataset: Any) -> str:
    """Return the exponents of the noises and the claims, as text."""
    lines = [dataset.attrs["title"], ""]
    for noise, exponent in zip(NOISES, dataset["exponent"].values, strict=True):
        lines.append(f"{noise}: λ1 = {exponent:g}, close tokens {'come together' if exponent < 0 else 'separate'}")
    return "\n".join([*lines, "", format_claims(claims(dataset))])


def _dimension(tokens: Tokens) -> Interval:
    """Return the correlation dimension of tokens (R, N, d), not a number where no two are closer than the radius."""
    if all(scipy.spatial.distance.pdist(x).min() >= _RADIUS for x in tokens):
        return Interval(value=np.nan, low=np.nan, high=np.nan)
    return correlation_dimension(tokens, radius=_RADIUS)


def _to_dataset(
    several: dict[str, Floats], *, kernels: list[CovarianceKernel], horizons: list[float], identity: str
) -> Any:
    study = json.loads(identity)
    ages = np.outer(horizons, np.arange(1, _N_STARTS) / _N_STARTS)
    names = [
        f"d = {study['dim']}",
        f"N = {study['n_tokens']}",
        f"{study['n_steps']} steps",
        f"power {study['power']} for the measure",
    ]
    return checks.extra("xarray", "io").Dataset(
        {
            "tokens": (("replica", "noise", "token", "coordinate"), several["tokens"]),
            "log_gap": (("replica", "noise", "start"), several["log_gap"]),
            "discrepancy": (("replica", "start"), several["discrepancy"]),
            "age": (("noise", "start"), ages),
            "exponent": (("noise",), [k.lyapunov_exponent() for k in kernels]),
        },
        coords={"noise": list(NOISES)},
        attrs={
            "title": f"Attractors of the noise, {len(several['tokens'])} replicas\n{', '.join(names)}",
            "dimension": kernels[-1].correlation_dimension(),
            "identity": identity,
        },
    )
