"""The exponential rate at which the noise alone makes the mean energy decay.

A function of a kernel, which `CovarianceKernel` has as a method of the same name.

References
----------
arXiv:2604.26898 (Agazzi, Bruno, Mosig García, Saviozzi, Romito, 2026).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy

from chaosphere.common.chebyshev import Array
from chaosphere.common.reprs import Brief
from chaosphere.noise import pair_diffusion
from chaosphere.noise.exponents import log_distance_variance, moment_exponent
from chaosphere.noise.kernel import Kernel
from chaosphere.noise.rates import lyapunov_exponent, regular_polygon

# The equation is integrated in y = artanh u up to here, where 1 − u is 1e-17: beyond it the coefficients are constant.
_Y_MAX = 20.0
# Below, it starts where 1 + u is e^{−2·9} of what κ(1) + κ(−1) is of κ(1): there the solution is 1 − O(1 + u).
_Y_BELOW = 9.0
_N_CELLS = 2000
# p* = 2 is the border of two cases, whose powers of t differ: so near to it, it is taken for 2.
_SAME = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EnergyDecay(Brief):
    """How the mean energy decays under the noise alone, from `CovarianceKernel.energy_decay_rate`.

    E[E_β(μ_t)] is of order t^power e^{−rate·t} as t → ∞, for every β.

    Parameters
    ----------
    rate : float
        The exponential rate, > 0.
    kind : str
        What sets the rate: the "essential spectrum" of the generator of two tokens, an "isolated eigenvalue" below it,
        or the "second moment" of their distance.
    power : float
        Of t: −3/2 for the essential spectrum, −1/2 where it begins at the second moment, otherwise 0.
    error_estimate : float
        Of the rate: what halving the cells changes, and the error of κ.

    See Also
    --------
    chaosphere.CovarianceKernel.energy_decay_rate : Exponential rate at which the mean energy decays.

    Examples
    --------
    >>> import chaosphere as cs
    >>> decay = cs.CovarianceKernel.from_activation("relu", dim=5).energy_decay_rate()
    >>> round(decay.rate, 12), decay.kind, decay.power
    (0.025, 'essential spectrum', -1.5)
    """

    rate: float
    kind: Literal["essential spectrum", "isolated eigenvalue", "second moment"]
    power: float
    error_estimate: float


def energy_decay_rate(kernel: Kernel) -> EnergyDecay:
    """Return the exponential rate at which the mean energy E[E_β(μ_t)] decays under the noise alone.

    It is the same for every β, for every initial law, and for E(1 − u_t) of the cosine u of two tokens.
    With p* = −λ1/s², s² = κ(1) + κ′(1) + 2η(1), and the exponent Λ(p) of the p-th moment of small distances, it is
    min(E_b, −min Λ over [0, 2]). The second term is λ1²/(2s²) if p* < 2, and |λ̄| if not. E_b is the lowest eigenvalue
    of two tokens, below the essential spectrum of their generator, which begins at λ1²/(2s²); mostly there is none.
    So the mean energy decays exponentially for every field that is not odd with λ1 < 0, whatever the sign of λ̄.

    Returns
    -------
    EnergyDecay
        The rate, what sets it, the power of t beside the exponential, and an error estimate.

    Raises
    ------
    ValueError
        If κ(1) = 0, λ1 >= 0 or the field is odd: then the mean energy does not decay exponentially to 0. Or if the
        rate is below 1e-300. Or if η keeps tokens on the circle at an angle, see `synchronizes`.

    See Also
    --------
    chaosphere.CovarianceKernel.synchronizes : Whether the noise brings all tokens together.
    chaosphere.CovarianceKernel.lambda_bar : The exponent λ̄ of their mean square distance.
    chaosphere.CovarianceKernel.moment_exponent : The exponent Λ(p) of E|X − Y|^p.
    chaosphere.CovarianceKernel.dissipation_rate : Rate of the bound on the expected energy.
    chaosphere.noise.decay_rate.EnergyDecay : How the mean energy decays.
    chaosphere.two_point.energy_ratio : Factor by which a pair's energy changes.

    Notes
    -----
    Near u = 1 the coordinate y = artanh u is a Brownian motion with drift −λ1 and variance s², and 1 − u ~ e^{−2y}.
    E_b has a positive solution of Lf = −E_b f that is regular at u = −1 and of order e^{−(p* + q)y} as y → ∞,
    q² = p*² − 2E_b/s²; for E < E_b the regular solution stays above that, for E > E_b it falls below and has a zero.
    The logarithmic derivative of the solution is followed over cells of constant width by fourth-order Magnus steps,
    and E_b found by bisection. An eigenvalue within 1e-12 of the edge counts as none. 10 to 200 ms.

    Close to the borders between the cases (p* near 2, E_b near the edge) the power of t shows at very long times only.

    Examples
    --------
    λ̄ > 0, so that the theorem of the paper gives no rate. Yet the mean energy decays:

    >>> import chaosphere as cs
    >>> k = cs.CovarianceKernel.from_activation("tanh", dim=5, bias_std=0.1, output_bias_std=0.1)
    >>> decay = k.energy_decay_rate()
    >>> round(k.lambda_bar(), 4), round(decay.rate, 7), decay.kind
    (0.2715, 0.0463293, 'isolated eigenvalue')
    """
    variance, exponent = log_distance_variance(kernel), lyapunov_exponent(kernel)
    if exponent >= 0.0:
        raise ValueError(
            f"kernel: λ1 = {exponent:.3g} must be < 0: the noise does not bring close tokens together, and the mean "
            "energy does not decay exponentially"
        )
    if kernel.is_odd:
        raise ValueError(
            "kernel: the field must not be odd: tokens gather at two antipodal points, and the mean energy does not "
            "tend to 0"
        )
    if (period := regular_polygon(kernel)) is not None:
        raise ValueError(f"kernel: tokens an angle 2π/{period} apart stay so, and the mean energy does not tend to 0")
    p_star = -exponent / variance
    p = min(p_star, 2.0)
    threshold = -moment_exponent(kernel, p)
    # Both exponents err by what κ(1) and κ′(1) do, times d at most.
    error = kernel.error_estimate * variance * (p * kernel.dim + 0.5 * p**2)
    rate = _eigenvalue(kernel, threshold, n_cells=_N_CELLS)
    if rate < threshold:
        coarse, rate = rate, _eigenvalue(kernel, threshold, n_cells=2 * _N_CELLS)
        # Where the field is nearly odd, E_b is of order (κ(1) + κ(−1))^p*.
        away = (kernel(1.0) + kernel(-1.0)) / kernel(1.0)
        error += abs(rate - coarse) + kernel.error_estimate * p_star / away * rate
        return EnergyDecay(rate=rate, kind="isolated eigenvalue", power=0.0, error_estimate=error)
    if abs(p_star - 2.0) <= _SAME:
        return EnergyDecay(rate=threshold, kind="second moment", power=-0.5, error_estimate=error)
    if p_star > 2.0:
        return EnergyDecay(rate=threshold, kind="second moment", power=0.0, error_estimate=error)
    return EnergyDecay(rate=threshold, kind="essential spectrum", power=-1.5, error_estimate=error)


def _eigenvalue(kernel: Kernel, threshold: float, *, n_cells: int) -> float:
    """Return the lowest eigenvalue below a threshold, at most the bottom of the essential spectrum; else it."""
    equation = _Equation.of(kernel, n_cells)
    variance = log_distance_variance(kernel)
    p_star = -lyapunov_exponent(kernel) / variance

    def is_above(energy: float) -> bool:
        q = math.sqrt(max(p_star**2 - 2.0 * energy / variance, 0.0))
        return equation.final_slope(energy) < -(p_star + q)

    if not is_above(threshold):
        return threshold
    high = math.log(threshold)
    low = high - 1.0
    while is_above(math.exp(low)):
        high, low = low, low - 1.0
        if low < math.log(1e-300):
            raise ValueError("kernel: the field is so nearly odd that the rate of the mean energy is below 1e-300")
    root = scipy.optimize.bisect(lambda log: 1.0 if is_above(math.exp(log)) else -1.0, low, high, xtol=1e-13)
    return math.exp(root)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Equation:
    """f″ + (B/A) f′ + (E/A) f = 0, which is Lf = −Ef in y, at two Gauss points of every cell of width h."""

    width: float
    inverse: tuple[Array, Array]  # 1/A
    drift: tuple[Array, Array]  # B/A
    start: float  # f′/f at the lower end, over −E

    @classmethod
    def of(cls, kernel: Kernel, n_cells: int) -> _Equation:
        """Return the equation on so many cells."""
        away = kernel(1.0) + kernel(-1.0)
        low = min(0.5 * math.log(0.5 * away / kernel(1.0)), 0.0) - _Y_BELOW
        edges, width = np.linspace(low, _Y_MAX, n_cells + 1, retstep=True)
        inverse, drift = [], []
        for node in (0.5 - math.sqrt(3.0) / 6.0, 0.5 + math.sqrt(3.0) / 6.0):
            point = pair_diffusion.at_y(edges[:-1] + node * width)
            a, b = point.change(*pair_diffusion.coefficients(kernel, point))
            inverse.append(1.0 / a)
            drift.append(b / a)
        # Near u = −1 Lf = (κ(1) + κ(−1))(d−1) f′ + O(1+u) in u, and d(1+u)/dy = 2(1+u).
        start = 4.0 * math.exp(2.0 * low) / ((kernel.dim - 1) * away)
        return cls(width=float(width), inverse=(inverse[0], inverse[1]), drift=(drift[0], drift[1]), start=start)

    def final_slope(self, energy: float) -> float:
        """Return f′/f at the upper end of the regular solution; −∞ if it has a zero."""
        slope = -energy * self.start
        for m11, m12, m21, m22 in zip(*self._propagators(energy), strict=True):
            f = m11 + m12 * slope
            if f <= 0.0:
                return -math.inf
            slope = (m21 + m22 * slope) / f
        return slope

    def _propagators(self, energy: float) -> tuple[list[float], list[float], list[float], list[float]]:
        """Return the entries of the matrix that takes (f, f′) over each cell, up to a positive factor."""
        h, (c1, c2) = self.width, self.drift
        g1, g2 = (energy * inverse for inverse in self.inverse)
        # Ω = h(M1 + M2)/2 − (√3/12)h²[M1, M2] of M = ((0, 1), (−g, −c)), less its trace: fourth order.
        w = math.sqrt(3.0) / 12.0 * h**2
        n11 = 0.25 * h * (c1 + c2) - w * (g1 - g2)
        n12 = h - w * (c1 - c2)
        n21 = -0.5 * h * (g1 + g2) - w * (c1 * g2 - c2 * g1)
        square = n11**2 + n12 * n21
        root = np.sqrt(np.abs(square))
        cosine = np.where(square > 0.0, np.cosh(root), np.cos(root))
        sine = np.where(square > 0.0, np.sinh(root) / np.where(root > 0.0, root, 1.0), np.sinc(root / np.pi))
        rows = cosine + sine * n11, sine * n12, sine * n21, cosine - sine * n11
        m11, m12, m21, m22 = (row.tolist() for row in rows)
        return m11, m12, m21, m22
