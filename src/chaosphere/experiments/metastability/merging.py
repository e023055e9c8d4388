"""Two tokens that merge, over times up to 10¹²: steps of their own size against quadrature."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.streams import Seed, root
from chaosphere.experiments import estimates
from chaosphere.experiments.metastability.hitting import Flow, bracket, on_circle
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim, format_claims

_END = 0.1  # angle at which two tokens have merged
_PRECISION = 1e-7  # of a time
_TOLERANCE = 1e-10  # of an inner step
_MAX_BARRIER = 40.0  # of which doubles resolve the slowest velocity


def run(
    *,
    rng: Seed,
    merging_beta: float = 16.0,
    barriers: Sequence[float] = (1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0),
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Take the time in which two tokens come from an angle θ₀ to 0.1, for several θ₀.

    Under softmax attention θ̇ = −2 sin θ/(1 + e^{β(1 − cos θ)}), so that the time is the integral of
    (1 + e^{β(1 − cos θ)})/(2 sin θ) from 0.1 to θ₀.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Of the place of the first token on the circle.
    merging_beta : float
        β of the study of merging.
    barriers : sequence of float
        Increasing values of β(1 − cos θ₀), at most 40.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the angles; those of the same study in it are not computed again.
    on_step : callable, optional
        Called after every angle.

    Returns
    -------
    xarray.Dataset
        time (barrier, end), between which times the angle is 0.1; expected (barrier), by quadrature.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Examples
    --------
    >>> data = run(rng=0, barriers=[1.0, 2.0])
    >>> bool((abs(data["time"] / data["expected"] - 1) < 1e-6).all())
    True
    """
    beta = checks.number(merging_beta, "merging_beta", above=0, high=1e4)
    levels = [
        checks.number(level, "barriers", above=0, high=_MAX_BARRIER) for level in checks.sequence(barriers, "barriers")
    ]
    low, high = beta * (1 - math.cos(2 * _END)), 2 * beta
    if not levels or sorted(set(levels)) != levels or not low < levels[0] or not levels[-1] < high:
        raise ValueError(f"barriers must be increasing, between {low:.3g} and 2β = {high:g}, got {levels}")
    n_threads = checks.threads(n_threads)
    sequence = root(rng)
    facts = {"beta": beta, "barriers": levels, "end": _END, "precision": _PRECISION, "tolerance": _TOLERANCE}
    study = netcdf.identity(facts, sequence)
    flow = Flow(beta, tolerance=_TOLERANCE, coalesce=_END / 4, n_threads=n_threads)
    place = 2 * math.pi * float(np.random.default_rng(sequence).random())

    def measure(k: int) -> tuple[float, float]:
        x = on_circle(place + np.array([0.0, math.acos(1 - levels[k] / beta)]))
        return bracket(flow, x, has_ended=_has_merged, precision=_PRECISION)

    def to_dataset(pieces: Sequence[tuple[float, float]]) -> Any:
        some = levels[: len(pieces)]
        return checks.extra("xarray", "io").Dataset(
            {
                "time": (("barrier", "end"), np.array(pieces)),
                "expected": (("barrier",), [merging_time(math.acos(1 - level / beta), beta) for level in some]),
            },
            coords={"barrier": some},
            attrs={"title": f"Two tokens that merge, β = {beta:g}", "identity": study},
        )

    return grow(
        measure,
        n_pieces=len(levels),
        identity=study,
        to_dataset=to_dataset,
        from_dataset=lambda dataset: [(float(a), float(b)) for a, b in dataset["time"].values],
        store=store,
        on_step=on_step,
    )


def merging_time(start: float, beta: float) -> float:
    """Return the time in which the angle of two tokens falls from a start in (0.1, π) to 0.1, by quadrature."""
    from scipy.integrate import quad

    def slowness(angle: float) -> float:
        return (1 + math.exp(beta * (1 - math.cos(angle)))) / (2 * math.sin(angle))

    return float(quad(slowness, _END, start, epsabs=0, epsrel=1e-12, limit=500)[0])


def claims(dataset: Any) -> list[Claim]:
    """Return the largest relative difference from the quadrature, for each angle, beside 1e-6."""
    rows = []
    for level, ends, expected in zip(
        dataset["barrier"].values, dataset["time"].values, dataset["expected"].values, strict=True
    ):
        name = f"β(1 − cos θ₀) = {level:g}: log₁₀ of the relative difference from {expected:.4g}"
        value = math.log10(max(float(np.abs(ends / expected - 1).max()), 1e-16))
        rows.append(estimates.from_interval(name, (value, value, value), expected=-6.0, is_bound=True))
    return rows


def table(dataset: Any) -> str:
    """Return the relative differences from the quadrature, and the claims, as text."""
    lines = [dataset.attrs["title"], "", f"{'β(1 − cos θ₀)':>14}{'quadrature':>14}{'relative difference':>32}"]
    for level, ends, expected in zip(
        dataset["barrier"].values, dataset["time"].values, dataset["expected"].values, strict=True
    ):
        low, high = ends / expected - 1
        lines.append(f"{level:14g}{expected:14.6g}{f'{low:.1e} … {high:.1e}':>32}")
    return "\n".join([*lines, "", format_claims(claims(dataset))])


def _has_merged(x: Any) -> bool:
    return bool(np.linalg.norm(x[0] - x[1]) < 2 * math.sin(_END / 2))
