"""Metastable centres of causal attention on the circle: tokens that start far from all earlier ones stay."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from chaosphere import measures, stats
from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.streams import Seed, root
from chaosphere.experiments import estimates
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.geometry.sphere import sample_uniform
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.models.sde import LimitSDE
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.simulation.identity import describe
from chaosphere.simulation.loop import simulate

_N_TIMES = 41  # at which angles are stored
_NEAR = 0.3  # a token is at a centre, and a centre where it was, within this times β^{−1/2}


def run(
    *,
    rng: Seed,
    betas: Sequence[float] = (16.0, 64.0, 256.0),
    n_centre_tokens: int = 1000,
    centre_horizon: float = 20.0,
    spacing: float = 4.0,
    n_centre_replicas: int = 8,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Follow i.i.d. uniform tokens on the circle under causal attention without noise.

    A token that is further than c β^{−1/2} from every centre before it at time 0 is a centre (Rényi's parking, as in
    arXiv:2411.04990): little attracts it, and it attracts later tokens.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Replica r has its own tokens, the same for every number of replicas.
    betas : sequence of float
        Increasing values of β, at least two.
    n_centre_tokens : int
        N of the study of centres.
    centre_horizon : float
        T of the study of centres.
    spacing : float
        Distance c of centres, in units of β^{−1/2}.
    n_centre_replicas : int
        Independent draws of the study of centres, at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the replicas; replicas of the same study in it are not computed again.
    on_step : callable, optional
        Called after every replica.

    Returns
    -------
    xarray.Dataset
        angle (replica, beta, time, token), float32; and, for each replica and β: n_centres; n_clusters at time T;
        share_near, of the tokens that are within 0.3 β^{−1/2} of a centre at time T; share_stay, of the centres that
        are within that of their start.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Examples
    --------
    >>> data = run(rng=0, betas=[8, 16], n_centre_tokens=50, centre_horizon=2.0, n_centre_replicas=2)
    >>> data["n_clusters"].dims
    ('replica', 'beta')
    """
    betas = [checks.number(beta, "betas", above=0, high=1e6) for beta in checks.sequence(betas, "betas")]
    if len(betas) < 2 or any(b <= a for a, b in itertools.pairwise(betas)):
        raise ValueError(f"betas must be increasing, at least two, got {betas}")
    n_tokens = checks.integer(n_centre_tokens, "n_centre_tokens", low=2)
    horizon = checks.number(centre_horizon, "centre_horizon", above=0, high=1e4)
    spacing = checks.number(spacing, "spacing", above=0)
    if not spacing < math.pi * math.sqrt(betas[0]):
        raise ValueError(f"spacing must be < π √β = {math.pi * math.sqrt(betas[0]):.4g}, got {spacing:g}")
    n_replicas = checks.integer(n_centre_replicas, "n_centre_replicas", low=2)
    n_threads = checks.threads(n_threads)
    n_all = n_tokens * n_replicas * len(betas) * _N_TIMES
    check_size(n_tokens=n_all, dim=1, n_steps=math.ceil(10 * horizon), n_replicas=n_replicas)
    times = np.linspace(0.0, horizon, _N_TIMES)
    models = [
        LimitSDE(
            attention=SoftmaxAttention(beta=beta, mask="causal"),
            field=None,
            horizon=horizon,
            n_steps=(_N_TIMES - 1) * math.ceil(10 * horizon / (_N_TIMES - 1)),
            scheme="rk4",
        )
        for beta in betas
    ]
    sequence = root(rng)
    facts = {"models": [describe(model) for model in models], "n_tokens": n_tokens, "spacing": spacing}
    study = netcdf.identity(facts | {"n_times": _N_TIMES}, sequence)

    def measure(replica: int) -> Floats:
        key = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica))
        start = sample_uniform(n_tokens, 2, rng=key)
        runs = [simulate(model, start, rng=key, save_at=times, n_threads=n_threads).states for model in models]
        return np.stack([np.arctan2(x[..., 1], x[..., 0]) for x in runs]).astype(np.float32)

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


def claims(dataset: Any) -> list[Claim]:
    """Return the exponent of the number of clusters in β, the numbers of centres, and what stays."""
    betas = dataset["beta"].values
    name = "exponent in β of the number of clusters at time T"
    rows = [estimates.from_slope(name, (betas, dataset["n_clusters"].values), expected=0.5, power=2)]
    for k, beta in enumerate(betas):
        count = parked(dataset.sizes["token"], float(dataset.attrs["spacing"]) / math.sqrt(beta))
        interval = stats.mean_interval(dataset["n_centres"].values[:, k], at_least=0)
        rows.append(estimates.from_interval(f"β = {beta:g}: number of centres at time 0", interval, expected=count))
        for quantity, name in (
            ("share_stay", "share of the centres that stay"),
            ("share_near", "share of the tokens at a centre"),
        ):
            interval = stats.mean_interval(dataset[quantity].values[:, k], at_least=0, at_most=1)
            rows.append(estimates.from_interval(f"β = {beta:g}: {name}", interval, expected=None))
    return rows


def table(dataset: Any) -> str:
    """Return the numbers of centres and clusters, and the claims, as text."""
    lines = [dataset.attrs["title"], "", f"{'':>12}{'centres at time 0':>20}{'clusters at time T':>20}"]
    for k, beta in enumerate(dataset["beta"].values):
        cells = (float(dataset[name][:, k].mean()) for name in ("n_centres", "n_clusters"))
        lines.append(f"{f'β = {beta:g}':>12}" + "".join(f"{value:20.2f}" for value in cells))
    return "\n".join([*lines, "", format_claims(claims(dataset))])


def centres(angle: Any, distance: float) -> Any:
    """Return the tokens, of angles (N,), that are further than a distance from all such tokens before them."""
    theta = angle.astype(np.float64)
    x = np.stack([np.cos(theta), np.sin(theta)], axis=1)
    labels = measures.cluster_labels(x, 2 * math.sin(min(distance, math.pi) / 2))
    return np.unique(labels, return_index=True)[1]


def parked(n_tokens: int, distance: float) -> float:
    """Return the expected number of centres, of i.i.d. uniform tokens on the circle.

    They are at least a distance a from one another, as cars of this length that come to random places of a street and
    park where there is room. After τ = N a/2π cars for each length they fill ∫₀^τ exp(−2 ∫₀^u (1 − e^{−v})/v dv) du of
    a long street, which tends to 0.7476 (A. Rényi, On a one-dimensional problem concerning random space filling, 1958).
    """
    from scipy.integrate import quad
    from scipy.special import exp1

    def rate(u: float) -> float:
        inner = np.euler_gamma + math.log(u) + float(exp1(u)) if u > 0 else 0.0
        return math.exp(-2 * inner)

    n_lengths, cut = n_tokens * distance / (2 * math.pi), 40.0
    share, _ = quad(rate, 0.0, min(n_lengths, cut), limit=200)
    if n_lengths > cut:  # where the last term of the rate is 0
        share += math.exp(-2 * np.euler_gamma) * (1 / cut - 1 / n_lengths)
    return float(share * 2 * math.pi / distance)


def _to_dataset(pieces: Sequence[Floats], *, betas: list[float], times: Floats, identity: str) -> Any:
    study = json.loads(identity)
    names = ("n_centres", "n_clusters", "share_near", "share_stay")
    facts = np.array([[_facts(row[k], beta, study["spacing"]) for k, beta in enumerate(betas)] for row in pieces])
    parts = [f"N = {study['n_tokens']}", f"T = {times[-1]:g}", f"c = {study['spacing']:g}"]
    return checks.extra("xarray", "io").Dataset(
        {"angle": (("replica", "beta", "time", "token"), np.stack(pieces))}
        | {name: (("replica", "beta"), facts[..., k]) for k, name in enumerate(names)},
        coords={"beta": betas, "time": times},
        attrs={
            "spacing": study["spacing"],
            "title": f"Centres of causal attention on the circle, {len(pieces)} replicas\n{', '.join(parts)}",
            "identity": identity,
        },
    )


def _facts(angle: Floats, beta: float, spacing: float) -> tuple[float, float, float, float]:
    """Return the numbers of centres and clusters, and the shares near a centre and staying, of angles (time, N)."""
    unit = 1 / math.sqrt(beta)
    of = centres(angle[0], spacing * unit)
    end = angle[-1]
    gap = np.abs(_wrapped(end[:, None] - end[None, of])).min(axis=1)
    shift = np.abs(_wrapped(end[of] - angle[0, of]))
    n_clusters = len(centres(end, unit))
    return float(len(of)), float(n_clusters), float((gap < _NEAR * unit).mean()), float((shift < _NEAR * unit).mean())


def _wrapped(angle: Floats) -> Floats:
    """Return angles in [−π, π)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi
