"""Print the table of docs/howto/many-machines.md: a model of what one step costs each rank, not a measurement."""

import itertools

from chaosphere.kernels.blocks import block_size

N_TOKENS, DIM = 2**20, 3
PAIRS_PER_SECOND = 6.55e9 / 2  # of one core: attention[N16384-d3-float64] in benches/results, two threads
BYTES_PER_SECOND = 10e9  # that reach a rank; assumed


def rank_costs(n_tokens: int, dim: int, n_ranks: int) -> tuple[int, int, int]:
    """Return, of the busiest rank, tokens owned, pair weights computed, and bytes received in one evaluation."""
    block = block_size(n_tokens)
    n_blocks = -(-n_tokens // block)
    edges = [rank * n_blocks // n_ranks for rank in range(n_ranks + 1)]
    own = max(stop - first for first, stop in itertools.pairwise(edges))
    # Every game with a block of one's own: those between two of them serve both.
    games = own * (own + 1) // 2 + own * (n_blocks - own)
    n_own = min(own * block, n_tokens)
    return n_own, games * block**2, (n_tokens - n_own) * dim * 8


def table() -> str:
    """Return the table as Markdown."""
    heads = ("ranks (one core each)", "tokens of a rank", "pair weights of a rank", "received by a rank")
    heads += ("computing", "gathering", "speed-up")
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    alone = 0.0
    for power in range(11):
        n_own, weights, n_bytes = rank_costs(N_TOKENS, DIM, 2**power)
        # The rate counts (i, j) and (j, i), which share a weight.
        computing, gathering = 2 * weights / PAIRS_PER_SECOND, n_bytes / BYTES_PER_SECOND
        alone = alone or computing
        rows.append(
            f"| {2**power} | {n_own:,} | {weights:.2e} | {n_bytes / 1e6:.1f} MB | {computing:.3g} s | "
            f"{1e3 * gathering:.2g} ms | {alone / (computing + gathering):.3g} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
