"""Drifts of densities on S² against the same interactions of nodes."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.geometry.sphere_grid import SphereGrid
from chaosphere.interactions.circle import PartitionError

pytest.importorskip("ducc0", reason='the transforms need the extra "sphere"')
HEADS = [cs.SoftmaxAttention(beta=1.0), cs.UnnormalizedAttention(beta=0.5, value_scale=-2.0)]
INTERACTIONS = {
    "softmax": cs.SoftmaxAttention(beta=3.0, value_scale=-0.5),
    "negative beta": cs.SoftmaxAttention(beta=-3.0),
    "mean": cs.SoftmaxAttention(beta=0.0),
    "tiny beta": cs.SoftmaxAttention(beta=1e-9),
    "large beta": cs.SoftmaxAttention(beta=12.0),
    "unnormalized": cs.UnnormalizedAttention(beta=2.0, value_scale=0.7),
    "rescaled": cs.UnnormalizedAttention(beta=2.0, rescaled=True),
    "sinkhorn": cs.SinkhornAttention(beta=2.0, value_scale=0.5),
    "potential": cs.PotentialInteraction([0.1, -0.4, 0.5, 0.2]),
    "constant": cs.PotentialInteraction([1.0]),
    "distances": cs.L2Attention(query=np.eye(3), key=np.eye(3)),
    "sum of heads": cs.MultiHeadAttention(heads=HEADS, combine="sum"),
    "mean of heads": cs.MultiHeadAttention(heads=HEADS),
}
K = 16


def density(grid):
    """Smooth, positive, and without symmetry."""
    x = grid.points
    rho = np.exp(x @ [0.5, -0.3, 0.6]) + 0.3 * (x @ [0.0, 0.6, 0.8]) ** 3 + 0.5
    return rho / (grid.weights @ rho)


@pytest.mark.parametrize("name", INTERACTIONS)
def test_drifts_of_nodes(name):
    """The grid is a quadrature rule; all that it sums is of low degree up to 1e-10."""
    interaction, grid = INTERACTIONS[name], SphereGrid(K, n_exact=3 * K)
    rho = density(grid)
    drift = interaction.sphere_drift(K)
    ours = drift(grid.modes(rho), grid)
    p = grid.weights * rho
    theirs = np.einsum("ik,aik->ai", interaction(grid.points, weights=p / p.sum()), grid.frame)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    assert np.hypot(*ours).max() <= drift.max_speed
    assert np.hypot(*ours).max() > 1e-3 or name == "constant"


@pytest.mark.parametrize(
    ("interaction", "n_modes"),
    [
        (cs.SoftmaxAttention(beta=4.0), K),
        (cs.SinkhornAttention(beta=40.0), 4),  # whose kernel of few modes is no positive one
    ],
)
def test_modes_of_no_probability_are_refused(interaction, n_modes):
    grid = SphereGrid(n_modes, n_exact=3 * n_modes)
    c = np.zeros_like(grid.modes(grid.weights))
    c[:4] = 1.0, 40.0, 40.0, 40.0
    with np.errstate(all="ignore"), pytest.raises(PartitionError):
        interaction.sphere_drift(n_modes)(c, grid)


@pytest.mark.parametrize(
    ("interaction", "n_modes", "error", "message"),
    [
        (cs.SoftmaxAttention(), 0, ValueError, "n_modes must be an integer >= 1, got 0"),
        (cs.SoftmaxAttention(), 2000, ValueError, "n_modes must be an integer <= 1024, got 2000"),
        (cs.SoftmaxAttention(), 4.0, TypeError, "n_modes must be an integer"),
        (cs.SoftmaxAttention(mask="causal"), 4, ValueError, "the drift of a density"),
        (cs.UnnormalizedAttention(beta=1.0, mask="causal"), 4, ValueError, "the drift of a density"),
        (cs.SoftmaxAttention(query=np.eye(3), key=np.diag([1.0, 1.0, 2.0])), 4, ValueError, "got general matrices"),
        (cs.L2Attention(query=np.eye(3), key=np.diag([1.0, 1.0, 2.0])), 4, ValueError, "sphere_drift needs attention"),
        (cs.L2Attention(query=np.eye(2), key=np.eye(2)), 4, ValueError, "needs matrices of 3 columns, got 2"),
        (cs.SoftmaxAttention(beta=lambda t: 1 + t), 4, ValueError, "beta must be a number here"),
        (
            cs.MultiHeadAttention(heads=[HEADS[0], cs.CustomInteraction(lambda x, p: x)]),
            4,
            ValueError,
            r"heads\[1\] must be an interaction with the method sphere_drift",
        ),
    ],
)
def test_others_are_refused(interaction, n_modes, error, message):
    with pytest.raises(error, match=message):
        interaction.sphere_drift(n_modes)
