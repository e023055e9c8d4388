"""Orders of the schemes on nested grids under shared noise, and that they share one limit.

The strong order is fitted over step sizes on one fine grid; errors are root-mean-squares over replicas and tokens, and
the standard error of a slope over independent batches is below 0.02, so the windows of ±0.1 are five standard errors.
"""

import numpy as np
import pytest

import chaosphere as cs

KERNEL = cs.MLP(width=1, activation="tanh", weight_std=1.0, bias_std=0.3).kernel(3)
ATTENTION = cs.SoftmaxAttention(beta=2.0)
FINE = 512


def model(scheme, **changes):
    options = {"attention": ATTENTION, "field": cs.GaussianField(kernel=KERNEL, tolerance=1e-4), "horizon": 0.5}
    return cs.LimitSDE(**(options | {"n_steps": FINE, "scheme": scheme} | changes))


@pytest.fixture(scope="module")
def start():
    return cs.sample_uniform(4, 3, rng=0, n_replicas=300)


@pytest.fixture(scope="module")
def finest(start):
    return {
        scheme: cs.simulate(model(scheme), start, rng=1).final
        for scheme in ("projected-euler", "geodesic-euler", "heun", "split")
    }


def root_mean_square(x, y):
    return np.sqrt(((x - y) ** 2).sum(axis=-1).mean())


@pytest.mark.parametrize("scheme", ["projected-euler", "geodesic-euler", "heun", "split"])
def test_strong_order_is_one_half(scheme, start, finest):
    factors = np.array([4, 8, 16, 32])
    errors = [
        root_mean_square(cs.simulate(model(scheme).coarsen(int(f)), start, rng=1).final, finest[scheme])
        for f in factors
    ]
    # The reference has an error of its own, independent of the sum of the others' at leading order: h − h_fine.
    slope = np.polyfit(np.log(factors - 1), np.log(errors), 1)[0]
    assert abs(slope - 0.5) < 0.1


def test_schemes_share_one_limit(finest):
    """Paths of different schemes under one noise differ by less than twice the error of one coarsening step."""
    names = list(finest)
    for a in names:
        for b in names:
            assert root_mean_square(finest[a], finest[b]) < 0.09


@pytest.mark.slow
def test_difference_between_schemes_vanishes_with_the_step(start):
    gaps = []
    for factor in (64, 16, 4):
        a, b = (cs.simulate(model(s).coarsen(factor), start, rng=1).final for s in ("geodesic-euler", "heun"))
        gaps.append(root_mean_square(a, b))
    slope = np.polyfit(np.log([64, 16, 4]), np.log(gaps), 1)[0]
    assert abs(slope - 0.5) < 0.1


def test_runge_kutta_has_order_four():
    x = cs.sample_uniform(50, 4, rng=0)
    fine = cs.LimitSDE(attention=cs.SoftmaxAttention(beta=4.0), field=None, horizon=2.0, n_steps=256, scheme="rk4")
    reference = cs.simulate(fine, x, rng=0).final
    errors = [np.abs(cs.simulate(fine.coarsen(f), x, rng=0).final - reference).max() for f in (8, 16, 32)]
    orders = np.diff(np.log2(errors))
    assert (np.abs(orders - 4) < 0.25).all()


def test_euler_without_noise_has_order_one():
    x = cs.sample_uniform(50, 4, rng=0)
    attention = cs.SoftmaxAttention(beta=4.0)
    exact = cs.simulate(cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=64, scheme="rk4"), x, rng=0)
    for scheme, order in (("projected-euler", 1), ("geodesic-euler", 1), ("split", 1), ("heun", 2)):
        errors = []
        for n_steps in (32, 64, 128):
            run = cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=n_steps, scheme=scheme)
            errors.append(np.abs(cs.simulate(run, x, rng=0).final - exact.final).max())
        assert (np.abs(-np.diff(np.log2(errors)) - order) < 0.15).all()


def test_split_scheme_is_the_transformer_with_gaussian_layers(start):
    """Transformers of growing width driven by independent noise agree in law; here the step itself is compared."""
    x = start[:1]
    field = cs.GaussianField(kernel=KERNEL, tolerance=1e-4)
    split = cs.LimitSDE(attention=ATTENTION, field=field, horizon=0.1, n_steps=1, scheme="split")
    stepped = cs.simulate(split, x[0], rng=3).final
    y = cs.normalize(x[0] + 0.1 * ATTENTION(x[0]))
    from chaosphere.common.streams import Noise, Stream

    g = field.increment([Noise(3).draws(Stream.BROWNIAN, 0)], duration=0.1, n_tokens=4)(y[None])[0]
    np.testing.assert_allclose(stepped, cs.normalize(y + g), rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"scheme": "huen"}, ValueError, r"scheme: unknown 'huen'; did you mean 'heun'\?"),
        ({"scheme": "rk4"}, ValueError, r"scheme='rk4' is for attention alone"),
        ({"attention": None, "field": None}, ValueError, r"nothing would move"),
        ({"temperature": -1.0}, ValueError, r"temperature must be a finite number >= 0"),
        ({"n_steps": 0}, ValueError, r"n_steps must be an integer >= 1"),
        ({"field": 1.0}, TypeError, r"field must be a GaussianField, another common noise, or None"),
    ],
)
def test_bad_input(changes, error, message):
    with pytest.raises(error, match=message):
        model(**({"scheme": "heun"} | changes))


def test_field_of_another_dimension_is_refused():
    with pytest.raises(ValueError, match=r"x must have dim 3, that of the field's kernel, got 4"):
        cs.simulate(model("heun"), cs.sample_uniform(3, 4, rng=0), rng=0)
