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
_LIKELY = 2.0
_MAX_SAMPLES = 2.0**53
_HALF, _SLOW, _STILL = 0.5, 0.6, 0.9  # ratios of a difference to the one before: expected, not extrapolated, refused
_RATIOS = np.linspace(_HALF, _STILL, 81)


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

    def extrapolated(self, is_slow: tuple[bool, bool] = (False, False)) -> Floats:
        """Return the matrix from the differences of levels to those of the extrapolated levels, one row for each.

        A direction in which differences fall too slowly is not extrapolated.
        """
        indices = self.indices
        lasts = [0 if slow else last for slow, last in zip(is_slow, self.finest, strict=True)]
        rows = np.zeros((len(indices), len(indices)))
        for i, (a, b) in enumerate(indices):
            for j, (c, d) in enumerate(indices):
                rows[i, j] = _weight(a, c, last=lasts[0]) * _weight(b, d, last=lasts[1])
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
        earlier = sizes[-2] / 2 if self.layer > 2 else 0.0  # the first layer has no differences of extrapolated levels
        return float(max(sizes[-1], earlier))

    def incomplete(self) -> list[int]:
        """Return the directions with further levels: 0 for tokens, 1 for steps."""
        return [k for k, last in enumerate(self.finest) if last is None or last > self.layer]

    def along(self, direction: int) -> list[int]:
        """Return the places of the differences in one direction, from the first one on."""
        indices = self.indices
        return [indices.index((k, 0) if direction == 0 else (0, k)) for k in range(1, self.layer + 1)]


def _weight(level: int, of: int, *, last: int | None) -> float:
    """Return the weight of the difference `of` in that of an extrapolated level, in one direction.

    The differences halve from level to level, to first order, so that those after a level ℓ sum to (w_ℓ − 1) times its
    own, w_ℓ = 2 − 2^{ℓ − last}. The extrapolated level ℓ is the level ℓ − 1 plus w_ℓ times the difference.
    """
    if of == 0 or of not in (level, level - 1) or last == 0:
        return float(of == level)
    weight = 2.0 if last is None else 2.0 - 2.0 ** (of - last)
    return weight if of == level else 1.0 - weight


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decay:
    """How differences fall in one direction, if each is the same share r of the one before.

    Attributes
    ----------
    sizes, errors : ndarray
        Of the differences, from the first one on; two at least.
    n_left : int or None
        Levels that take no part; None for infinitely many.
    """

    sizes: Floats
    errors: Floats
    n_left: int | None

    def _excess(self, ratios: Floats, *, n_errors: float) -> Floats:
        """Return how much larger the differences are than at these ratios, and a number of errors more.

        A sum over pairs, in inverse proportion to their variances.
        """
        variances = self.errors[1:] ** 2 + self.errors[:-1] ** 2
        least = max(1e-12 * float(self.sizes.max()) ** 2, 1e-300)
        pairs = least / np.maximum(variances, least)
        pairs /= pairs.max()
        weights = np.append(0.0, pairs) - ratios[:, None] * np.append(pairs, 0.0)
        return np.asarray(weights @ self.sizes + n_errors * np.sqrt(weights**2 @ self.errors**2))

    @property
    def at_least(self) -> float:
        """The ratio, at least one half, that they surely pass."""
        return float(_RATIOS[self._excess(_RATIOS, n_errors=-_SURE) > 0].max(initial=_HALF))

    @property
    def at_most(self) -> float:
        """The ratio that they are likely not to pass."""
        return float(_RATIOS[self._excess(_RATIOS, n_errors=_LIKELY) >= 0].max(initial=_HALF))

    @property
    def is_slow(self) -> bool:
        """Whether they surely fall more slowly than extrapolation takes them to."""
        return self.at_least >= _SLOW

    @property
    def is_still(self) -> bool:
        """Whether they surely fall so slowly, or grow, that they have no sum that a few of them tell."""
        last = Decay(sizes=self.sizes[-2:], errors=self.errors[-2:], n_left=self.n_left)
        return min(self.at_least, last.at_most) >= _STILL

    @property
    def is_open(self) -> bool:
        """Whether it is not known if they fall at all."""
        return self.at_most >= _STILL and not self.is_still

    def _rest(self, ratio: float) -> float:
        """Return the sum of the levels that are left, over the last difference."""
        share = 1.0 if self.n_left is None else 1 - ratio**self.n_left
        return ratio * share / (1 - ratio)

    @property
    def bias(self) -> float:
        """Bound of what the levels that are left add up to, less what extrapolation adds."""
        if self.is_still:
            return np.inf
        size = max(self.sizes[-1], self.sizes[-2] / 2)
        return float(size * (self._rest(self.at_most) - (0.0 if self.is_slow else self._rest(_HALF))))

    @property
    def least_bias(self) -> float:
        """What surely is left."""
        if self.is_still:
            return np.inf
        return max(self.sizes[-1] - _SURE * self.errors[-1], 0.0) * self._rest(self.at_least) if self.is_slow else 0.0


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
        return np.asarray(self._rows().sum(axis=0))

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
        """Bound of the bias: by the last layers, and by the ratios of differences in each direction."""
        by_ratios = sum(decay.bias for decay in self.decays.values())
        return max(self.telescope.bias_bound(self._rows() @ self.means), by_ratios)

    @property
    def least_bias(self) -> float:
        """Bound of the bias with each difference three standard errors nearer to zero."""
        rows, by_ratios = self._rows(), sum(decay.least_bias for decay in self.decays.values())
        errors = np.sqrt(rows**2 @ (self.variances / self.n_samples))
        surely = self.telescope.bias_bound(np.maximum(np.abs(rows @ self.means) - _SURE * errors, 0.0))
        return max(surely, by_ratios)

    @property
    def decays(self) -> dict[int, Decay]:
        """How the differences fall, for each direction with further levels."""
        errors, decays = np.sqrt(self.variances / self.n_samples), {}
        for direction in self.telescope.incomplete():
            places, last = self.telescope.along(direction), self.telescope.finest[direction]
            decays[direction] = Decay(
                sizes=np.abs(self.means[places]),
                errors=errors[places],
                n_left=None if last is None else last - self.telescope.layer,
            )
        return decays

    def _rows(self) -> Floats:
        decays = self.decays
        is_slow = [direction in decays and decays[direction].is_slow for direction in (0, 1)]
        return self.telescope.extrapolated((is_slow[0], is_slow[1]))

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
