"""The Gaussian law of the logarithm of a small distance, under parameters that change over time."""

import math

import numpy as np
import pytest
from scipy import stats

import chaosphere as cs

KERNEL = cs.CovarianceKernel.from_activation("relu", dim=5, bias_std=0.1, output_bias_std=0.1)
SCHEDULES = {"noise_scale": lambda t: 1 + 0.5 * t / 4, "value_scale": lambda t: 0.3 * math.exp(-t)}
# Computed by another program: relu, d = 5, σ = 0.1, T = 4.
MEAN, VARIANCE = -1.1178386416667132, 1.361666666666667
RATE = 1e-6


def law(**settings):
    return cs.theory.log_distance_law(KERNEL, **({"horizon": 4.0} | settings))


def test_the_known_value():
    assert law(**SCHEDULES) == pytest.approx((MEAN, VARIANCE), rel=1e-12)


def test_numbers_and_sequences():
    exponent = KERNEL.lyapunov_exponent()
    spread = KERNEL(1.0) + KERNEL.derivative(1.0)
    assert law(noise_scale=2.0, value_scale=-0.5) == pytest.approx((4 * (4 * exponent + 0.5), 16 * spread), rel=1e-13)
    assert law(noise_scale=0.0) == (0.0, 0.0)
    assert law(noise_scale=[1.0, 3.0], value_scale=[0.0, 1.0, 2.0]) == pytest.approx(
        (exponent * 20 - 4, spread * 20), rel=1e-13
    )
    steps = [SCHEDULES["noise_scale"]((k + 0.5) * 0.004) for k in range(1000)]
    assert law(noise_scale=steps)[1] == pytest.approx(VARIANCE, rel=1e-6)
    assert law(value_scale=lambda t: math.sin(math.pi * t))[0] == pytest.approx(4 * exponent, rel=1e-9)
    # A jump, as a function and as numbers.
    assert law(noise_scale=lambda t: float(t < 1.7)) == pytest.approx(
        law(noise_scale=[1.0] * 17 + [0.0] * 23), rel=1e-6
    )


# Interactions that contract a cluster at the rate of these schedules.
ATTENTION = {
    "softmax": cs.SoftmaxAttention(beta=2.0, value_scale=SCHEDULES["value_scale"]),
    "unnormalized": cs.UnnormalizedAttention(
        beta=lambda t: 1 + math.sin(t), value_scale=lambda t: 0.3 * math.exp(-t - 1 - math.sin(t))
    ),
}


def sample(n_replicas, depth, attention):
    """log(|X − Y|_T/|X − Y|_0) of independent runs of two tokens that start at a distance of about 1e-6."""
    model = cs.Transformer(
        attention=attention,
        mlp=cs.MLP(width=4, activation="relu", bias_std=0.1, output_bias_std=0.1),
        depth=depth,
        horizon=4.0,
        noise_scale=SCHEDULES["noise_scale"],
    )
    x = cs.sample_uniform(1, 5, rng=0, n_replicas=n_replicas)
    x = cs.normalize(np.concatenate([x, x + 1e-6 * cs.sample_uniform(1, 5, rng=1, n_replicas=n_replicas)], axis=1))
    y = cs.simulate(model, x, rng=2).final
    return np.log(np.linalg.norm(y[:, 0] - y[:, 1], axis=1) / np.linalg.norm(x[:, 0] - x[:, 1], axis=1))


def check(values, n, bias):
    """Fail if mean or variance are off; the steps may change the mean by `bias`, the variance by twice that."""
    error = math.sqrt(values.var(ddof=1) / n)
    assert abs(values.mean() - MEAN) <= bias + stats.t.isf(RATE / 4, n - 1) * error
    low, high = stats.chi2.isf([1 - RATE / 4, RATE / 4], n - 1) / (n - 1)
    assert low * (VARIANCE - 2 * bias) <= values.var(ddof=1) <= high * (VARIANCE + 2 * bias)


@pytest.mark.parametrize("name", ATTENTION)
def test_the_rate_of_an_interaction(name):
    rate = {"noise_scale": SCHEDULES["noise_scale"], "value_scale": lambda t: ATTENTION[name].at(t).consensus_rate}
    assert law(**rate) == pytest.approx((MEAN, VARIANCE), rel=1e-12)


@pytest.mark.parametrize("name", ATTENTION)
def test_two_close_tokens_have_this_law(name):
    """Null: Gaussian with this mean and variance, up to the bias of 100 layers. n = 1 500; false alarms: 1e-6 each.

    The bias falls like 1/L; 0.02 is allowed for it.
    """
    values = sample(1500, 100, ATTENTION[name])
    check(values, 1500, 0.02)
    for shift, factor in ((0.3, 1.0), (0.0, 1.3)):  # it sees a wrong mean, and a wrong variance
        with pytest.raises(AssertionError):
            check((values - values.mean()) * factor + values.mean() + shift, 1500, 0.02)


@pytest.mark.statistical
def test_two_close_tokens_have_this_law_under_many_layers():
    """Null: the same, up to the bias of 1 600 layers, for which 0.0025 is allowed. n = 8 000; false alarms: 1e-6 each.

    The last comparison, by Kolmogorov and Smirnov, is of the whole law.
    """
    values = sample(8000, 1600, ATTENTION["softmax"])
    check(values, 8000, 0.0025)
    assert stats.kstest(values, stats.norm(MEAN, math.sqrt(VARIANCE)).cdf).pvalue > RATE


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"horizon": 0.0}, ValueError, "horizon must be a finite number > 0"),
        ({"noise_scale": -1.0}, ValueError, "noise_scale must be a finite number >= 0"),
        ({"noise_scale": [1.0, -1.0]}, ValueError, r"noise_scale\[1\] must be a finite number >= 0"),
        ({"noise_scale": lambda t: t - 2}, ValueError, "noise_scale at time .* must be a finite number >= 0"),
        ({"value_scale": []}, ValueError, "value_scale must be a number, a list"),
        ({"value_scale": "1"}, TypeError, "value_scale must be a real number"),
        (
            {"value_scale": lambda t: (t - 1.3) ** -2},
            ValueError,
            "value_scale must be a function whose integral converges",
        ),
    ],
)
def test_bad_input(settings, error, text):
    with pytest.raises(error, match=text):
        law(**settings)


def test_a_kernel_is_needed():
    with pytest.raises(TypeError, match=r"kernel must be a CovarianceKernel.*MLP\(...\).kernel\(dim\)"):
        cs.theory.log_distance_law(cs.MLP(width=4), horizon=1.0)
