"""Tokens as points: where they stand, what colour they have, and what is refused before anything is drawn."""

import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot

import chaosphere as cs
from chaosphere.plot import style
from chaosphere.plot.projections import projection


def places(ax):
    """Places of all tokens on axes, those in front and those behind the globe."""
    front, behind = (np.asarray(points.get_offsets()) for points in reversed(ax.collections[:2]))
    return front, behind


def test_the_circle_shows_every_token_where_it_is():
    x = cs.sample_uniform(50, 2, rng=0)
    ax = cs.plot.tokens(x)
    front, behind = places(ax)
    assert np.array_equal(front, x)
    assert len(behind) == 0
    assert ax.get_xlabel() == "$x_1$"


def test_the_globe_hides_what_is_behind_it():
    x = cs.sample_uniform(200, 3, rng=0)
    front, behind = places(cs.plot.tokens(x, view=(0.0, 0.0)))  # from the end of the first axis
    assert np.allclose(front, x[x[:, 0] >= 0, 1:], atol=1e-15)
    assert np.allclose(behind, x[x[:, 0] < 0, 1:], atol=1e-15)


@pytest.mark.parametrize("view", [(90.0, 0.0), (25.0, -60.0), (-10.0, 200.0)])
def test_the_viewer_of_a_globe_sees_a_right_handed_picture(view):
    where = projection(cs.sample_uniform(3, 3, rng=0), view=view)
    right, up = where.plane
    assert np.allclose(np.cross(right, up), where.towards)
    assert up[2] >= -1e-15


def test_many_dimensions_are_projected_onto_the_leading_axes():
    rng = np.random.default_rng(0)
    x = cs.normalize(rng.standard_normal((400, 6)) * [0.1, 5.0, 0.1, 0.1, 2.0, 0.1])
    ax = cs.plot.tokens(x)
    front, _ = places(ax)
    assert np.allclose(abs(front), abs(x[:, [1, 4]]), atol=0.05)
    share = [float(re.search(r"(\d+)%", text)[1]) for text in (ax.get_xlabel(), ax.get_ylabel())]
    assert share == pytest.approx(100 * (front**2).mean(axis=0), abs=0.5)


def test_one_token_of_many_dimensions_is_at_the_rim():
    x = cs.sample_uniform(1, 7, rng=0)
    ax = cs.plot.tokens(x)
    assert np.allclose(places(ax)[0], [[1.0, 0.0]], atol=1e-15)
    assert ax.get_ylabel() == "principal axis 2 (0% of $|x|^2$)"


def test_a_plane_that_is_given_is_used():
    x = cs.sample_uniform(20, 5, rng=0)
    front, _ = places(cs.plot.tokens(x, plane=np.eye(5)[[3, 1]]))
    assert np.array_equal(front, x[:, [3, 1]])


def test_axes_that_are_given_are_drawn_on_and_no_figure_is_made():
    _, ax = style.figure(4, 3)
    assert cs.plot.tokens(cs.sample_uniform(5, 4, rng=0), ax=ax) is ax
    assert pyplot.get_fignums() == []


def test_float32_tokens_are_drawn():
    x = cs.sample_uniform(9, 3, rng=0).astype(np.float32)
    assert sum(map(len, places(cs.plot.tokens(x)))) == 9


def test_colours():
    x = cs.sample_uniform(30, 2, rng=0)
    labels = np.repeat([7, 2, 9], 10)
    by_label = cs.plot.tokens(x, color=labels).collections[1].get_facecolors()[:, :3]
    palette = mpl.colors.to_rgba_array(style.COLOURS)[:, :3]
    assert np.allclose(by_label, palette[[1, 0, 2]].repeat(10, axis=0))

    ax = cs.plot.tokens(x, color=x[:, 0])
    assert len(ax.figure.axes) == 2  # a colour bar beside it
    low, high = ax.figure.axes[1].get_ylim()
    assert (low, high) == pytest.approx((x[:, 0].min(), x[:, 0].max()))

    one = cs.plot.tokens(x, color=(0, 0, 0)).collections[1].get_facecolors()
    assert np.allclose(one[:, :3], 0)
    assert len(one) == 30


def test_values_of_three_tokens_are_no_colour():
    ax = cs.plot.tokens(cs.sample_uniform(3, 2, rng=0), color=np.array([0.0, 0.5, 1.0]))
    assert len(np.unique(ax.collections[1].get_facecolors(), axis=0)) == 3


def test_more_labels_than_colours_are_told_apart():
    x = cs.sample_uniform(12, 2, rng=0)
    colours = cs.plot.tokens(x, color=np.arange(12)).collections[1].get_facecolors()
    assert len(np.unique(colours, axis=0)) == 12


def test_replicas_have_colours_of_their_own():
    x = cs.sample_uniform(10, 2, rng=0, n_replicas=3)
    colours = cs.plot.tokens(x).collections[1].get_facecolors()
    assert len(np.unique(colours, axis=0)) == 3
    assert (colours[:10] == colours[0]).all()


X = cs.sample_uniform(5, 3, rng=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": X.tolist()}, TypeError, r"x must be a float64 or float32 array, got list; pass np\.asarray\(x"),
        ({"x": 2 * X}, ValueError, r"x must lie on the unit sphere"),
        ({"ax": pyplot}, TypeError, r"ax must be an Axes of Matplotlib, .* got module"),
        ({"color": "blu"}, ValueError, r"color must be a colour of Matplotlib or an array, got 'blu'"),
        ({"color": np.ones(4)}, ValueError, r"color must have shape \(5,\), one number per token, got \(4,\)"),
        ({"color": np.full(5, np.nan)}, ValueError, r"color must hold finite numbers"),
        ({"view": 30.0}, TypeError, r"view must be \(elevation, azimuth\) in degrees, got 30.0"),
        ({"view": (np.inf, 0)}, ValueError, r"view must be a finite number"),
        ({"plane": np.eye(3)}, ValueError, r"plane must have shape \(2, 3\), two directions, got \(3, 3\)"),
        ({"plane": np.ones((2, 3))}, ValueError, r"plane must have orthonormal rows"),
    ],
)
def test_bad_arguments_are_refused_before_a_figure_is_made(arguments, error, message):
    with pytest.raises(error, match=message):
        cs.plot.tokens(**{"x": X} | arguments)
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("projection", ["3d", "polar"])
def test_axes_of_another_projection_are_refused(projection):
    ax = pyplot.figure().add_subplot(projection=projection)
    with pytest.raises(TypeError, match=rf"ax must have the projection 'rectilinear', .* got '{projection}'"):
        cs.plot.tokens(X, ax=ax)
