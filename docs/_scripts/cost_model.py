"""What one step costs each rank, on the page about many machines: a model, not a measurement."""

import itertools
import json
from pathlib import Path

from chaosphere.kernels.blocks import block_size

N_TOKENS, DIM = 2**20, 3
BYTES_PER_SECOND = 10e9  # that reach a rank; assumed

READS = sorted((Path(__file__).resolve().parents[2] / "benches" / "results").glob("*.json"))


def pairs_per_second() -> float:
    """Return the rate of one core, by attention at N = 16 384 and d = 3 in benches/results."""
    benches = [bench for path in READS for bench in json.loads(path.read_text()).get("benchmarks", [])]
    infos = [bench["extra_info"] for bench in benches if bench["group"] == "attention[N16384-d3-float64]"]
    return next(info["pairs per second"] / info["threads"] for info in infos if info["contender"] == "chaosphere")


def rank_costs(n_tokens: int, dim: int, n_ranks: int) -> tuple[int, int, int]:
    """Return, of the busiest rank, tokens owned, pair weights computed, and bytes received in one evaluation."""
    block = block_size(n_tokens)
    n_blocks = -(-n_tokens // block)
    edges = [rank * n_blocks // n_ranks for rank in range(n_ranks + 1)]
    own = max(stop - first for first, stop in itertools.pairwise(edges))
    # Every pair with a block of one's own: those between two of them serve both.
    pairs = own * (own + 1) // 2 + own * (n_blocks - own)
    n_own = min(own * block, n_tokens)
    return n_own, pairs * block**2, (n_tokens - n_own) * dim * 8


def markdown() -> str:
    """Return the table, and what it stands on."""
    rate = pairs_per_second()
    parts = [
        f"Pair weights are counted from the schedule. A core computes {rate / 1e9:.2f} · 10⁹ ordered pairs per second,",
        "as [the benches](../performance.md) measured for N = 16\u202f384 and d = 3. *Gathering* is the time in which",
        f"a rank receives the tokens of all others, at {BYTES_PER_SECOND / 1e9:.0f} GB/s.",
    ]
    heads = ("ranks (one core each)", "tokens of a rank", "pair weights of a rank", "received by a rank")
    heads += ("computing", "gathering", "speed-up")
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    alone = 0.0
    for power in range(11):
        n_own, weights, n_bytes = rank_costs(N_TOKENS, DIM, 2**power)
        # The rate counts (i, j) and (j, i), which share a weight.
        computing, gathering = 2 * weights / rate, n_bytes / BYTES_PER_SECOND
        alone = alone or computing
        rows.append(
            f"| {2**power} | {n_own:,} | {weights:.2e} | {n_bytes / 1e6:.1f} MB | {computing:.3g} s | "
            f"{1e3 * gathering:.2g} ms | {alone / (computing + gathering):.3g} |"
        )
    return " ".join(parts) + "\n\n" + "\n".join(rows)
