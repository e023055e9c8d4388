"""Kernels for systems of few tokens over those of blocks:  python benches/small_systems.py [--quick] [--dtype float32]

One thread, in short rounds that alternate between both. For each kind of attention, d and N it prints the median over
the rounds of the time of blocks over that of few tokens, for many systems in one call and for one system alone. For
steps it is the time of eight of them one by one over that in one call.
"""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.interactions.protocol import Interaction, InteractionPlan
from chaosphere.kernels import attention, causal, rows
from chaosphere.kernels.replica_rows import attend_replica_rows
from chaosphere.kernels.replicas import attend_replicas

BETA = 4.0
LOG2_E = float(np.log2(np.e))
ROUND = 3e-3  # seconds of one round, about


def ratio(blocks: Callable, few: Callable, *, rounds: int) -> float:
    """Return the median of the time of the first over that of the second."""
    start = time.perf_counter()
    blocks()
    repeats = max(1, int(ROUND / (time.perf_counter() - start)))

    def took(function: Callable) -> float:
        begin = time.process_time()
        for _ in range(repeats):
            function()
        return time.process_time() - begin

    return float(np.median([took(blocks) / took(few) for _ in range(rounds)]))


def full(x: np.ndarray) -> tuple[Callable, Callable]:
    """QᵀK = βI and V = δI."""
    plan = cs.SoftmaxAttention(beta=BETA, method="direct").plan(Shape.of(x))
    settings = (None, None, None, plan.scale, plan.shift, True, 1)
    return lambda: attention.attend_bounded(x, *settings), lambda: plan.attend_few(x, n_threads=1)


def masked(x: np.ndarray) -> tuple[Callable, Callable]:
    """The same under a causal mask."""
    plan = cs.SoftmaxAttention(beta=BETA, mask="causal", method="direct").plan(Shape.of(x))
    settings = (None, None, None, plan.scale, plan.shift, 1)
    return lambda: causal.attend_causal(x, *settings), lambda: plan.attend_few(x, n_threads=1)


def values(x: np.ndarray) -> tuple[Callable, Callable]:
    """QᵀK = βI and any V."""
    value = matrices(x.shape[2], x.shape[2])[2]
    plan = cs.SoftmaxAttention(beta=BETA, value=value, method="direct").plan(Shape.of(x))
    settings = (None, value.astype(x.dtype), None, plan.scale, plan.shift, True, 1)
    return lambda: attention.attend_bounded(x, *settings), lambda: plan.attend_few(x, n_threads=1)


def matrices(dim: int, k: int) -> list[np.ndarray]:
    return [m / np.linalg.norm(m, 2) for m in np.random.default_rng(0).standard_normal((3, k, dim))]


def general(x: np.ndarray) -> tuple[Callable, Callable]:
    """Any Q, K and V, scores with a bound."""
    query, key, value = matrices(x.shape[2], x.shape[2])
    plan = cs.SoftmaxAttention(query=query, key=key, value=value, method="direct").plan(Shape.of(x))
    settings = (plan.pair_map, plan.value_map, None, plan.scale, plan.shift, False, 1)
    maps = {"query": plan.row_map, "output": plan.value_map, "is_small": True}
    return lambda: attention.attend_bounded(x, *settings), lambda: attend_replica_rows(x, x, None, 1.0, 1, **maps)


def masked_general(x: np.ndarray) -> tuple[Callable, Callable]:
    """The same under a causal mask."""
    query, key, value = matrices(x.shape[2], x.shape[2])
    plan = cs.SoftmaxAttention(query=query, key=key, value=value, mask="causal", method="direct").plan(Shape.of(x))
    settings = (plan.pair_map, plan.value_map, None, plan.scale, plan.shift, 1)
    maps = {"query": plan.row_map, "output": plan.value_map, "is_small": True, "first_query": 0}
    return lambda: causal.attend_causal(x, *settings), lambda: attend_replica_rows(x, x, None, 1.0, 1, **maps)


def masked_head(x: np.ndarray) -> tuple[Callable, Callable]:
    """A head whose matrices have a quarter of the dimensions, under a causal mask."""
    query, key, value = (m.astype(x.dtype) for m in matrices(x.shape[2], max(1, x.shape[2] // 4)))
    output = np.ascontiguousarray(value.T)

    def blocks() -> object:
        q, k, v = (rows.map_tokens(x, m, 1) for m in (query, key, value))
        return causal.attend_causal_rows(q, k, None, output, None, BETA, 0.0, 1, values=v)

    maps = {"query": query, "key": key, "value": value, "output": output, "is_small": True}
    return blocks, lambda: attend_replica_rows(x, x, None, BETA, 1, first_query=0, **maps)


def symmetric(x: np.ndarray) -> tuple[Callable, Callable]:
    """A symmetric QᵀK, for which blocks take one exponential for both orders."""
    root = matrices(x.shape[2], x.shape[2])[0]
    plan = cs.SoftmaxAttention(query=root, key=root, method="direct").plan(Shape.of(x))
    settings = (plan.pair_map, None, None, 1.0, LOG2_E, True, 1)
    return lambda: attention.attend_bounded(x, *settings), lambda: attend_replicas(
        x, None, 1.0, 0.0, 1, query=plan.pair_map
    )


def distances(x: np.ndarray) -> tuple[Callable, Callable]:
    """Attention by distances with square matrices."""
    query, key, value = (m.astype(x.dtype) for m in matrices(x.shape[2], x.shape[2]))

    def blocks() -> object:
        q, k, v = (rows.map_tokens(x, m, 1) for m in (query, key, value))
        bias = -LOG2_E * np.square(k, dtype=np.float64).sum(axis=2)
        return rows.attend_rows(q, k, None, None, None, 2 * LOG2_E, 1, values=v, bias=bias)

    maps = {"query": query, "key": key, "value": value, "is_small": True}
    return blocks, lambda: attend_replica_rows(x, x, None, 2 * LOG2_E, 1, is_distance=True, **maps)


def head(x: np.ndarray) -> tuple[Callable, Callable]:
    """A head whose matrices have a quarter of the dimensions, with an output."""
    query, key, value = (m.astype(x.dtype) for m in matrices(x.shape[2], max(1, x.shape[2] // 4)))
    output = np.ascontiguousarray(value.T)

    def blocks() -> object:
        q, k, v = (rows.map_tokens(x, m, 1) for m in (query, key, value))
        return rows.attend_rows(q, k, None, output, None, BETA, 1, values=v)

    maps = {"query": query, "key": key, "value": value, "output": output, "is_small": True}
    return blocks, lambda: attend_replica_rows(x, x, None, BETA, 1, **maps)


def steps(x: np.ndarray, interaction: Interaction) -> tuple[Callable, Callable]:
    """Eight steps one by one, and in one call."""
    plan = interaction.plan(Shape.of(x))

    def one_by_one() -> object:
        y = x
        for _ in range(8):
            y = InteractionPlan.move(plan, y, 0.01, n_threads=1)
        return y

    return one_by_one, lambda: plan.move(x, 0.01, n_threads=1, n_steps=8)


def general_steps(x: np.ndarray) -> tuple[Callable, Callable]:
    """Steps with any Q, K and V."""
    query, key, value = matrices(x.shape[2], x.shape[2])
    return steps(x, cs.SoftmaxAttention(query=query, key=key, value=value, method="direct"))


def unnormalized_steps(x: np.ndarray) -> tuple[Callable, Callable]:
    """Steps of unnormalised attention."""
    return steps(x, cs.UnnormalizedAttention(beta=BETA, rescaled=True, method="direct"))


KINDS = {
    "full": full,
    "values": values,
    "symmetric": symmetric,
    "general": general,
    "causal": masked,
    "causal general": masked_general,
    "causal head": masked_head,
    "distances": distances,
    "head": head,
    "general steps": general_steps,
    "unnormalized steps": unnormalized_steps,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few sizes: does it run?")
    parser.add_argument("--dtype", default="float64", choices=["float64", "float32"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[16, 32, 64, 128], help="tokens of a system")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    arguments = parser.parse_args()
    sizes, dims = ([16], [3]) if arguments.quick else (arguments.sizes, [2, 3, 8, 16, 64])
    for kind in arguments.kinds:
        print(f"\n{kind}, {arguments.dtype}: speed of many systems over that of blocks (of one system alone)\n")
        print("| d | " + " | ".join(f"N = {n}" for n in sizes) + " |\n|---" + "|---" * len(sizes) + "|")
        for dim in dims:
            cells = []
            for n in sizes:
                n_replicas = max(64, 8192 // n)
                x = cs.sample_uniform(n, dim, rng=0, n_replicas=n_replicas).astype(arguments.dtype)
                rounds = 3 if arguments.quick else 31
                many, alone = (ratio(*KINDS[kind](tokens), rounds=rounds) for tokens in (x, x[:1]))
                cells.append(f"{many:.2f} ({alone:.2f})")
            print(f"| {dim} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
