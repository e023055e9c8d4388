"""Labelled arrays on disk, and estimates with their intervals."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from scipy import stats

from chaosphere.common import checks, files
from chaosphere.common.checks import Floats
from chaosphere.common.config import configuration as configuration
from chaosphere.common.streams import STREAM_VERSION
from chaosphere.simulation.identity import differences

CONFIDENCE = 0.99  # of every interval that an experiment prints
_MARK = b"\nSHA-256 of all before this line: "
FEWEST_REPLICAS = 2.0  # effective ones that must carry the mean of a positive quantity for it to have an interval
_NOTE = {"checksum": "SHA-256 at the end of the file"}  # an attribute, so that an end which is lost is missed


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A measured number beside what is expected.

    Attributes
    ----------
    quantity : str
    measured, low, high : float
        Estimate and the ends of its 99 % interval; NaN where there is none.
    expected : float or None
    is_bound : bool
        The expected value is an upper bound.
    relevant : float or None
        Difference from the expected value that an interval must be able to tell; half of the expected value if None.
    """

    quantity: str
    measured: float
    low: float
    high: float
    expected: float | None
    is_bound: bool = False
    relevant: float | None = None

    @property
    def verdict(self) -> str:
        """What the interval says: "agrees", "differs", "inconclusive", or "no claim" where nothing is expected.

        A bound is confirmed by an interval below it, refuted by one above it; one that straddles it is inconclusive.
        A value is refuted by an interval that leaves it out. One that holds it agrees, unless it reaches farther from
        the value than `relevant`: then it could not have told a difference that matters, and is inconclusive.
        """
        if self.expected is None:
            return "no claim"
        if not self.low <= self.high:
            return "inconclusive"
        if self.low > self.expected or (self.high < self.expected and not self.is_bound):
            return "differs"
        if self.is_bound:
            return "agrees" if self.high <= self.expected else "inconclusive"
        reach = max(self.expected - self.low, self.high - self.expected)
        relevant = abs(self.expected) / 2 if self.relevant is None else self.relevant
        return "agrees" if reach <= relevant else "inconclusive"

    def as_dict(self) -> dict[str, Any]:
        """Return quantity, measured, low, high, expected and verdict as values of JSON; None for what is not finite."""
        numbers = {name: getattr(self, name) for name in ("measured", "low", "high", "expected")}
        finite = {name: v if v is not None and math.isfinite(v) else None for name, v in numbers.items()}
        return {"quantity": self.quantity, **finite, "verdict": self.verdict}


def format_claims(claims: Sequence[Claim]) -> str:
    """Return the claims as lines of text: quantity, measured, 99 % interval, expected, verdict."""
    if not claims:
        return "no claims: nothing here can be held against an expected value"
    width = max(len(claim.quantity) for claim in claims)
    lines = [f"{'':>{width}} {'measured':>9}   {'99 % interval':^20} {'expected':>9}"]
    for claim in claims:
        expected = "" if claim.expected is None else f"{'≤ ' if claim.is_bound else ''}{claim.expected:.4f}"
        interval = f"[{claim.low:8.4f}, {claim.high:8.4f}]" if claim.low <= claim.high else f"{'none':^20}"
        lines.append(f"{claim.quantity:>{width}} {claim.measured:9.4f}   {interval} {expected:>9}   {claim.verdict}")
    return "\n".join(lines)


def summary(claims: Sequence[Claim]) -> str:
    """Return how many claims have each verdict, and those that differ or are inconclusive, as lines of text."""
    counts = Counter(claim.verdict for claim in claims if claim.expected is not None)
    text = f"{counts['agrees']} agree, {counts['differs']} differ, {counts['inconclusive']} are inconclusive"
    lines = [f"{counts.total()} claims: {text}"]
    rest = [claim for claim in claims if claim.verdict in ("differs", "inconclusive")]
    return "\n".join([*lines, format_claims(rest)] if rest else lines)


def require() -> None:
    """Raise ImportError unless NetCDF files can be written here; called before long work."""
    for module in ("xarray", "h5netcdf", "h5py"):
        checks.extra(module, "io")


def save(dataset: Any, path: str | os.PathLike[str]) -> None:
    """Write an xarray.Dataset as NetCDF, so that the file is complete or what it was before.

    Facts about this installation go into the attribute `configuration`. The file ends with the SHA-256 of all that is
    before it, which `load` verifies and other readers leave alone; for them, arrays of numbers carry checksums.

    Parameters
    ----------
    dataset : xarray.Dataset
    path : path

    Raises
    ------
    ImportError
        If xarray, h5netcdf or h5py is not installed.
    OSError
        If the file cannot be written, such as on a full disk.

    Notes
    -----
    The file is put together in memory. `held` keeps other processes from writing it.
    """
    require()
    target = files.local(path, "path")
    dataset = dataset.assign_attrs(_NOTE, configuration=json.dumps(configuration()))
    arrays = [name for name, array in dataset.variables.items() if array.ndim and array.size]
    summed = {name: {"fletcher32": True} for name in arrays if dataset[name].dtype.kind in "biuf"}
    # HDF5 that fails to write a file cannot close it either, and crashes later.
    buffer = io.BytesIO()
    dataset.to_netcdf(buffer, engine="h5netcdf", encoding=summed)
    content = buffer.getvalue()

    def write(stream: BinaryIO) -> None:
        stream.write(content)
        stream.write(_MARK + _digest(content))

    try:
        with files.Lock(target.with_name(target.name + ".tmp"), "file"):
            files.replace(target, write)
    except files.InUseError:
        raise
    except OSError as error:
        raise OSError(error.errno, f"{target} could not be written ({error.strerror})") from error


def load(path: str | os.PathLike[str]) -> Any:
    """Read a dataset that `save` wrote, all into memory, and close the file.

    Raises
    ------
    ImportError
        If xarray, h5netcdf or h5py is not installed.
    OSError
        If the file cannot be read.
    ValueError
        If the file is damaged, or is not NetCDF.

    Notes
    -----
    A file without its SHA-256, as version 0.1.0 wrote it or as other programs leave it, is read with a warning.
    """
    require()
    target = files.local(path, "path")
    content = target.read_bytes()
    content, end = content[: -len(_MARK) - 64], content[-len(_MARK) - 64 :]
    has_mark, has_digest = end.startswith(_MARK), end.endswith(_digest(content))
    try:
        if has_mark != has_digest:
            raise ValueError("it does not agree with its checksum")
        dataset = checks.extra("xarray", "io").load_dataset(
            io.BytesIO(content if has_mark else content + end), engine="h5netcdf"
        )
        if _NOTE.keys() & dataset.attrs.keys() and not has_mark:
            raise ValueError("its checksum is lost")
    except Exception as error:  # whatever the libraries raise for a broken file
        raise ValueError(
            f"{target} is damaged, or is not NetCDF ({error or type(error).__name__}); remove it and run again, or "
            "bring back a copy"
        ) from error
    if not has_mark:
        warnings.warn(
            f"{target} has no checksum, as version 0.1.0 wrote it: not all damage can be noticed", stacklevel=2
        )
    for name in _NOTE:
        dataset.attrs.pop(name, None)
    return dataset


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def identity(parameters: Mapping[str, Any], sequence: np.random.SeedSequence) -> str:
    """Return what decides the numbers of a study, its parameters and its seed, as JSON."""
    seed = {
        "entropy": str(sequence.entropy),
        "spawn_key": str(sequence.spawn_key),
        "stream_version": STREAM_VERSION,
    }
    return json.dumps({**parameters, **seed})


def resume(path: str | os.PathLike[str] | None, identity: str) -> Any:
    """Return the dataset in a file, None if there is none yet; the attribute `identity` says which study it is.

    Raises
    ------
    ValueError
        If the file is damaged or holds another study; the message names the parameters that differ.
    """
    target = None if path is None else files.local(path, "store")
    if target is None or not target.exists():
        return None
    dataset = load(target)
    stored = dataset.attrs.get("identity")
    if stored != identity:
        raise ValueError(
            f"{target} holds another study ({study_differences(stored, identity)}); remove it or name another "
            "place (on the command line: --out)"
        )
    return dataset


def study_differences(stored: Any, identity: str) -> str:
    """Return in which parameters two studies differ, as text: "model.depth is 8, not 16; ..."."""
    try:
        return differences(_parameters(json.loads(stored)), _parameters(json.loads(identity)))
    except (TypeError, ValueError):
        return "it does not say of which"


def _parameters(study: Any) -> dict[str, Any]:
    """Return the values of an identity by the path of their names; one that is the same in all cases stands once."""
    values: dict[str, list[Any]] = {}

    def visit(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                visit(inner, f"{path}.{key}" if path else ("seed" if key == "entropy" else key))
        elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
            for inner in value:
                visit(inner, path)
        elif value not in values.setdefault(path, []):
            values[path].append(value)

    visit(study, "")
    return {path: inner[0] if len(inner) == 1 else inner for path, inner in values.items()}


@contextlib.contextmanager
def held(store: str | os.PathLike[str] | None, identity: str) -> Iterator[tuple[Path | None, Any]]:
    """Hold the NetCDF file of an experiment for this process, and yield its path and what it holds so far.

    Parameters
    ----------
    store : path or None
        None, for an experiment that keeps no file, yields (None, None).
    identity : str
        The study, as JSON; see `resume`.

    Raises
    ------
    ValueError
        If the file cannot be written, or holds another study.
    OSError
        If another process writes it.
    """
    if store is None:
        yield None, None
        return
    require()
    path = files.local(store, "store")
    files.check_writable(path, "store")
    with files.Lock(path, "file"):
        yield path, resume(path, identity)


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
    width = _student(n) * 0.5 * error
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
    width = float(_student(n) * error)
    return value, value - width, value + width


def ratio_of_means(numerator: Floats, denominator: Floats) -> tuple[float, float, float]:
    """Return the ratio of two positive means over replicas with Student's interval on the jackknife of its logarithm.

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
    # Two replicas may say nothing: then the upper end is infinite, or there is no interval.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rest = [(np.delete(numerator, r).sum(), np.delete(denominator, r).sum()) for r in range(n)]
        left_out = np.log([a / b for a, b in rest])
        error = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
        low, high = value * np.exp(np.array([-1, 1]) * _student(n) * error)
    return value, float(low), float(high)


def mean_interval(
    values: Floats, *, at_least: float = -math.inf, at_most: float = math.inf
) -> tuple[Floats, Floats, Floats]:
    """Return the mean over replicas (first axis) with its 99 % interval, which respects the range of the values.

    Parameters
    ----------
    values : ndarray, shape (R, ...)
        One independent value per replica.
    at_least, at_most : float
        Range of the values: none (Student's interval), from `at_least` on, or between both.

    Returns
    -------
    mean, low, high : ndarray, shape (...)
        The interval is NaN for one replica. In a range with one end it is also NaN where fewer than FEWEST_REPLICAS
        carry the mean; see `effective_replicas`.

    Notes
    -----
    Between two ends: the interval of Clopper and Pearson for a fraction, with the number of draws that have the
    variance of the mean, corrected for few replicas (Korn and Graubard, Survey Methodology 24, 1998).

    With one end (values such as energies and squares of distances are positive): the logarithm of the mean, from the
    smaller to the larger end of two intervals. One is Student's with the relative variance of the sample. The other is
    that of a log-normal law (Zou, Huo and Taleban, Environmetrics 20, 2009), which distances follow under a common
    noise: of its large values a sample holds too few, and Student's interval leaves out the mean.

    Examples
    --------
    >>> mean, low, high = mean_interval(np.array([1.0, 0.9, 1.0, 1.0]), at_least=0, at_most=1)
    >>> bool(low < mean < high <= 1)
    True
    """
    values = np.asarray(values, dtype=np.float64)
    n, mean = len(values), values.mean(axis=0)
    if n < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    if math.isfinite(at_least) and math.isfinite(at_most):
        scale = at_most - at_least
        low, high = _interval_of_fraction((values - at_least) / scale)
        low, high = at_least + scale * low, at_least + scale * high
    elif math.isfinite(at_least):
        low, high = _interval_of_positive(values - at_least)
        low, high = at_least + low, at_least + high
    else:
        width = _student(n) * values.std(axis=0, ddof=1) / np.sqrt(n)
        low, high = mean - width, mean + width
    return mean, np.minimum(low, mean), np.maximum(high, mean)  # equal values: the ends have roundings of their own


def effective_replicas(values: Floats) -> Floats:
    """Return how many replicas carry the mean of positive values: R exp(−s²), s² the variance of their logarithms.

    Under a log-normal law this is R E[X]²/E[X²], the number of equal values whose mean varies as much. It is taken
    from the logarithms because a sample that misses the large values cannot show by its own mean that it does.

    Parameters
    ----------
    values : ndarray, shape (R, ...)
        R >= 2, positive.

    Returns
    -------
    ndarray, shape (...)
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.nan_to_num(np.log(values).var(axis=0, ddof=1), nan=np.inf)
    # Equal values, zeros among them, have no spread.
    return np.asarray(len(values) * np.exp(-np.where(np.ptp(values, axis=0) == 0, 0.0, spread)))


def _interval_of_positive(values: Floats) -> tuple[Floats, Floats]:
    n, mean = len(values), values.mean(axis=0)
    t, tail = _student(n), (1 - CONFIDENCE) / 2
    smaller, larger = (n - 1) / stats.chi2.ppf([1 - tail, tail], n - 1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        logarithms = np.log(values)
        variance = logarithms.var(axis=0, ddof=1)
        centre, error = logarithms.mean(axis=0) + variance / 2, t**2 * variance / n
        width = t * values.std(axis=0, ddof=1) / np.sqrt(n) / mean
        low = np.minimum(np.log(mean) - width, centre - np.sqrt(error + (variance / 2 * (1 - smaller)) ** 2))
        high = np.maximum(np.log(mean) + width, centre + np.sqrt(error + (variance / 2 * (larger - 1)) ** 2))
        ends = np.exp(low), np.exp(high)
    is_equal = np.ptp(values, axis=0) == 0
    is_carried = effective_replicas(values) >= FEWEST_REPLICAS
    low, high = (np.where(is_equal, mean, np.where(is_carried, end, np.nan)) for end in ends)
    return low, high


def _interval_of_fraction(values: Floats) -> tuple[Floats, Floats]:
    n, mean = len(values), np.clip(values.mean(axis=0), 0, 1)
    tail = (1 - CONFIDENCE) / 2
    variance = values.var(axis=0, ddof=1) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = mean * (1 - mean) / variance * (stats.norm.ppf(tail) / _student(n)) ** 2
    # Values that are all 0 or all 1 say no more than as many answers of yes or no.
    draws = np.where(np.isnan(draws) | (draws == 0), n, draws)
    hits, misses = draws * mean, draws * (1 - mean)
    # Far from the ends the interval is Student's, which needs no function of huge numbers.
    is_far = np.minimum(hits, misses) > 1e8
    width, hits, misses = _student(n) * np.sqrt(variance), np.where(is_far, 1, hits), np.where(is_far, 1, misses)
    low = np.where(hits > 0, stats.beta.ppf(tail, hits, misses + 1), 0.0)
    high = np.where(misses > 0, stats.beta.ppf(1 - tail, hits + 1, misses), 1.0)
    return np.where(is_far, mean - width, low), np.where(is_far, mean + width, high)


def _student(n_replicas: int) -> float:
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, n_replicas - 1))
