"""Labelled arrays on disk, and estimates with their intervals."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from chaosphere import checks
from chaosphere.checks import Floats
from chaosphere.config import configuration as configuration

CONFIDENCE = 0.99  # of every interval that an experiment prints


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A measured number beside what is expected.

    Attributes
    ----------
    quantity : str
    measured, low, high : float
        Estimate and the ends of its 99 % interval.
    expected : float or None
    is_bound : bool
        The expected value is an upper bound.
    """

    quantity: str
    measured: float
    low: float
    high: float
    expected: float | None
    is_bound: bool = False

    @property
    def verdict(self) -> str:
        """Whether the interval holds the expected value, or one below the bound: "agrees", "differs", "no claim"."""
        if self.expected is None:
            return "no claim"
        return "agrees" if self.low <= self.expected and (self.is_bound or self.expected <= self.high) else "differs"

    def as_dict(self) -> dict[str, Any]:
        """Return quantity, measured, low, high, expected and verdict as plain values."""
        fields = asdict(self)
        fields.pop("is_bound")
        return fields | {"verdict": self.verdict}


def format_claims(claims: Sequence[Claim]) -> str:
    """Return the claims as lines of text: quantity, measured, 99 % interval, expected, verdict."""
    width = max(len(claim.quantity) for claim in claims)
    lines = [f"{'':>{width}} {'measured':>9}   {'99 % interval':^20} {'expected':>9}"]
    for claim in claims:
        expected = "" if claim.expected is None else f"{'≤ ' if claim.is_bound else ''}{claim.expected:.4f}"
        interval = f"[{claim.low:8.4f}, {claim.high:8.4f}]"
        lines.append(f"{claim.quantity:>{width}} {claim.measured:9.4f}   {interval} {expected:>9}   {claim.verdict}")
    return "\n".join(lines)


def require() -> None:
    """Raise ImportError unless NetCDF files can be written here; called before long work."""
    for module in ("xarray", "h5netcdf", "h5py"):
        checks.extra(module, "io")


def save(dataset: Any, path: str | os.PathLike[str]) -> None:
    """Write an xarray.Dataset as NetCDF, to a temporary name that is then renamed.

    Facts about this installation go into the attribute `configuration`.

    Raises
    ------
    ImportError
        If xarray, h5netcdf or h5py is not installed.
    """
    require()
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    dataset = dataset.assign_attrs(configuration=json.dumps(configuration()))
    dataset.to_netcdf(temporary, engine="h5netcdf")
    temporary.replace(path)


def load(path: str | os.PathLike[str]) -> Any:
    """Read a dataset that `save` wrote, whole into memory, and close the file."""
    require()
    return checks.extra("xarray", "io").load_dataset(path, engine="h5netcdf")


def resume(path: str | os.PathLike[str] | None, identity: str) -> Any:
    """Return the dataset in a file, None if there is none yet; the attribute `identity` says which study it is.

    Raises
    ------
    ValueError
        If the file holds another study.
    """
    if path is None or not Path(path).exists():
        return None
    dataset = load(path)
    if dataset.attrs.get("identity") != identity:
        raise ValueError(
            f"store {path} holds another study (parameters or seed differ); remove it or name another file"
        )
    return dataset


def root_mean_square(mean_squares: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the root of the mean over replicas (first axis) with a Student interval on the logarithm.

    Parameters
    ----------
    mean_squares : ndarray, shape (R, ...)
        One independent, positive value per replica, R >= 2.

    Returns
    -------
    value, low, high : ndarray, shape (...)
    """
    n = len(mean_squares)
    mean = mean_squares.mean(axis=0)
    error = mean_squares.std(axis=0, ddof=1) / np.sqrt(n) / mean
    width = stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1) * 0.5 * error
    value = np.sqrt(mean)
    return value, value * np.exp(-width), value * np.exp(width)


def log_slope(x: Floats, mean_squares: Floats, weights: Floats) -> tuple[float, float, float]:
    """Return the exponent of the root-mean-square error in x, with its interval.

    Weighted least squares of log RMS on log x; the interval is Student's on the jackknife over replicas, because the
    points of one replica share their noise.

    Parameters
    ----------
    x : ndarray, shape (n,)
        n >= 2 positive values.
    mean_squares : ndarray, shape (R, n)
        R >= 2 independent replicas.
    weights : ndarray, shape (n,)
        Inverse relative variances of the points, up to a factor.

    Returns
    -------
    slope, low, high : float
    """
    abscissa = np.log(x) - np.average(np.log(x), weights=weights)

    def slope(rows: Floats) -> float:
        ordinate = 0.5 * np.log(rows.mean(axis=0))
        return float((weights * abscissa * ordinate).sum() / (weights * abscissa**2).sum())

    n = len(mean_squares)
    value = slope(mean_squares)
    left_out = np.array([slope(np.delete(mean_squares, r, axis=0)) for r in range(n)])
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    width = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1) * error)
    return value, value - width, value + width


def ratio_of_means(numerator: Floats, denominator: Floats) -> tuple[float, float, float]:
    """Return the ratio of two means over replicas with Student's interval on the jackknife.

    Parameters
    ----------
    numerator, denominator : ndarray, shape (R,)
        R >= 2 independent replicas.

    Returns
    -------
    ratio, low, high : float
    """
    n = len(numerator)
    value = float(numerator.mean() / denominator.mean())
    left_out = (numerator.sum() - numerator) / (denominator.sum() - denominator)
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    width = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1) * error)
    return value, value - width, value + width


def mean_interval(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the mean over replicas (first axis) with Student's interval: value, low, high."""
    n = len(values)
    mean = values.mean(axis=0)
    width = stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return mean, mean - width, mean + width
