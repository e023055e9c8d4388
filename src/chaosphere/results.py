"""Labelled arrays on disk, and estimates with their intervals."""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np
from scipy import stats

from chaosphere import checks, files
from chaosphere.checks import Floats
from chaosphere.config import configuration as configuration

CONFIDENCE = 0.99  # of every interval that an experiment prints
_MARK = b"\nSHA-256 of all before this line: "
_NOTE = {"checksum": "SHA-256 at the end of the file"}  # an attribute, so that an end which is lost is missed


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
        If the file cannot be written, such as on a full disk, or another process writes it.

    Notes
    -----
    The file is put together in memory.
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


def resume(path: str | os.PathLike[str] | None, identity: str) -> Any:
    """Return the dataset in a file, None if there is none yet; the attribute `identity` says which study it is.

    Raises
    ------
    ValueError
        If the file is damaged or holds another study.
    """
    target = None if path is None else files.local(path, "store")
    if target is None or not target.exists():
        return None
    dataset = load(target)
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
