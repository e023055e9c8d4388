"""How tokens of any dimension come to lie on a plane: circle, globe, or two principal axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats, Tokens

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VIEW = (25.0, -60.0)  # elevation and azimuth of the viewer of a globe, in degrees
_GRID = np.linspace(0, 2 * math.pi, 181)  # points of a circle
_DEGREES = 30  # between two lines of a globe's grid
_ORTHONORMAL = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Projection:
    """An orthogonal projection of R^d onto the plane of a picture.

    Attributes
    ----------
    plane : ndarray, shape (2, d)
        Orthonormal rows: right and up.
    towards : ndarray of shape (d,), or None
        Unit vector to the viewer, for a globe: tokens on the side away from it are behind the globe.
    labels : tuple of str
        Of the two axes; empty for a globe.
    """

    plane: Floats
    towards: Floats | None = None
    labels: tuple[str, ...] = ()

    def place(self, x: Tokens) -> tuple[Floats, Any]:
        """Return the places (n, 2) of tokens (n, d), and which of them are in front."""
        places = np.asarray(x @ self.plane.T, dtype=np.float64)
        is_front = np.ones(len(x), dtype=bool) if self.towards is None else x @ self.towards >= 0
        return places, is_front

    def draw_background(self, ax: Axes) -> None:
        """Draw the sphere's outline, or a globe with its grid, and name the axes."""
        ax.set_aspect("equal")
        ax.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1))
        outline: dict[str, Any] = {"color": "0.6", "linewidth": 0.8, "zorder": 1}
        if self.towards is None:
            ax.plot(np.cos(_GRID), np.sin(_GRID), **outline)
            ax.set(xlabel=self.labels[0], ylabel=self.labels[1], xticks=(-1, 0, 1), yticks=(-1, 0, 1))
            return
        ax.fill(np.cos(_GRID), np.sin(_GRID), facecolor="0.97", edgecolor="none", zorder=0)
        ax.plot(np.cos(_GRID), np.sin(_GRID), **outline)
        places, is_front = self.place(_grid_of_globe())
        for is_shown, shade in ((~is_front, "0.92"), (is_front, "0.80")):
            ax.plot(*np.where(is_shown[:, None], places, np.nan).T, color=shade, linewidth=0.5, zorder=1)
        ax.set_axis_off()


def projection(x: Tokens, *, view: Any = VIEW, plane: Any = None) -> Projection:
    """Return the projection for tokens (n, d).

    Parameters
    ----------
    x : ndarray, shape (n, d)
        For d > 3 the plane is spanned by the two leading eigenvectors of Σ x xᵀ.
    view : tuple of float
        Elevation and azimuth of the viewer in degrees, for d = 3.
    plane : array_like, shape (2, d), optional
        Orthonormal rows, in place of the view or of the eigenvectors.

    Returns
    -------
    Projection

    Raises
    ------
    TypeError, ValueError
        If view is not two numbers or the rows of plane are not orthonormal.
    """
    dim = x.shape[1]
    angles = _angles(view)
    if plane is not None:
        rows = checks.array(plane, "plane")
        if rows.shape != (2, dim):
            raise ValueError(f"plane must have shape (2, {dim}), two directions, got {rows.shape}")
        if not np.abs(rows @ rows.T - np.eye(2)).max() <= _ORTHONORMAL:
            raise ValueError("plane must have orthonormal rows; np.linalg.qr(plane.T)[0].T are such")
        return Projection(plane=rows, labels=(r"$\langle x, e_1 \rangle$", r"$\langle x, e_2 \rangle$"))
    if dim == 2:
        return Projection(plane=np.eye(2), labels=("$x_1$", "$x_2$"))
    if dim == 3:
        (sin_e, sin_a), (cos_e, cos_a) = np.sin(angles), np.cos(angles)
        rows = np.array([[-sin_a, cos_a, 0.0], [-sin_e * cos_a, -sin_e * sin_a, cos_e]])
        return Projection(plane=rows, towards=np.array([cos_e * cos_a, cos_e * sin_a, sin_e]))
    return _principal(x)


def _angles(view: Any) -> Floats:
    if not isinstance(view, Sequence) or isinstance(view, checks.RAW) or len(view) != 2:
        raise TypeError(f"view must be (elevation, azimuth) in degrees, got {messages.shown(view)}")
    return np.radians([checks.number(angle, "view", low=-360, high=360) for angle in view])


def _principal(x: Tokens) -> Projection:
    # One token has one direction: another that is orthogonal to it comes with the full factor.
    _, sizes, axes = np.linalg.svd(np.asarray(x, dtype=np.float64), full_matrices=len(x) == 1)
    axes = axes[:2]
    axes *= np.where(axes @ x.mean(axis=0) < 0, -1, 1)[:, None]  # of either direction, that of most tokens
    shares = np.append(sizes, 0.0)[:2] ** 2 / (sizes**2).sum()
    labels = (f"principal axis {k} ({share:.0%} of $|x|^2$)" for k, share in enumerate(shares, 1))
    return Projection(plane=axes, labels=tuple(labels))


def _grid_of_globe() -> Floats:
    """Return meridians and parallels as points (n, 3), one line after the other, with NaN between them."""
    zero, gap = np.zeros_like(_GRID), np.full((1, 3), np.nan)
    lines = []
    for longitude in np.radians(np.arange(0, 180, _DEGREES)):
        meridian = (np.cos(longitude) * np.cos(_GRID), np.sin(longitude) * np.cos(_GRID), np.sin(_GRID))
        lines += [np.stack(meridian, axis=1), gap]
    for latitude in np.radians(np.arange(_DEGREES - 90, 90, _DEGREES)):
        parallel = (np.cos(latitude) * np.cos(_GRID), np.cos(latitude) * np.sin(_GRID), zero + np.sin(latitude))
        lines += [np.stack(parallel, axis=1), gap]
    return np.concatenate(lines)
