"""Tokens as points: on the circle, on a globe, or projected from higher dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.plot import style
from chaosphere.plot.projections import VIEW, Projection, projection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = 4.0  # inches of a picture of tokens, wide and high
_BEHIND = 0.25  # opacity of what is behind the globe


def tokens(x: Tokens, *, ax: Any = None, color: Any = None, view: Any = VIEW, plane: Any = None) -> Axes:
    """Draw tokens as points: on the circle (d = 2), on a globe (d = 3), or projected onto a plane (d > 3).

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere. Each of R replicas has a colour of its own.
    ax : matplotlib.axes.Axes, optional
        Where to draw, as `plt.subplots()` gives it. Default: a new figure.
    color : color or array_like, shape (N,) or (R, N), optional
        A colour of Matplotlib for all tokens; or an array: whole numbers are labels, such as those of clusters, with a
        colour for each; other numbers are values, with a colour bar.
    view : tuple of float
        For d = 3: elevation and azimuth of the viewer, in degrees.
    plane : array_like, shape (2, d), optional
        Orthonormal rows to project onto. Give the same for pictures that are to be compared. Default for d > 3: the two
        principal axes of the tokens, the leading eigenvectors of Σ x xᵀ; the labels say which share of |x|² they hold.

    Returns
    -------
    matplotlib.axes.Axes
        With the tokens drawn.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError, ValueError
        If x is not made of tokens, or another argument is out of range.

    See Also
    --------
    chaosphere.plot.clip : Write an animation of a run.
    chaosphere.plot.cosines : Draw the cosines of pairs, which a projection from many dimensions does not show.
    chaosphere.plot.save : Write a picture to a file.
    chaosphere.Solution.plot : Draw a run.

    Notes
    -----
    The globe is drawn in orthographic projection. Tokens behind it are faint.

    Examples
    --------
    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(200, 3, rng=0)
    >>> ax = cs.plot.tokens(x, color=x[:, 2])
    >>> len(ax.figure.axes)  # the globe, and a colour bar
    2
    """
    batch = checks.tokens(x)
    points = batch.reshape(-1, batch.shape[2])
    where = projection(points, view=view, plane=plane)
    paint = Paint.of(color, batch.shape[:2])
    panel = style.axes(ax, width=SIZE, height=SIZE)
    Cloud(panel, where, paint).show(points)
    if paint.values is not None:
        panel.figure.colorbar(paint.scale(), ax=panel, shrink=0.7)
    return panel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paint:
    """The colour of each token.

    Attributes
    ----------
    colours : ndarray, shape (n, 4)
        Red, green, blue and opacity.
    values : ndarray of shape (n,), or None
        What they stand for, where that is a scale of numbers.
    """

    colours: Floats
    values: Floats | None = None

    @classmethod
    def of(cls, color: Any, shape: tuple[int, ...]) -> Paint:
        """Return the paint of tokens (R, N), checked; `color` as in `tokens`.

        Raises
        ------
        TypeError, ValueError
            If it is neither a colour nor an array with a finite number for each token.
        """
        n_replicas, n_tokens = shape
        module = checks.extra("matplotlib.colors", "plot")
        if color is None and n_replicas > 1:
            color = np.repeat(np.arange(n_replicas), n_tokens).reshape(shape)
        if color is None or isinstance(color, str | tuple):
            if color is not None and not module.is_color_like(color):
                raise ValueError(f"color must be a colour of Matplotlib or an array, got {messages.shown(color)}")
            rgba = module.to_rgba(style.COLOURS[0] if color is None else color)
            return cls(colours=np.tile(rgba, (n_replicas * n_tokens, 1)))
        values = checks.array(color, "color")
        if values.shape not in ((n_tokens,), shape):
            expected = f"({n_tokens},)" + (f" or {shape}" if n_replicas > 1 else "")
            raise ValueError(f"color must have shape {expected}, one number per token, got {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError("color must hold finite numbers")
        flat = np.broadcast_to(values, shape).ravel()
        if np.asarray(color).dtype.kind in "iu":
            labels = np.unique(flat, return_inverse=True)[1]
            return cls(colours=_of_labels(labels))
        return cls(colours=_scale(flat).to_rgba(flat), values=flat)

    def scale(self) -> Any:
        """Return the scale of the values, for a colour bar."""
        assert self.values is not None
        return _scale(self.values)


class Cloud:
    """Tokens on axes, which can be moved.

    Parameters
    ----------
    ax : Axes
    where : Projection
    paint : Paint
    """

    def __init__(self, ax: Axes, where: Projection, paint: Paint) -> None:
        self._where, self._colours = where, paint.colours
        size = float(np.clip(6000 / len(paint.colours), 10, 36))  # points²
        where.draw_background(ax)
        edges: dict[str, Any] = {"s": size, "linewidths": 0.3, "edgecolors": "white"}
        self._behind = ax.scatter([], [], zorder=0.5, **edges)
        self._front = ax.scatter([], [], zorder=2, **edges)

    def show(self, x: Tokens) -> None:
        """Put the tokens (n, d) in their places."""
        places, is_front = self._where.place(x)
        for points, is_shown, opacity in ((self._front, is_front, 0.9), (self._behind, ~is_front, _BEHIND)):
            points.set_offsets(places[is_shown])
            points.set_facecolor(self._colours[is_shown] * (1, 1, 1, opacity))


def _of_labels(labels: Any) -> Floats:
    """Return a colour for each label, counted from 0."""
    module = checks.extra("matplotlib", "plot")
    n_labels = int(labels.max()) + 1
    if n_labels <= len(style.COLOURS):
        palette = module.colors.to_rgba_array(style.COLOURS)
    else:
        palette = module.colormaps["turbo"](np.linspace(0.05, 0.95, n_labels))
    return np.asarray(palette[labels])


def _scale(values: Floats) -> Any:
    module = checks.extra("matplotlib.cm", "plot")
    norm = checks.extra("matplotlib.colors", "plot").Normalize(values.min(), values.max())
    return module.ScalarMappable(norm, cmap="viridis")
