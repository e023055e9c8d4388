"""Modes of a density on the circle: how many local maxima it has, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.reprs import Brief


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Modes(Brief):
    """What `modes` finds in one density, in the order of the angles.

    Parameters
    ----------
    angles : ndarray of float64, shape (K,)
        Where the local maxima are, in [0, 2π).
    values : ndarray of float64, shape (K,)
        The density there.

    See Also
    --------
    chaosphere.measures.modes : Local maxima of a density on the circle.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> len(cs.measures.modes(np.array([0.0, 2.0, 1.0, 3.0])).angles)
    2
    """

    angles: Floats
    values: Floats


def modes(density: Any, *, prominence: float = 0.0) -> Any:
    """Return the local maxima of a density, or of a histogram, on the circle.

    Parameters
    ----------
    density : array_like of float, shape (n,) or (R, n)
        Values at the angles 2πk/n, k = 0, …, n − 1; n at least 3.
    prominence : float
        At least 0: a maximum counts if the density falls by this much at least on any way from it to a higher value,
        and from the highest one to the lowest value. It keeps the noise of a histogram out.

    Returns
    -------
    Modes, or list of Modes
        One for each of R densities. Of equal neighbouring values the middle is one maximum; there is none where all
        values are equal.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or values are not finite.

    See Also
    --------
    chaosphere.measures.Modes : Angles and values.
    chaosphere.measures.clusters : Clusters of tokens.
    chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.
    chaosphere.measures.sphere_modes : Local maxima of a density on S².

    Notes
    -----
    O(n) by `scipy.signal.find_peaks`. Angles are those of the grid: take a finer one for more digits.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> angles = 2 * np.pi * np.arange(360) / 360
    >>> peaks = cs.measures.modes(1 + 0.5 * np.cos(3 * (angles - 1)))
    >>> peaks.angles.round(2)
    array([0.99, 3.09, 5.18])
    """
    values = checks.array(density, "density")
    if values.ndim not in (1, 2) or values.shape[-1] < 3:
        raise ValueError(f"density must have shape (n,) or (R, n), n >= 3, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("density must be finite")
    prominence = checks.number(prominence, "prominence", low=0)
    rows = [_modes(row, prominence) for row in np.atleast_2d(values)]
    return rows if values.ndim == 2 else rows[0]


def _modes(values: Floats, prominence: float) -> Modes:
    from scipy.signal import find_peaks

    n, lowest = len(values), int(values.argmin())
    # From the lowest value round the circle and back to it, so that no maximum is at an end.
    line = np.append(np.roll(values, -lowest), values[lowest])
    places = np.sort((find_peaks(line, prominence=prominence)[0] + lowest) % n)
    return Modes(angles=2 * np.pi * places / n, values=values[places])
