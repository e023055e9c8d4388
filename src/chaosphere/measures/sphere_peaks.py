"""Modes of a density on S²: how many local maxima its expansion in harmonics has, and where."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.reprs import Brief
from chaosphere.geometry import sphere, sphere_grid
from chaosphere.geometry.sphere_grid import MAX_MODES, SphereGrid

_FINE = 6  # the grid sums polynomials of this many times the degree: a shortest wave is six points long
_REACH = 3.0  # over the degree, about three points: how far a maximum is sought from a point with a small gradient
_POINT_BYTES = 700  # memory for each point of the grid
_FLAT = 1e-10  # of the largest coefficient: the rounding of values
_STEP = 1e-4  # over the degree: of differences of gradients
_MAX_STEPS = 60
_SAME = 1e-5  # over the degree: distance of two polished maxima that are one

_Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SphereModes(Brief):
    """What `sphere_modes` finds in one density, the highest maximum first.

    Parameters
    ----------
    points : ndarray of float64, shape (K, 3)
        Where the local maxima are, unit vectors.
    values : ndarray of float64, shape (K,)
        The density there, with respect to the uniform probability.

    See Also
    --------
    chaosphere.measures.sphere_modes : Local maxima of a density on S².

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> coefficients = np.zeros((3, 3))
    >>> coefficients[0, 0], coefficients[2, 0] = 1.0, 0.1  # largest at the poles
    >>> len(cs.measures.sphere_modes(coefficients).points)
    2
    """

    points: Floats
    values: Floats


_NONE = SphereModes(points=np.zeros((0, 3)), values=np.zeros(0))


def sphere_modes(coefficients: Any, *, prominence: float = 0.0) -> Any:
    """Return the local maxima of a density on S² that is expanded in spherical harmonics.

    Parameters
    ----------
    coefficients : array_like of complex, shape (K + 1, K + 1) or (R, K + 1, K + 1)
        m_{l,m} as in `SphereSolution.modes`, by degree and order; those of m > l are not used. K in [1, 1024].
    prominence : float
        At least 0: a maximum counts if the density falls by this much at least on any way from it to a higher value,
        and from the highest one to the lowest value. It keeps ripples out.

    Returns
    -------
    SphereModes, or list of SphereModes
        One for each of R densities, which has no maximum if it is constant.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, coefficients are not finite, those of order 0 are not real, or the grid would
        take more memory than this machine has: 13 GB for K = 1024.
    ImportError
        If ducc0 is not installed; it is in the extra "sphere".

    See Also
    --------
    chaosphere.measures.SphereModes : Points and values.
    chaosphere.measures.modes : Local maxima of a density on the circle.
    chaosphere.SphereSolution : Densities on S² over time, by these coefficients.

    Notes
    -----
    The density is taken on a grid with six points in the shortest wave, that of the last degree with a coefficient that
    is not 0: to append zeros changes nothing. Every point belongs to the maximum that the steepest way over its eight
    neighbours leads to. Where two such regions meet, the lower maximum ends; the prominence is its height above that
    place, on the grid. Newton's method on the gradient of the expansion then brings each maximum to its place, to about
    1e-8. With prominence 0 it also starts from all points with a gradient so small that a maximum which the grid does
    not show may be next to them. Two maxima count as one where they are closer than 1e-5 over the degree. With a
    positive prominence only those that the grid shows count: a maximum on a narrow ridge may be left out though the
    density falls by a little more than the prominence around it.

    A band of equal values has as many maxima as rounding and the grid give it: a positive prominence leaves one.

    Four transforms of O(K³) operations, O(K²) beside them, and as much per maximum and Newton step as the K²/2
    coefficients; about 13 K² kB of memory. Deterministic.

    Examples
    --------
    Two bumps, one twice as high:

    >>> import chaosphere as cs
    >>> bumps = [
    ...     cs.laws.VonMisesFisher(mean_direction=v, concentration=20.0)
    ...     for v in ((0.0, 0.0, 1.0), (0.6, 0.8, 0.0))
    ... ]
    >>> law = cs.laws.Mixture(components=tuple(bumps), proportions=(2 / 3, 1 / 3))
    >>> model = cs.LimitSDE(attention=cs.SoftmaxAttention(), field=None, horizon=0.1, n_steps=1)
    >>> sol = cs.SphereDensity(model=model, law=law, n_modes=48).solve(rng=0, save_at=[0.0])
    >>> peaks = cs.measures.sphere_modes(sol.modes[0])
    >>> peaks.points.round(3) + 0.0
    array([[0. , 0. , 1. ],
           [0.6, 0.8, 0. ]])
    """
    array = np.asarray(coefficients)
    if array.ndim not in (2, 3) or array.shape[-1] != array.shape[-2] or not 2 <= array.shape[-1] <= MAX_MODES + 1:
        raise ValueError(
            "coefficients must have shape (K + 1, K + 1) or (R, K + 1, K + 1), "
            f"K in [1, {MAX_MODES}], got {array.shape}"
        )
    if not np.issubdtype(array.dtype, np.number):
        raise TypeError(f"coefficients must be numbers, got dtype {array.dtype}")
    packed = sphere_grid.packed(array.astype(np.complex128))
    if not np.isfinite(packed).all():
        raise ValueError("coefficients must be finite")
    if (np.abs(array[..., 0].imag) > _FLAT * np.abs(packed).max()).any():
        raise ValueError("coefficients of order 0 must be real: the density is")
    prominence = checks.number(prominence, "prominence", low=0)
    squares = array.reshape(-1, *array.shape[-2:])
    rows = [_without_zeros(square) for square in squares]
    _check_memory(max((n_modes for _, n_modes in rows), default=0))
    grids = {n: SphereGrid(n, n_exact=_FINE * n) for n in {n_modes for _, n_modes in rows} if n > 0}
    results = [_modes(row, grids[n], prominence) if n > 0 else _NONE for row, n in rows]
    return results if array.ndim == 3 else results[0]


def _without_zeros(square: Any) -> tuple[Any, int]:
    """Return the packed coefficients up to the last degree with one that is not 0, and this degree."""
    lower = np.tril(square)
    n_modes = int(np.flatnonzero(lower.any(axis=1))[-1]) if lower.any() else 0
    return sphere_grid.packed(square[: n_modes + 1, : n_modes + 1].astype(np.complex128)), n_modes


def _check_memory(n_modes: int) -> None:
    n_bytes, limit = _POINT_BYTES * sphere_grid.n_points(_FINE * n_modes), checks.machine_memory()
    if n_bytes > limit:
        raise ValueError(
            f"coefficients up to degree {n_modes} would take about {n_bytes / 1e9:.3g} GB, and this machine has "
            f"{limit / 1e9:.3g} GB; leave out small ones of high degree"
        )


def _modes(row: Any, grid: SphereGrid, prominence: float) -> SphereModes:
    values = grid.values(row)
    rounding = _FLAT * float(np.abs(values).max())
    neighbours = _neighbours(*grid.shape)
    starts = _maxima(values, neighbours, max(prominence, rounding))
    points, _ = _polished(row, grid.points[starts], n_modes=grid.n_modes)
    if prominence == 0:
        others = np.setdiff1d(_near_critical(row, grid, neighbours, rounding), starts)
        more, is_maximum = _polished(row, grid.points[others], n_modes=grid.n_modes, reach=_REACH / grid.n_modes)
        points = np.concatenate([points, more[is_maximum]])
    heights = sphere_grid.values_at(row[None], points, n_modes=grid.n_modes)[0] if len(points) else np.zeros(0)
    order = np.argsort(-heights, kind="stable")
    points, heights = points[order], heights[order]
    distances = scipy.spatial.distance.cdist(points, points) if len(points) else np.zeros((0, 0))
    is_new = ~np.tril(distances < _SAME / grid.n_modes, -1).any(axis=1)
    return SphereModes(points=points[is_new], values=heights[is_new])


def _near_critical(row: Any, grid: SphereGrid, neighbours: _Indices, rounding: float) -> _Indices:
    """Return the points next to which there may be a maximum, though not on the grid.

    At a point next to one the gradient is smaller than what it changes by to some neighbour, and the Laplacian
    negative. Changes that differ by no more than rounding say nothing.
    """
    degree = sphere_grid.degrees(grid.n_modes)
    is_hill = grid.values(-degree * (degree + 1.0) * row) < 0
    parts = grid.gradient(row)
    slopes = parts[0][:, None] * grid.frame[0] + parts[1][:, None] * grid.frame[1]
    change = np.zeros(len(slopes))
    for to in neighbours:
        change = np.maximum(change, ((slopes[to] - slopes) ** 2).sum(axis=1))
    is_small = ((slopes**2).sum(axis=1) <= change) & (np.sqrt(change) > rounding * grid.n_modes)
    return np.flatnonzero(is_hill & is_small)


def _neighbours(n_rings: int, n_longitudes: int) -> _Indices:
    """Return the eight neighbours of every point, shape (8, n); across a pole for the first and the last ring."""
    ring, longitude = np.divmod(np.arange(n_rings * n_longitudes), n_longitudes)
    out = []
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            if down or right:
                to = ring + down
                is_across = (to < 0) | (to >= n_rings)
                at = (longitude + right + np.where(is_across, n_longitudes // 2, 0)) % n_longitudes
                out.append(np.clip(to, 0, n_rings - 1) * n_longitudes + at)
    return np.stack(out)


def _maxima(values: Floats, neighbours: _Indices, prominence: float) -> _Indices:
    """Return the points of a graph that are local maxima of a prominence, the highest first."""
    n = len(values)
    rank = np.empty(n, np.int64)  # the order of values; of equal ones the first counts as the higher
    rank[np.lexsort((-np.arange(n), values))] = np.arange(n)
    to = np.concatenate([np.arange(n)[None], neighbours])
    end = np.take_along_axis(to, rank[to].argmax(axis=0)[None], axis=0)[0]
    while not np.array_equal(end[end], end):
        end = end[end]
    peaks = np.flatnonzero(end == np.arange(n))
    peaks = peaks[np.argsort(-rank[peaks])]
    place = np.empty(n, np.int64)
    place[peaks] = np.arange(len(peaks))
    of_point = place[end]
    here, there = np.broadcast_to(of_point, neighbours.shape), of_point[neighbours]
    is_pass = here != there
    pairs = np.sort(np.stack([here[is_pass], there[is_pass]]), axis=0)
    passes = np.minimum(values, values[neighbours])[is_pass]
    by_height = np.argsort(-passes, kind="stable")
    _, highest = np.unique(pairs[:, by_height], axis=1, return_index=True)
    root = list(range(len(peaks)))
    heights = values[peaks] - values.min()
    for edge in by_height[np.sort(highest)]:
        a, b = sorted(_root(root, int(region)) for region in pairs[:, edge])
        if a != b:
            root[b] = a
            heights[b] = values[peaks[b]] - passes[edge]
    return np.asarray(peaks[(heights >= prominence) & (heights > 0)])


def _root(root: list[int], at: int) -> int:
    while root[at] != at:
        root[at] = root[root[at]]
        at = root[at]
    return at


def _polished(row: Any, x: Floats, *, n_modes: int, reach: float = math.inf) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the maxima of an expansion near points, by Newton's method on its gradient, and where there is one.

    A point that is moved farther than the reach is given up.
    """
    start, x, is_maximum = x, x.copy(), np.zeros(len(x), dtype=bool)
    at = np.arange(len(x))  # those that still move
    for _ in range(_MAX_STEPS):
        if len(at) == 0:
            break
        way, is_hill = _newton(row, x[at], n_modes=n_modes)
        size = np.linalg.norm(way, axis=1, keepdims=True)
        x[at] = sphere.normalize(x[at] + way * np.minimum(1.0, 0.5 / n_modes / np.maximum(size, 1e-300)))
        is_maximum[at] = is_hill & (size[:, 0] < _STEP / n_modes)
        is_inside = np.linalg.norm(x[at] - start[at], axis=1) <= reach
        is_maximum[at] &= is_inside
        at = at[is_inside & (size[:, 0] >= 1e-10)]
    return x, is_maximum


def _newton(row: Any, x: Floats, *, n_modes: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return Newton's steps (N, 3) uphill, and where all curvatures are negative."""
    step, modes = _STEP / n_modes, row[None]
    first = np.eye(3)[np.abs(x).argmin(axis=1)]
    a = sphere.normalize(first - (first * x).sum(axis=1, keepdims=True) * x)
    b = np.cross(x, a)
    around = np.concatenate([x] + [sphere.normalize(x + h * v) for v in (a, b) for h in (step, -step)])
    slopes = sphere_grid.gradients_at(modes, around, n_modes=n_modes)[0].reshape(5, -1, 3)
    frame = np.stack([a, b], axis=1)
    gradient = np.einsum("nai,ni->na", frame, slopes[0])
    changes = np.stack([slopes[1] - slopes[2], slopes[3] - slopes[4]], axis=1) / (2 * step)
    hessian = np.einsum("nai,nbi->nab", frame, changes)
    curvatures, axes = np.linalg.eigh((hessian + hessian.swapaxes(1, 2)) / 2)
    # Uphill whatever the curvature is; along a band, where it is 0, not at all.
    parts = np.einsum("nak,na->nk", axes, gradient)
    floor = 1e-7 * np.abs(curvatures).max(axis=1, keepdims=True) + 1e-300
    parts = np.where(np.abs(curvatures) > floor, parts / np.maximum(np.abs(curvatures), floor), 0.0)
    return np.einsum("nak,nk,nai->ni", axes, parts, frame), (curvatures < -floor).all(axis=1)
