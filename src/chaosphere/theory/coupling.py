"""The coupling of finite random layers with their Gaussian limit, made executable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise, Stream
from chaosphere.geometry import sphere
from chaosphere.interactions.protocol import Interaction, InteractionPlan
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.gaussian import GaussianField
from chaosphere.noise.increments import covariance_matrix, normalized_sum
from chaosphere.noise.mlp import MLP, MLPLayer


def optimal_map(source: Floats, target: Floats) -> Floats:
    """Return T with T N(0, A) = N(0, B) in law and least E|Tg − g|²: A^{−1/2} (A^{1/2} B A^{1/2})^{1/2} A^{−1/2}.

    Parameters
    ----------
    source, target : ndarray of float64, shape (n, n)
        Covariances A and B. On the null space of A, to a relative 1e-12, the map is zero: clusters and duplicates are
        no trouble.

    Returns
    -------
    ndarray, shape (n, n)

    Notes
    -----
    O(n³). Gelbrich's formula.

    Examples
    --------
    >>> optimal_map(np.diag([1.0, 4.0]), np.diag([9.0, 4.0]))
    array([[3., 0.],
           [0., 1.]])
    """
    values, vectors = np.linalg.eigh(source)
    keep = values > 1e-12 * values[-1]
    root, vectors = np.sqrt(values[keep]), vectors[:, keep]
    inner = root[:, None] * (vectors.T @ target @ vectors) * root
    inner_values, inner_vectors = np.linalg.eigh(inner)
    middle = (inner_vectors * np.sqrt(np.maximum(inner_values, 0))) @ inner_vectors.T
    return np.asarray((vectors / root) @ middle @ (vectors / root).T)


def layer_covariance(layer: MLPLayer, x: Floats, *, output_bias_std: float, replica: int = 0) -> Floats:
    """Return K_m = φ(·)φ(·)ᵀ/m + σ_W²: the covariance of a layer's values at x conditional on its inner U, b_U.

    Parameters
    ----------
    layer : MLPLayer
    x : ndarray of float64, shape (N, d)
    replica : int
        Whose parameters are used.
    output_bias_std : float
        σ_W.

    Returns
    -------
    ndarray, shape (N, N)
    """
    hidden = np.asarray(layer.hidden(x, replica=replica))
    return np.asarray(hidden @ hidden.T / layer.u.shape[1] + output_bias_std**2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Network:
    """One discrete network of the family: every `stride` fine steps a layer of width m; None is the Gaussian layer."""

    stride: int
    width: int | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class System:
    """Tokens that move together: N of them, or the nodes of a mean field followed by N passive ones.

    Parameters
    ----------
    points : ndarray of float64, shape (n + N, d)
    n_nodes : int
        n; 0 for a system of finitely many tokens.
    weights : ndarray, shape (n + N,), optional
        Of all points in attention; default 1/N.
    """

    points: Tokens
    n_nodes: int = 0
    weights: Floats | None = None


def deep_wide(
    attention: Interaction | None,
    mlp: MLP,
    systems: Sequence[System],
    *,
    horizon: float,
    depths: Sequence[int],
    widths: Sequence[int],
    fine_depth: int,
    noise: Noise,
    n_threads: int,
) -> tuple[Floats, Floats]:
    """Run systems through networks of several depths and widths and their common limit under one noise; one replica.

    The limit X̄ is the last system in `fine_depth` steps of the split scheme under the field W, in its harmonics. A
    network of depth L and width m takes, at its own tokens Y, the realised increment ΔW(Y) of its interval, and maps it
    to its layer's law conditional on the layer's inner weights: G^m(Y) = T ΔW(Y)/√h, T the optimal map from
    N(0, κ(YYᵀ)) to N(0, K_m). Each network then has the law of the transformer (up to the field's tolerance), and the
    joint law is a coupling Γ of the theorem (arXiv:2604.26898, Theorem 1), recursive along the realised states.

    Parameters
    ----------
    attention : Interaction or None
    mlp : MLP
        Its own width is not used.
    systems : sequence of System
        Each starts with the first tokens of the last one. Up to some hundreds of points if there are widths; the kernel
        must be affordable in harmonics (d = 2, 3, or smooth).
    horizon : float
    depths, widths : sequence of int
        Each depth divides fine_depth.
    fine_depth : int
    noise : Noise
    n_threads : int

    Returns
    -------
    errors : ndarray, shape (len(systems), len(depths) + 1, len(widths) + 1)
        sup over the network's grid of (1/N) Σ |X − X̄|². The last column has Gaussian layers (m = ∞), the last row the
        depth fine_depth; that corner of the last system is 0.
    width_errors : ndarray, shape (len(systems), len(depths) + 1, len(widths))
        The same against the system's network of that depth with Gaussian layers: the effect of the width alone.

    Notes
    -----
    O(N³) per layer of every network. LAPACK runs on one thread: at this size more are slower, and the last bits
    of results would depend on their number.
    """
    dim = systems[0].points.shape[1]
    family = _Family(
        attention=attention,
        mlp=mlp,
        field=GaussianField(kernel=mlp.kernel(dim), method="spectral"),
        horizon=horizon,
        fine_depth=fine_depth,
        noise=noise,
        n_threads=n_threads,
    )
    networks = [
        [_Network(stride=fine_depth // depth, width=width) for width in (*widths, None)]
        for depth in (*depths, fine_depth)
    ]
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        return family.run(networks, systems)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """What networks of all depths and widths share: the attention, the law of the layers, the field and the noise."""

    attention: Interaction | None
    mlp: MLP
    field: GaussianField
    horizon: float
    fine_depth: int
    noise: Noise
    n_threads: int

    def run(self, networks: Sequence[Sequence[_Network]], systems: Sequence[System]) -> tuple[Floats, Floats]:
        """Return the errors of `deep_wide` for a row of networks, the last one Gaussian, per depth."""
        basis, deviations = self.field.basis()
        dim, n_widths = basis.dim, len(networks[0]) - 1
        states = [[[system.points[None] for _ in row] for row in networks] for system in systems]
        plans = [self._plan(system) for system in systems]
        sums = [np.zeros((1, basis.size, dim)) for _ in networks]
        errors = np.zeros((len(systems), len(networks), n_widths + 1))
        width_errors = np.zeros((len(systems), len(networks), n_widths))
        for step in range(self.fine_depth):
            normals = normalized_sum([self.noise.draws(Stream.BROWNIAN, step)], (basis.size, dim))
            due = [i for i, row in enumerate(networks) if (step + 1) % row[0].stride == 0]
            for i, row in enumerate(networks):
                sums[i] += normals
                if i not in due:
                    continue
                coefficients = sums[i] * deviations[:, None] / math.sqrt(row[0].stride)
                sums[i] = np.zeros_like(normals)
                for attention, runs in zip(plans, states, strict=True):
                    runs[i] = [
                        self._layer(y, network, attention=attention, coefficients=coefficients, step=step)
                        for y, network in zip(runs[i], row, strict=True)
                    ]
            limit = states[-1][-1][-1][:, systems[-1].n_nodes :]
            for s, system in enumerate(systems):
                for i in due:
                    tokens = [y[:, system.n_nodes :] for y in states[s][i]]
                    now = [_mean_square(y, limit[:, : y.shape[1]]) for y in tokens]
                    errors[s, i] = np.maximum(errors[s, i], now)
                    by_width = [_mean_square(y, tokens[-1]) for y in tokens[:-1]]
                    width_errors[s, i] = np.maximum(width_errors[s, i], by_width)
        return errors, width_errors

    def _plan(self, system: System) -> InteractionPlan | None:
        if self.attention is None:
            return None
        return self.attention.plan(Shape.of(system.points[None]), system.weights)

    def _layer(
        self, y: Tokens, network: _Network, *, attention: InteractionPlan | None, coefficients: Floats, step: int
    ) -> Tokens:
        """Return tokens after a layer that ends with this fine step, under the field with these coefficients."""
        basis, _ = self.field.basis()
        step_size = self.horizon * network.stride / self.fine_depth
        if attention is not None:
            y = attention.move(y, step_size, n_threads=self.n_threads)
        g = basis.combine(y, coefficients, n_threads=self.n_threads)
        if network.width is not None:
            inner = replace(self.mlp, width=network.width, output_bias_std=0.0)
            layer = inner.plan(basis.dim).draw([self.noise.draws(Stream.LAYER, step)])
            sigma = self.mlp.output_bias_std
            g = as_layer(g, y, layer=layer, kernel=self.field.kernel, output_bias_std=sigma)
        return sphere.layer_norm_step(y, g, math.sqrt(step_size), self.n_threads)


def as_layer(g: Tokens, y: Tokens, *, layer: MLPLayer, kernel: CovarianceKernel, output_bias_std: float) -> Tokens:
    """Return the values of finite layers at y that are optimally coupled with those of the Gaussian field.

    Parameters
    ----------
    g : ndarray of float64, shape (R, N, d)
        Values of the field with covariance κ at y.
    y : ndarray of float64, shape (R, N, d)
    layer : MLPLayer
        Its inner weights are used, of each replica or of all.
    kernel : CovarianceKernel
        κ.
    output_bias_std : float
        σ_W.

    Returns
    -------
    ndarray, shape (R, N, d)
        T g with T the optimal map from N(0, κ(yyᵀ)) to N(0, K_m): the law of the layer at y, conditional on the inner
        weights.
    """
    out = np.empty_like(g)
    for replica in range(len(y)):
        own = replica if len(layer.u) > 1 else 0
        target = layer_covariance(layer, y[replica], replica=own, output_bias_std=output_bias_std)
        out[replica] = optimal_map(covariance_matrix(kernel, y[replica]), target) @ g[replica]
    return out


def _mean_square(x: Tokens, y: Tokens) -> float:
    return float(((x - y) ** 2).sum(axis=2).mean())
