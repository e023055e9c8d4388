"""Nodes and weights for integrals against a law."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.reprs import Brief
from chaosphere.geometry.law import Law, check_law, density_at
from chaosphere.geometry.sphere import normalize

_MAX_NODES = 2**30  # more than fit into memory, and few enough for every index


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Quadrature(Brief):
    """Nodes and weights for integrals against a law, from `quadrature`.

    Parameters
    ----------
    nodes : ndarray, shape (n, d)
        Points of the sphere.
    weights : ndarray, shape (n,)
        Positive or zero, with sum 1.
    degree : int or None
        The rule under the weights is exact for polynomials of this degree against the uniform law; None for quasi-Monte
        Carlo.

    See Also
    --------
    chaosphere.laws.quadrature : Make nodes and weights for a law.

    Examples
    --------
    >>> import chaosphere as cs
    >>> rule = cs.laws.quadrature(cs.laws.Uniform(dim=2), 16)
    >>> rule.nodes.shape, rule.degree, float(rule.weights.sum())
    ((16, 2), 15, 1.0)
    """

    nodes: Floats
    weights: Floats
    degree: int | None


def quadrature(law: Law, n_nodes: int) -> Quadrature:
    """Return a rule of about n_nodes nodes for a law with a density.

    Trapezoid on S¹ (exact to degree n − 1, spectral for smooth densities); a product of Gauss–Legendre in height and
    trapezoid in longitude on S² (exact to a stated degree); a scrambled Sobol sequence mapped through the normal law
    beyond (fixed scrambling; error about 1/n up to logarithms for smooth integrands). The density multiplies the
    weights, which are then divided by their sum.

    Parameters
    ----------
    law : Law
        Of any dimension; its density is used.
    n_nodes : int
        At least 2. On S² the largest product rule with at most that many nodes; beyond, rounded up to a power of
        two.

    Returns
    -------
    Quadrature
        Nodes, weights and degree.

    Raises
    ------
    TypeError, ValueError
        If n_nodes is too small or the density vanishes at all nodes.

    See Also
    --------
    chaosphere.MeanField : The limit of infinitely many tokens, carried by nodes.
    chaosphere.MeanField.nodes : Nodes of the initial law.
    chaosphere.laws.Law : What a law of tokens offers.
    chaosphere.laws.Quadrature : Nodes and weights of a law.

    Notes
    -----
    One evaluation of the density at each node. Deterministic.

    Examples
    --------
    The mean of x₃² under the uniform law on S² is 1/3:

    >>> import chaosphere as cs
    >>> rule = cs.laws.quadrature(cs.laws.Uniform(dim=3), 200)
    >>> rule.degree, round(float(rule.weights @ rule.nodes[:, 2] ** 2), 12)
    (19, 0.333333333333)
    """
    check_law(law)
    n_nodes = checks.integer(n_nodes, "n_nodes", low=2, high=_MAX_NODES)
    degree: int | None
    if law.dim == 2:
        angle = 2 * np.pi * np.arange(n_nodes) / n_nodes
        nodes, weights, degree = np.stack([np.cos(angle), np.sin(angle)], axis=1), np.ones(n_nodes), n_nodes - 1
    elif law.dim == 3:
        # g heights are exact to degree 2g − 1, l longitudes to l − 1: take l = 2g.
        g = max(1, math.isqrt(n_nodes // 2))
        height, height_weight = scipy.special.roots_legendre(g)
        angle = np.pi * np.arange(2 * g) / g
        ring = np.sqrt((1 - height) * (1 + height))
        nodes = np.stack(
            [np.outer(ring, np.cos(angle)), np.outer(ring, np.sin(angle)), np.repeat(height[:, None], 2 * g, axis=1)],
            axis=2,
        ).reshape(-1, 3)
        weights, degree = np.repeat(height_weight, 2 * g), 2 * g - 1
    else:
        power = math.ceil(math.log2(n_nodes))
        cube = scipy.stats.qmc.Sobol(law.dim, scramble=True, rng=np.random.default_rng(0)).random_base2(power)
        nodes, weights, degree = scipy.stats.norm.ppf(np.clip(cube, 1e-12, 1 - 1e-12)), np.ones(2**power), None
    nodes = normalize(np.ascontiguousarray(nodes))
    weights = weights * density_at(law, nodes)
    if not weights.sum() > 0:
        raise ValueError("law must have a positive density at some node; raise n_nodes")
    return Quadrature(nodes=nodes, weights=weights / weights.sum(), degree=degree)
