"""The sum of a multi-index Monte Carlo estimate: which levels, with which coefficients, how many samples of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from chaosphere.common.checks import Floats

Index = tuple[int, int]  # levels in the number of tokens and in that of steps
_TAIL = 0.005  # on either side of the 99 % interval
_HEADROOM = 1.05  # so that a round is seldom short of a few samples
_SURE = 3.0  # standard errors
_QUANTILE = 2.5758  # of the normal law, at 1 − _TAIL
_MAX_SAMPLES = 2.0**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Telescope:
    """All levels up to a layer, and what their means add up to.

    Attributes
    ----------
    layer : int
        Levels (a, b) with a + b up to this take part.
    finest : tuple of (int or None)
        The last levels of tokens and of steps; None where a limit is meant, which no level reaches.
    """

    layer: int
    finest: tuple[int | None, int | None]

    @property
    def indices(self) -> list[Index]:
        """The levels, from the coarsest layer on."""
        last_a, last_b = (self.layer if last is None else last for last in self.finest)
        return [
            (a, layer - a)
            for layer in range(self.layer + 1)
            for a in range(layer + 1)
            if a <= last_a and layer - a <= last_b
        ]

    @property
    def is_complete(self) -> bool:
        """Whether there are no further levels, so that the sum has no bias."""
        last_a, last_b = self.finest
        return last_a is not None and last_b is not None and self.layer >= last_a + last_b

    def extrapolated(self) -> Floats:
        """Return the matrix from the differences of levels to those of the extrapolated levels, one row for each."""
        indices = self.indices
        rows = np.zeros((len(indices), len(indices)))
        for i, (a, b) in enumerate(indices):
            for j, (c, d) in enumerate(indices):
                rows[i, j] = _weight(a, c, last=self.finest[0]) * _weight(b, d, last=self.finest[1])
        return rows

    def sizes_of_layers(self, differences: Floats) -> Floats:
        """Return the sum of the sizes of the extrapolated differences of each layer."""
        layers = np.array([a + b for a, b in self.indices])
        sizes: Floats = np.zeros(self.layer + 1)
        np.add.at(sizes, layers, np.abs(differences))
        return sizes

    def bias_bound(self, differences: Floats) -> float:
        """Return what the levels that do not take part may add up to, if each layer halves the one before at least.

        From the last layer of extrapolated differences, or the one before, whose half the last one should not pass.
        """
        if self.is_complete:
            return 0.0
        sizes = self.sizes_of_layers(differences)
        earlier = sizes[-2] / 2 if self.layer > 2 else 0.0
        return float(max(sizes[-1], earlier))


def _weight(level: int, of: int, *, last: int | None) -> float:
    """Return the weight of the difference `of` in that of an extrapolated level, in one direction.

    The differences halve from level to level, to first order, so that those after a level ℓ sum to (w_ℓ − 1) times its
    own, w_ℓ = 2 − 2^{ℓ − last}. The extrapolated level ℓ is the level ℓ − 1 plus w_ℓ times the difference.
    """
    if of == 0 or of not in (level, level - 1):
        return float(of == level)
    weight = 2.0 if last is None else 2.0 - 2.0 ** (of - last)
    return weight if of == level else 1.0 - weight


def _variance(samples: Floats) -> float:
    """Return the variance of samples; where more than half of them are equal, a larger one for the few that differ.

    Of k samples that differ, as of the events of a Poisson law, the upper limit of their number is U(k), at 99.5 %. The
    variance is scaled so that the normal interval reaches as far.
    """
    n_different = int(np.count_nonzero(samples != np.median(samples)))
    variance = float(samples.var(ddof=1))
    if not 0 < n_different < len(samples) / 2:
        return variance
    limit = float(scipy.special.gammaincinv(n_different + 1, 1 - _TAIL))
    return variance * ((limit - n_different) / _QUANTILE) ** 2 / n_different


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """What the samples of the levels say of their sum.

    Attributes
    ----------
    telescope : Telescope
    means, variances : ndarray
        Of the differences of the levels; the variances are larger where few samples differ from the others.
    n_samples : ndarray of int
    """

    telescope: Telescope
    means: Floats
    variances: Floats
    n_samples: NDArray[np.int64]

    @classmethod
    def of(cls, telescope: Telescope, samples: Sequence[Floats]) -> Moments:
        """Return the moments of samples of each level."""
        return cls(
            telescope=telescope,
            means=np.array([own.mean() for own in samples]),
            variances=np.array([_variance(own) for own in samples]),
            n_samples=np.array([len(own) for own in samples]),
        )

    @property
    def coefficients(self) -> Floats:
        """Coefficients of the means in the sum."""
        return np.asarray(self.telescope.extrapolated().sum(axis=0))

    @property
    def value(self) -> float:
        """The sum."""
        return float(self.coefficients @ self.means)

    @property
    def standard_error(self) -> float:
        """Of the sum."""
        return float(np.sqrt(self._shares().sum()))

    @property
    def half_width(self) -> float:
        """Of the interval without the bias: Student's quantile, of Welch's degrees of freedom, times the error."""
        return self._quantile() * self.standard_error

    @property
    def bias(self) -> float:
        """Bound of the bias."""
        return self.telescope.bias_bound(self.telescope.extrapolated() @ self.means)

    @property
    def least_bias(self) -> float:
        """Bound of the bias with each difference three standard errors nearer to zero."""
        rows = self.telescope.extrapolated()
        errors = np.sqrt(rows**2 @ (self.variances / self.n_samples))
        return self.telescope.bias_bound(np.maximum(np.abs(rows @ self.means) - _SURE * errors, 0.0))

    def wanted(self, half_width: float, *, work: Floats) -> NDArray[np.int64]:
        """Return the numbers of samples that reach a half width with the least work.

        Parameters
        ----------
        half_width : float
        work : ndarray
            Of a sample of each level.
        """
        # The quotient is bounded so that its square is a float.
        scale = _HEADROOM * min(self._quantile() / half_width, _MAX_SAMPLES) ** 2
        deviations = np.abs(self.coefficients) * np.sqrt(self.variances)
        numbers = scale * deviations / np.sqrt(work) * (deviations @ np.sqrt(work))
        return np.asarray(np.minimum(np.ceil(numbers), _MAX_SAMPLES), dtype=np.int64)

    def _shares(self) -> Floats:
        return np.asarray(self.coefficients**2 * self.variances / self.n_samples)

    def _quantile(self) -> float:
        shares = self._shares()
        if not shares.any():
            return 0.0
        freedom = shares.sum() ** 2 / (shares**2 / (self.n_samples - 1)).sum()
        quantile: Any = scipy.special.stdtrit(freedom, 1 - _TAIL)
        return float(quantile)
