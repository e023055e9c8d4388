"""Random layers of few dimensions, on one thread:  python benches/activations.py [--quick]

Prints the time of one vector of hidden units, products included, in multiply-adds of a vector: these are measured by
probe.py in the same rounds. Beside it the fewest that it could be on Zen 4, by the model of docs/developers/ports.md.
Then the times of layers with parameters of each system, and of the normals that these parameters are.
"""

import argparse
import sys
import time

import numpy as np
import probe

import chaosphere as cs
from chaosphere.kernels import layer as kernel
from chaosphere.kernels.normals import normals
from chaosphere.noise.activations import ACTIVATIONS

VECTOR_BYTES = 64
KEYS = np.array([[1, 2]], np.uint32)
# Operations for AVX-512: multiply-adds, with the place of a division, permutations of one register, and all.
COUNTS = {
    "float64": {"relu": (0, 0, 0), "tanh": (12, 2, 23), "gelu": (14, 15, 34), "erf": (14, 15, 36)},
    "float32": {"relu": (0, 0, 0), "tanh": (5, 7, 18), "gelu": (6, 6, 16), "erf": (6, 7, 19)},
}
MAX_BESIDE = {"float64": 0, "float32": 4}  # up to so many dimensions the sums are one pass with the activation


def fewest(dtype: str, dim: int, activation: str) -> float:
    """Cycles of a vector on Zen 4: its passes follow one another, and each waits for the pipes that it needs most."""
    multiply_adds, permutations, count = COUNTS[dtype][activation]
    beside = dim if dim <= MAX_BESIDE[dtype] else 0
    multiply_adds, count = multiply_adds + beside, count + beside
    return max(multiply_adds, (multiply_adds + permutations) / 1.5, count / 2) + 2 * dim - beside


def least(function, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def parameters(n_replicas: int, dim: int, width: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    u = np.random.default_rng(0).standard_normal((n_replicas, width, dim)).astype(dtype)
    return u, np.ascontiguousarray(u.transpose(0, 2, 1))


def in_multiply_adds(dtype: str, dim: int, activation: str, rounds: int) -> float:
    n_tokens, width = 768, 1024
    x = cs.sample_uniform(n_tokens, dim, rng=0, n_replicas=1).astype(dtype)
    u, w = parameters(1, dim, width, dtype)
    number = ACTIVATIONS[activation].kernel_id
    lanes = VECTOR_BYTES / np.dtype(dtype).itemsize
    counts = []
    for _ in range(rounds):  # both of a round are short: the processor's clock is that of its neighbours' load
        seconds = least(lambda: kernel.layer(x, u, None, w, None, number, 1.0, 1.0, 1), 3)
        rate = max(probe.burst("fma", dtype, threads=1, share=0.05) or np.nan for _ in range(3))
        counts.append(seconds / (n_tokens * width / lanes) * rate / (2 * lanes))
    return float(np.median(counts))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few sizes: does it run?")
    rounds = 2 if (is_quick := parser.parse_args().quick) else 40
    dims, names = ([3], ["tanh"]) if is_quick else ([2, 3, 5], list(ACTIVATIONS))
    for dtype, counts in COUNTS.items():
        print(f"\n{dtype}: multiply-adds of a vector of hidden units (fewest)\n")
        print("| activation | " + " | ".join(f"d = {d}" for d in dims) + " |\n|---" + "|---" * len(dims) + "|")
        for name in names:
            cells = [f"{in_multiply_adds(dtype, d, name, rounds):.1f}" for d in dims]
            if name in counts:
                cells = [f"{cell} ({fewest(dtype, d, name):.1f})" for cell, d in zip(cells, dims, strict=True)]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print("\nfloat64: microseconds of one layer of a system with parameters of its own\n")
    sizes = [16, 32, 64]
    print("| d, m | normals | " + " | ".join(f"{a}: N = {n}" for a in ("relu", "tanh") for n in sizes) + " |")
    print("|---" * 8 + "|")
    for dim, width in [(3, 256)] if is_quick else [(3, 256), (8, 256), (64, 512)]:
        n_systems = 64
        u, w = parameters(n_systems, dim, width, "float64")
        count = (2 * dim + 1) * width
        cells = [f"{1e6 * least(lambda c=count: normals(KEYS, 0, 0, c, 1), rounds):.1f}"]
        for name in ("relu", "tanh"):
            for n in sizes:
                x = cs.sample_uniform(n, dim, rng=0, n_replicas=n_systems)
                number = ACTIVATIONS[name].kernel_id
                took = least(
                    lambda x=x, u=u, w=w, k=number: kernel.layer(x, u, None, w, None, k, 1.0, 1.0, 1), rounds // 2
                )
                cells.append(f"{1e6 * took / n_systems:.1f}")
        print(f"| {dim}, {width} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
