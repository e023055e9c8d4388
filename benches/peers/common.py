"""What the scripts in this folder share: sizes, initial laws, the pair equation, transport distances, the protocol.

They repeat two experiments of chaosphere as its user would write them without it: the same sizes, laws and quantities,
with random numbers of their own. The arithmetic of the time loop is in each script. Pictures, files with labels and
intervals are left out: what is left out makes the scripts faster, not slower.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, special, stats
from scipy.spatial.distance import cdist

BETA = 1.0
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
QUANTITIES = ("energy", "mean direction", "coupled particles", "transport")


def options(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: is the script right?")
    parser.add_argument("--replicas", type=int, help="default: those of the experiment")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="file .npz to write")
    return parser.parse_args()


# Figure 2 of arXiv:2604.26898: relu, uniform start, with and without biases; attraction, none, repulsion.


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Sizes of the figure."""

    dims: tuple[int, ...] = (5, 64, 128)
    bias_stds: tuple[float, ...] = (0.0, 0.1)
    value_scales: tuple[float, ...] = (1.0, 0.0, -1.0)
    n_tokens: int = 64
    depth: int = 150
    width: int = 2048
    horizon: float = 5.0
    n_replicas: int = 1


QUICK_FIGURE = Figure(dims=(5, 16), depth=5, width=32, n_replicas=24)


def figure(description: str, run: Callable[[Figure, int, float, float, np.random.Generator], tuple[Any, Any]]) -> None:
    """Run all panels and write them; run(sizes, dim, bias_std, value_scale, rng) gives quantiles and energies."""
    parsed = options(description)
    sizes = QUICK_FIGURE if parsed.quick else Figure()
    n_replicas = parsed.replicas or sizes.n_replicas
    times = np.linspace(0, sizes.horizon, sizes.depth + 1)
    shape = (len(sizes.dims), len(sizes.bias_stds), len(sizes.value_scales), n_replicas, len(times))
    energy, cosine = np.empty(shape), np.empty((*shape, len(QUANTILES)))
    exact, bound = np.empty((*shape[:2], len(times))), np.full((*shape[:2], len(times)), np.nan)
    for index in np.ndindex(*shape[:4]):
        dim, bias_std, scale = sizes.dims[index[0]], sizes.bias_stds[index[1]], sizes.value_scales[index[2]]
        rng = np.random.default_rng([parsed.seed, *index])
        cosine[index], energy[index] = run(sizes, dim, bias_std, scale, rng)
    for i, dim in enumerate(sizes.dims):
        for j, bias_std in enumerate(sizes.bias_stds):
            exact[i, j] = pair_energy(dim, bias_std, times, sizes.n_tokens)
            rate = dissipation_rate(dim, bias_std)
            if rate is not None:
                bound[i, j] = energy[i, j, 1, :, 0].mean() * np.exp(rate * times)
    np.savez(parsed.out, energy=energy, cosine=cosine, pair_equation=exact, bound=bound, times=times)


def kernel(u: np.ndarray, dim: int, bias_std: float) -> np.ndarray:
    """Covariance of a relu layer with inner and outer biases of one deviation."""
    q = 1 / dim + bias_std**2
    c = np.clip((u / dim + bias_std**2) / q, -1, 1)
    return q / (2 * np.pi) * (np.sqrt(1 - c * c) + c * (np.pi - np.arccos(c))) + bias_std**2


def generator(u: np.ndarray, dim: int, bias_std: float) -> tuple[np.ndarray, np.ndarray]:
    """Drift and half the squared noise of the cosine of two tokens without attention."""
    here, top = kernel(u, dim, bias_std), kernel(np.ones(1), dim, bias_std)
    return (dim - 2 + u * u) * here - (dim - 1) * top * u, (1 - u * u) * (top - u * here)


def pair_energy(dim: int, bias_std: float, times: np.ndarray, n_tokens: int, degree: int = 128) -> np.ndarray:
    """Expected energy without attention: Chebyshev collocation in the cosine, matrix exponential in time."""
    u = np.cos(np.pi * np.arange(degree + 1) / degree)
    cheb, unit = np.polynomial.chebyshev, np.eye(degree + 1)
    to_values = cheb.chebvander(u, degree)
    drift, noise = generator(u, dim, bias_std)
    operator = drift[:, None] * (cheb.chebvander(u, degree - 1) @ cheb.chebder(unit))
    operator += noise[:, None] * (cheb.chebvander(u, degree - 2) @ cheb.chebder(unit, 2))
    flow = linalg.expm(operator @ linalg.inv(to_values) * (times[1] - times[0]))
    nodes, weights = special.roots_jacobi(64, (dim - 3) / 2, (dim - 3) / 2)  # the law of the cosine at time 0
    mean = weights / weights.sum() @ cheb.chebvander(nodes, degree) @ linalg.inv(to_values)
    values, out = math.exp(BETA) - np.exp(BETA * u), np.empty(len(times))
    for k in range(len(times)):
        out[k] = 0.5 * (1 - 1 / n_tokens) * mean @ values
        values = flow @ values
    return out


def dissipation_rate(dim: int, bias_std: float) -> float | None:
    """Exponent of the theorem's bound on the energy; None where the theorem does not apply."""
    at_end = 1 / dim - 1.5 * bias_std**2 * (dim - 3)  # the limit u → 1
    if at_end >= 0:
        return None
    u = np.cos(np.linspace(0, np.pi, 20001))[1:]
    drift, noise = generator(u, dim, bias_std)
    ratio = BETA * (drift + BETA * noise) / np.expm1(BETA * (1 - u))
    return max(at_end, -float(ratio.min()))


# Propagation of chaos, the rates in N: `chaosphere chaos --study rates`.


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """Sizes of the study."""

    dims: tuple[int, ...] = (2, 3, 4, 5)
    n_replicas: int = 12
    depth: int = 32
    horizon: float = 1.0
    width: int = 64
    bias_std: float = 0.3
    own_tokens: tuple[int, ...] = ()
    own_nodes: int = 0

    def tokens(self, dim: int) -> tuple[int, ...]:
        return self.own_tokens or tuple(64 * 2**k for k in range(10 if dim <= 3 else 7))

    def n_nodes(self, dim: int) -> int:
        return self.own_nodes or {2: 256, 3: 3200}.get(dim, 8192)

    def n_transported(self, dim: int, n: int) -> int:
        """Systems of n tokens whose distance is taken."""
        largest = self.tokens(dim)[-1]
        return min(largest // n, 8, (largest if dim == 2 else 512) // n)


QUICK_CHAOS = Chaos(dims=(2, 3), n_replicas=16, depth=4, own_tokens=(16, 32, 64), own_nodes=64)
N_CHECKED = 1024  # tokens that also follow half the nodes


class State(NamedTuple):
    """All points that move under the same layers; `paths` holds the largest |X − X̄|² of every token so far."""

    systems: list[Any]  # (s, N, d) per N
    limit: Any  # (1, n + M + targets, d): nodes, coupled copies of the tokens, points of the limit measure in W2
    half: Any  # (1, n/2 + N_CHECKED, d): half as many nodes, coupled copies of some tokens
    paths: list[Any]  # (s, N) per N, and (1, N_CHECKED) of the half-resolved limit


def quadrature(dim: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the von Mises–Fisher law of concentration 1 around the first axis."""
    weights = np.ones(n)
    if dim == 2:
        angle = 2 * np.pi * np.arange(n) / n
        nodes = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    elif dim == 3:
        g = math.isqrt(n // 2)
        height, height_weights = np.polynomial.legendre.leggauss(g)
        angle, ring = np.pi * np.arange(2 * g) / g, np.sqrt(1 - height**2)
        nodes = np.stack(
            [np.outer(ring, np.cos(angle)), np.outer(ring, np.sin(angle)), np.repeat(height[:, None], 2 * g, 1)], axis=2
        ).reshape(-1, 3)
        weights = np.repeat(height_weights, 2 * g)
    else:
        cube = stats.qmc.Sobol(dim, rng=np.random.default_rng(0)).random_base2(math.ceil(math.log2(n)))
        nodes = stats.norm.ppf(np.clip(cube, 1e-12, 1 - 1e-12))
        nodes /= np.linalg.norm(nodes, axis=1, keepdims=True)
        weights = np.ones(len(nodes))
    weights = weights * np.exp(nodes[:, 0])
    return nodes, weights / weights.sum()


def transport(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """W2² between tokens and weighted points: of the arc on the circle, else of the chord."""
    import ot

    if x.shape[1] == 2:
        angles = (np.arctan2(z[:, 1], z[:, 0]) / (2 * np.pi) % 1 for z in (x, y))
        return 4 * np.pi**2 * float(ot.wasserstein_circle(*angles, v_weights=weights, p=2)[0])
    cost = cdist(x, y, "sqeuclidean")
    return float(ot.emd2(np.full(len(x), 1 / len(x)), weights, cost, numItermax=10**8))


def chaos(
    description: str,
    prepare: Callable[[Chaos, State, np.ndarray, np.ndarray], Callable[[State, np.random.Generator], State]],
    energy: Callable[[Any, np.ndarray | None], np.ndarray],
) -> None:
    """Run the study and write it.

    prepare(sizes, state, weights, half_weights) gives a function that takes a state through half of the layers;
    energy(x, weights) is of tokens (s, n, d).
    """
    parsed = options(description)
    sizes = QUICK_CHAOS if parsed.quick else Chaos()
    n_replicas = parsed.replicas or sizes.n_replicas
    results: dict[str, Any] = {"n_wanted": sizes.n_replicas, "replica_seconds": np.zeros(n_replicas)}
    for dim in sizes.dims:
        ladder = sizes.tokens(dim)
        nodes, half = (quadrature(dim, n) for n in (sizes.n_nodes(dim), sizes.n_nodes(dim) // 2))
        targets = {n: quadrature(dim, n if dim == 2 else 4 * n) for n in ladder if sizes.n_transported(dim, n) > 0}
        law = stats.vonmises_fisher(np.eye(dim)[0], 1.0)
        squares = np.full((len(QUANTITIES), n_replicas, len(ladder)), np.nan)
        layers = None
        for replica in range(n_replicas):
            rng = np.random.default_rng([parsed.seed, dim, replica])
            x = law.rvs(ladder[-1], random_state=rng)
            n_checked = min(N_CHECKED, len(x))
            systems = [x[: n * min(len(x) // n, 8)].reshape(-1, n, dim) for n in ladder]
            state = State(
                systems=systems,
                limit=np.concatenate([nodes[0], x, *(points for points, _ in targets.values())])[None],
                half=np.concatenate([half[0], x[:n_checked]])[None],
                paths=[np.zeros(system.shape[:2]) for system in systems] + [np.zeros((1, n_checked))],
            )
            if layers is None:
                layers = prepare(sizes, state, nodes[1], half[1])
            begin = time.perf_counter()
            largest = distances(sizes, dim, ladder, state, len(nodes[0]) + len(x), targets)
            for _ in range(2):
                state = layers(state, rng)
                current = distances(sizes, dim, ladder, state, len(nodes[0]) + len(x), targets)
                largest = {n: np.maximum(largest[n], current[n]) for n in current}
            limit = np.asarray(state.limit[:, : len(nodes[0])])
            exact_energy, exact_mean = energy(limit, nodes[1])[0], nodes[1] @ limit[0]
            squares[0, replica] = [np.mean((energy(y, None) - exact_energy) ** 2) for y in state.systems]
            means = [np.asarray(y).mean(axis=1) - exact_mean for y in state.systems]
            squares[1, replica] = [(mean**2).sum(axis=1).mean() for mean in means]
            squares[2, replica] = [np.asarray(path).mean() for path in state.paths[:-1]]
            squares[3, replica, : len(largest)] = [values.mean() for values in largest.values()]
            results["replica_seconds"][replica] += time.perf_counter() - begin
        results[f"d = {dim}"] = squares
    np.savez(parsed.out, **results)


def distances(
    sizes: Chaos, dim: int, ladder: tuple[int, ...], state: State, first: int, targets: dict[int, Any]
) -> dict[int, np.ndarray]:
    """Return W2² of the systems of each N from the points that stand for the limit."""
    out, limit = {}, np.asarray(state.limit[0])
    for n, system in zip(ladder, state.systems, strict=True):
        if n in targets:
            weights = targets[n][1]
            points, system = limit[first : first + len(weights)], np.asarray(system)
            first += len(weights)
            out[n] = np.array([transport(x, points, weights) for x in system[: sizes.n_transported(dim, n)]])
    return out
