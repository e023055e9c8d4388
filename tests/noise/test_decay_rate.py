"""The sharp rate of the mean energy: the table, an independent discretisation, the pair equation, nearly odd fields."""

import itertools
import math

import numpy as np
import pytest
import scipy

from chaosphere.experiments.synchronization.late import pair_rate
from chaosphere.noise import activations
from chaosphere.noise.covariance import CovarianceKernel


def of(name, dim, std):
    return CovarianceKernel.from_activation(name, dim=dim, bias_std=std, output_bias_std=std)


def grid(dims, stds):
    """Every activation, dimension and σ where the noise synchronizes, as cases of the slow suite."""
    cases = itertools.product(activations.ACTIVATIONS, dims, stds)
    is_odd = {"tanh", "erf", "sin", "linear"}
    return [pytest.param(*case, marks=pytest.mark.slow) for case in cases if case[2] or case[0] not in is_odd]


# Rates by shooting in another program, to 1e-8; at the edge and for second moments, in closed form.
EDGE, ISOLATED, MOMENT = "essential spectrum", "isolated eigenvalue", "second moment"
TABLE = [
    ("relu", 2, 0.0, ISOLATED, 0.05114728118252936),
    ("relu", 2, 0.1, ISOLATED, 0.054409210875204166),
    ("relu", 2, 0.3, ISOLATED, 0.07671242646873398),
    ("relu", 5, 0.0, EDGE, 0.025),
    ("relu", 5, 0.1, EDGE, 0.03930232558139536),
    ("relu", 5, 0.3, EDGE, 0.2043283582089552),
    ("relu", 5, 0.5, EDGE, 0.85**2 / (2 * 0.575)),
    ("relu", 64, 0.0, EDGE, 0.001953125),
    ("relu", 64, 0.1, MOMENT, 0.899375),
    ("relu", 64, 0.3, MOMENT, 8.219375),
    ("tanh", 2, 0.1, ISOLATED, 0.022840251361676882),
    ("tanh", 2, 0.3, ISOLATED, 0.07007058694597772),
    ("tanh", 5, 0.1, ISOLATED, 0.04632929152567737),
    ("tanh", 5, 0.3, EDGE, 0.2165414946418134),
    ("tanh", 64, 0.1, MOMENT, 1.1603494991398735),
    ("tanh", 64, 0.3, MOMENT, 10.041184220512386),
    ("silu", 2, 0.0, ISOLATED, 0.023649537364798405),
    ("silu", 2, 0.1, ISOLATED, 0.028426415128562994),
    ("silu", 2, 0.3, ISOLATED, 0.05421079389752362),
    ("silu", 5, 0.0, ISOLATED, 0.011973854498280753),
    ("silu", 5, 0.1, EDGE, 0.025202202960024105),
    ("silu", 5, 0.3, EDGE, 0.17678839157073278),
    ("silu", 64, 0.0, EDGE, 0.0007721216106388905),
    ("silu", 64, 0.1, MOMENT, 0.7558921808578458),
    ("silu", 64, 0.3, MOMENT, 6.9485639625598825),
    ("sigmoid", 2, 0.0, EDGE, 0.03763223631583908),
    ("sigmoid", 2, 0.1, EDGE, 0.03892417810789361),
    ("sigmoid", 2, 0.3, EDGE, 0.049251195479658574),
    ("sigmoid", 5, 0.0, EDGE, 0.47923640748658125),
    ("sigmoid", 5, 0.1, EDGE, 0.5003618965326356),
    ("sigmoid", 5, 0.3, EDGE, 0.6691953892597866),
    ("sigmoid", 64, 0.0, MOMENT, 15.248060753644605),
    ("sigmoid", 64, 0.1, MOMENT, 15.89571344240473),
    ("sigmoid", 64, 0.3, MOMENT, 21.064338424618903),
]
POWERS = {EDGE: -1.5, ISOLATED: 0.0, MOMENT: 0.0}


@pytest.mark.parametrize(("name", "dim", "std", "kind", "rate"), TABLE)
def test_table(name, dim, std, kind, rate):
    decay = of(name, dim, std).energy_decay_rate()
    assert (decay.kind, decay.power) == (kind, POWERS[kind])
    assert decay.rate == pytest.approx(rate, abs=1e-10 if kind == ISOLATED else 1e-13)
    assert decay.error_estimate < 1e-9 * decay.rate


def lowest_eigenvalue(k, n_points):
    """The lowest eigenvalue of −L by finite volumes in y = artanh u, to second order.

    The coefficients are stated again. f = ψg with ψ = (1 + e^{2y})^{−p*/2} takes the drift out as y → ∞; points are
    evenly spaced up to y = 8 and then ever wider, to 3 000, where g = 0. The mass below y = −6 is in the first volume.
    """
    d, top, slope = k.dim, k(1.0), k.derivative(1.0)
    p = ((d - 1) * top - (d - 3) * slope) / (2 * (top + slope))
    t = np.linspace(0, 1, n_points + 1)
    y = np.where(t < 0.7, -6 + 20 * t, 8 * np.exp(20 * np.maximum(t - 0.7, 0)))
    v, w = 2 / (1 + np.exp(2 * np.minimum(y, 15))), 2 / (1 + np.exp(-2 * np.minimum(y, 15)))  # 1 − u, 1 + u
    u, is_near = 1 - v, y > 0
    value, quotient = k(u), k.difference_quotient(u)
    diffusion = np.where(is_near, v * (quotient + value), top - u * value)
    plain = (d - 2 + u**2) * value - (d - 1) * top * u
    drift = np.where(is_near, v * ((d - 1) * (top - quotient) - (1 + u) * value), plain)
    a = diffusion / (v * w)
    b = drift / (v * w) + 2 * u * a
    psi = -0.5 * p * w  # ψ′/ψ
    potential = -a * (psi**2 - 0.5 * p * v * w) - b * psi
    h, c = np.diff(y), b / a + 2 * psi
    log_p = np.concatenate(([0.0], np.cumsum(0.5 * (c[1:] + c[:-1]) * h)))
    widths = 0.5 * (np.append(h, 0) + np.insert(h, 0, 0))
    widths[0] += 1 / (d - 1)
    log_mass = log_p - np.log(a) + np.log(widths)
    log_flux = 0.5 * (log_p[1:] + log_p[:-1]) - np.log(h)
    diagonal = potential.copy()
    diagonal[:-1] += np.exp(log_flux - log_mass[:-1])
    diagonal[1:] += np.exp(log_flux - log_mass[1:])
    off = -np.exp(log_flux - 0.5 * (log_mass[1:] + log_mass[:-1]))
    lowest = scipy.linalg.eigh_tridiagonal(diagonal[:-1], off[:-1], select="i", select_range=(0, 0))[0]
    return float(lowest[0])


@pytest.mark.parametrize(
    ("name", "dim", "std"),
    [
        ("relu", 3, 0.0),
        ("linear", 3, 0.3),
        ("silu", 4, 0.1),
        ("silu", 8, 0.0),
        ("gaussian", 5, 0.1),
        ("relu", 8, 0.3),
        *grid((2, 3, 4, 5, 8, 64), (0, 0.1, 0.3, 0.5)),
    ],
)
def test_finite_volumes_have_the_same_lowest_eigenvalue(name, dim, std):
    k = of(name, dim, std)
    decay = k.energy_decay_rate()
    lowest = (4 * lowest_eigenvalue(k, 4000) - lowest_eigenvalue(k, 2000)) / 3
    edge = k.lyapunov_exponent() ** 2 / (2 * (k(1.0) + k.derivative(1.0)))
    if k.critical_moment() > 4:
        # 1 − u is not square integrable: unless there is a lower eigenvalue, its own exponent is the rate.
        assert decay.kind == (ISOLATED if lowest < -k.lambda_bar() else MOMENT)
        assert decay.rate == pytest.approx(min(lowest, -k.lambda_bar()), rel=1e-9)
    else:
        # The wall at y = 3 000 raises the bottom of a continuous spectrum by s²π²/(2·3000²).
        assert decay.rate == pytest.approx(lowest, rel=2e-5)
        assert decay.kind == (ISOLATED if lowest < edge * (1 - 2e-5) else EDGE)


@pytest.mark.parametrize(
    ("name", "dim", "std"),
    [
        ("relu", 5, 0.1),
        ("relu", 64, 0.0),
        ("tanh", 3, 0.1),
        ("sigmoid", 64, 0.1),
        *grid((3, 4, 5, 8, 64), (0, 0.1, 0.5)),
    ],
)
def test_late_rate_of_the_pair_equation(name, dim, std):
    """E(1 − u_t) of the pair equation, its power of t taken out, decays at the rate up to 4 %.

    Its own error is smaller; eigenvalues close to the edge and p* near 2 show at longer times only.
    """
    k = of(name, dim, std)
    decay = k.energy_decay_rate()
    assert pair_rate(k, unit=1 / decay.rate, power=decay.power) == pytest.approx(decay.rate, rel=0.04)


@pytest.mark.parametrize("bias", [1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("dim", [2, 5])
def test_nearly_odd_fields(dim, bias):
    """Linear layers with a small bias, for which a and b are exact near u = −1: the rate tends to 0 with the bias.

    scipy follows f′/f of the regular solution of Lf = −Ef, for E on either side of the eigenvalue by 1e-5 of it.
    """
    c0, c1 = bias**2, 1.0
    k = CovarianceKernel.from_spectrum([c0, c1], dim=dim)
    decay = k.energy_decay_rate()
    assert decay.kind == ISOLATED
    assert decay.error_estimate < 1e-5 * decay.rate
    assert 0.1 < decay.rate / bias < 10  # it is of order (κ(1) + κ(−1))^p*, and p* tends to 1/2

    def final_slope(energy):
        def change(y, slope):
            w = 2 / (1 + math.exp(-2 * y))  # 1 + u
            u = math.tanh(y)
            a = (c0 + c1 * w) / w
            b = (dim - 1) * c0 / w - (c0 + c1 * u) + 2 * u * a
            return -(energy + b * slope) / a - slope**2

        def runs_away(_y, slope):
            return slope[0] + 1e3

        runs_away.terminal = True
        start = math.log(bias) - 9
        first = -4 * energy * math.exp(2 * start) / ((dim - 1) * 2 * c0)
        return scipy.integrate.solve_ivp(
            change, (start, 20), [first], method="LSODA", events=runs_away, rtol=1e-10, atol=1e-30
        ).y[0, -1]

    for factor, is_above in ((1 - 1e-5, False), (1 + 1e-5, True)):
        energy = factor * decay.rate
        p = 0.5 * k.critical_moment()
        q = math.sqrt(p**2 - 2 * energy / (k(1.0) + k.derivative(1.0)))
        assert bool(final_slope(energy) < -(p + q)) is is_above


def test_second_moment_at_the_edge():
    """p* = 2: κ(1) = 7κ′(1) in d = 6."""
    decay = CovarianceKernel.from_spectrum([6.0, 1.0], dim=6).energy_decay_rate()
    assert (decay.kind, decay.power) == (MOMENT, -0.5)
    assert decay.rate == pytest.approx(16.0, rel=1e-14)


def test_scaled_noise_is_faster():
    k = of("tanh", 4, 0.1)
    assert k.scaled(3.0).energy_decay_rate().rate == pytest.approx(9 * k.energy_decay_rate().rate, rel=1e-9)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (CovarianceKernel.from_spectrum([0.0], dim=4), r"kappa\(1\) = 0"),
        (of("tanh", 4, 0.0), "the field must not be odd"),
        (CovarianceKernel.from_spectrum([0, 0.1, 0, 0, 1.0], dim=8), "λ1 = .* must be < 0"),
    ],
)
def test_no_rate(kernel, message):
    with pytest.raises(ValueError, match=message):
        kernel.energy_decay_rate()
