"""The one place with the sizes of all cases, the tolerances, and the thread count.

CHAOSPHERE_BENCH=quick (or `pytest benches --quick`) takes tiny sizes, once each: are the benches themselves right?
CHAOSPHERE_BENCH_THREADS=n uses n processors; the default is all of this process.
"""

import importlib.util
import os
from dataclasses import dataclass

MODE = os.environ.get("CHAOSPHERE_BENCH", "full")
if MODE not in {"full", "quick"}:
    raise ValueError(f"CHAOSPHERE_BENCH must be full or quick, got {MODE!r}")
IS_QUICK = MODE == "quick"

N_PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = int(os.environ.get("CHAOSPHERE_BENCH_THREADS", N_PROCESSORS))

SECONDS = 0.3  # time to spend on one contender and case, between ROUNDS[0] and ROUNDS[1] rounds
ROUNDS = (1, 1) if IS_QUICK else (3, 300)
SLOW = 3.0  # a call that takes longer is measured once
TIMEOUT = 600 if IS_QUICK else 24 * 3600  # seconds; no process of a bench takes as long unless it hangs

# Largest error against NumPy in float64 on the same tokens, divided by max(1, largest reference value). It must let
# every contender pass and no wrong formula; the accuracy of the library itself is the business of its tests.
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
CHECKED_ROWS = 64

PEERS = {"numpy": "numpy", "torch": "torch", "jax": "jax", "keops": "pykeops"}  # and their packages
CONTENDERS = ("chaosphere", *PEERS)


def absent() -> list[str]:
    """Return the peers that are not installed."""
    return [name for name, package in PEERS.items() if importlib.util.find_spec(package) is None]


def set_environment() -> None:
    """Fix the threads of every contender, before NumPy or anything else with threads is imported."""
    # As chaosphere itself sets it: idle OpenMP workers, PyTorch's too, spin briefly only.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
    # The NumPy contender runs its blocks, exponentials included, in threads of its own; BLAS threads inside them would
    # only compete, and spin as well.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if THREADS < N_PROCESSORS and hasattr(os, "sched_setaffinity"):
        # XLA has no other setting: it takes as many threads as it sees processors.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One size of one bench; what a bench has no use for stays at its default."""

    n_tokens: int
    dim: int
    dtype: str = "float64"
    n_replicas: int = 1
    beta: float = 4.0
    width: int = 0
    activation: str = ""
    depth: int = 0
    horizon: float = 0.0
    n_bins: int = 0
    head_dim: int = 0
    n_heads: int = 1
    degree: int = 0

    def __str__(self) -> str:
        parts = [f"R{self.n_replicas}"] * (self.n_replicas > 1) + [f"N{self.n_tokens}", f"d{self.dim}"]
        parts += [f"H{self.n_heads}"] * (self.n_heads > 1) + [f"k{self.head_dim}"] * (self.head_dim > 0)
        parts += [f"n{self.degree}"] * (self.degree > 0)
        parts += [f"m{self.width}"] * (self.width > 0) + [self.activation] * (self.activation != "")
        parts += [f"beta{self.beta:g}"] * (self.beta != 4.0)
        parts += [f"L{self.depth}"] * (self.depth > 0) + [f"bins{self.n_bins}"] * (self.n_bins > 0)
        return "-".join([*parts, self.dtype])


BOTH = ("float64", "float32")

if IS_QUICK:
    ATTENTION = [Case(n_tokens=600, dim=d, dtype=t) for d in (3, 16) for t in BOTH]
    ATTENTION += [Case(n_replicas=5, n_tokens=40, dim=3)]
    FORMS = [Case(n_tokens=600, dim=3)]
    POTENTIAL = [Case(n_tokens=600, dim=3, degree=8)]
    HEADS = [Case(n_tokens=600, dim=16, n_heads=n, head_dim=4, dtype=t) for n in (1, 4) for t in BOTH]
    TANGENT = [Case(n_tokens=600, dim=d, dtype=t) for d in (3, 16) for t in BOTH]
    SINKHORN = [Case(n_tokens=600, dim=3, dtype=t) for t in BOTH]
    LAYER = [Case(n_tokens=600, dim=5, width=48, activation=a, dtype=t) for a in ("relu", "tanh", "gelu") for t in BOTH]
    STEP = [Case(n_tokens=600, dim=3, dtype=t) for t in BOTH]
    ENERGY = [Case(n_tokens=600, dim=3)]
    HISTOGRAM = [Case(n_tokens=600, dim=3, n_bins=50)]
    FASTSUM = [Case(n_tokens=3000, dim=d) for d in (2, 3, 4)]
    CAUSAL = [Case(n_tokens=600, dim=d, dtype=t) for d in (3, 16) for t in BOTH]
    PREFIX = FASTSUM
    TRANSFORMER = [
        Case(n_tokens=600, dim=3, width=32, activation="relu", depth=1, horizon=0.05),
        Case(n_tokens=20, dim=8, width=32, activation="relu", depth=3, horizon=0.1, beta=1.0),
    ]
    PHASES = [Case(n_replicas=6, n_tokens=32, dim=d, depth=3, horizon=0.3) for d in (2, 8)]
else:
    ATTENTION = [Case(n_tokens=16384, dim=d, dtype=t) for d in (2, 3, 8, 16, 64) for t in BOTH]
    ATTENTION += [Case(n_tokens=4096, dim=256, dtype=t) for t in BOTH]
    ATTENTION += [Case(n_tokens=4096, dim=3)]
    ATTENTION += [Case(n_tokens=1024, dim=d, dtype=t) for d in (2, 3, 16, 64) for t in BOTH]
    ATTENTION += [Case(n_replicas=2048, n_tokens=32, dim=3)]
    FORMS = [Case(n_tokens=16384, dim=d) for d in (3, 64)]
    POTENTIAL = [Case(n_tokens=16384, dim=d, degree=3, dtype=t) for d in (2, 3) for t in BOTH]
    POTENTIAL += [Case(n_tokens=16384, dim=d, degree=16, dtype=t) for d in (2, 3, 8, 64) for t in BOTH]
    HEADS = [Case(n_tokens=16384, dim=64, n_heads=n, head_dim=16, dtype=t) for n in (1, 4) for t in BOTH]
    TANGENT = [Case(n_tokens=16384, dim=d, dtype=t) for d in (3, 64) for t in BOTH]
    SINKHORN = [Case(n_tokens=4096, dim=3, beta=beta) for beta in (1.0, 4.0, 16.0)]
    SINKHORN += [Case(n_tokens=4096, dim=64), Case(n_tokens=4096, dim=3, dtype="float32")]
    LAYER = [
        Case(n_tokens=65536, dim=d, width=1024, activation=a, dtype=t)
        for d in (3, 64)
        for t in BOTH
        for a in ("relu", "tanh", "gelu")
    ]
    LAYER += [Case(n_tokens=16384, dim=3, width=128, activation="relu")]
    STEP = [Case(n_tokens=n, dim=d, dtype=t) for n, d in ((1_000_000, 3), (65536, 64), (4096, 64)) for t in BOTH]
    ENERGY = [Case(n_tokens=16384, dim=d) for d in (3, 64)]
    HISTOGRAM = [Case(n_tokens=16384, dim=d, n_bins=50) for d in (3, 64)]
    FASTSUM = [Case(n_tokens=1_000_000, dim=2, beta=beta) for beta in (1.0, 4.0, 16.0, 64.0)]
    FASTSUM += [Case(n_tokens=1_000_000, dim=3, beta=beta) for beta in (1.0, 4.0, 16.0, 64.0)]
    FASTSUM += [Case(n_tokens=1_000_000, dim=2, dtype="float32"), Case(n_tokens=100_000, dim=4)]
    CAUSAL = [Case(n_tokens=16384, dim=d, dtype=t) for d in (2, 3, 8, 16, 64) for t in BOTH]
    CAUSAL += [Case(n_tokens=1024, dim=d) for d in (3, 64)]
    PREFIX = [Case(n_tokens=1_000_000, dim=d, beta=beta) for d in (2, 3) for beta in (1.0, 4.0, 16.0)]
    PREFIX += [Case(n_tokens=1_000_000, dim=2, dtype="float32"), Case(n_tokens=100_000, dim=4)]
    TRANSFORMER = [
        Case(n_tokens=16384, dim=3, width=1024, activation="relu", depth=1, horizon=1 / 30),
        # Figures 2 to 6 of arXiv:2604.26898, with the width of its Figure 1.
        Case(n_tokens=64, dim=64, width=2048, activation="relu", depth=150, horizon=5.0, beta=1.0),
    ]
    # A tenth of the steps of one β of the phase diagram of arXiv:2312.10794.
    PHASES = [Case(n_replicas=2048, n_tokens=32, dim=d, depth=30, horizon=3.0) for d in (2, 3, 8, 32, 128)]

# Each key names a method of the contenders and of `reference`.
CASES = {
    "attention": ATTENTION,
    "random_values": FORMS,
    "weighted": FORMS,
    "general": FORMS,
    "hardmax": FORMS,
    "by_product": FORMS,
    "unnormalized": FORMS,
    "potential": POTENTIAL,
    "head": HEADS,
    "symmetric_head": HEADS,
    "jvp": TANGENT,
    "vjp": TANGENT,
    "partition": SINKHORN,
    "sinkhorn": SINKHORN,
    "layer": LAYER,
    "step": STEP,
    "energy": ENERGY,
    "histogram": HISTOGRAM,
    "fastsum": FASTSUM,
    "causal": CAUSAL,
    "prefix": PREFIX,
    "transformer": TRANSFORMER,
    "phases": PHASES,
}

# What `compare.py` takes by default: every kernel, at sizes that leave many calls to a second.
COMPARED = {
    "attention": [case for case in ATTENTION if case.dim <= 64 and case.n_replicas == 1],
    "general": FORMS,
    "head": HEADS,
    "jvp": TANGENT,
    "vjp": TANGENT,
    "layer": LAYER,
    "step": STEP,
    "phases": PHASES,
    "fastsum": FASTSUM,
    "causal": CAUSAL,
    "prefix": PREFIX,
    "energy": ENERGY,
    "transformer": TRANSFORMER[-1:],
}


def find(name: str) -> tuple[str, Case]:
    """Return kind and case of a name such as attention[N16384-d3-float64]."""
    names = {f"{kind}[{case}]": (kind, case) for kind, cases in CASES.items() for case in cases}
    if name not in names:
        raise SystemExit(f"unknown case {name!r}; known in {MODE} mode:\n  " + "\n  ".join(names))
    return names[name]
