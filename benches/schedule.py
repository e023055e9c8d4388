"""How many workers the attention schedule keeps busy:  python benches/schedule.py [--tokens 65536] [--workers 64]

Plays the tournament of kernels/attention.pyx with simulated workers: games are handed out in order to whoever is free
first, and a game starts when its two blocks are through the round before. A game costs the operations of the model
in docs/kernels.md: 3 d + 15 per vector of weights, 2 d + 14 on the diagonal, where only one side is summed. Prints the
speed-up for 1, 2, 4, ... workers; cores of equal speed, no cost of memory or of handing out are supposed.
"""

import argparse
import heapq

COLUMNS = 192  # tokens of a block, as in kernels/abi.pyx for N >= 1536


def games(n_blocks: int) -> list[list[tuple[int, int]]]:
    """Return the rounds, each a list of pairs of blocks."""
    players = n_blocks | 1
    rounds = [[((r + m) % players, (r - m) % players) for m in range((players + 1) // 2)] for r in range(players)]
    return [[game for game in games if max(game) < n_blocks] for games in rounds]


def makespan(n_blocks: int, n_workers: int, dim: int = 3) -> float:
    """Return the time of all games, in operations per vector of weights of one game."""
    free = [0.0] * n_workers  # when each worker is free again
    through = [0.0] * n_blocks  # when each block is through its last game
    for games_of_round in games(n_blocks):
        for i, j in games_of_round:
            start = max(heapq.heappop(free), through[i], through[j])
            end = start + (3 * dim + 15 if i != j else 2 * dim + 14)
            through[i] = through[j] = end
            heapq.heappush(free, end)
    return max(free)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=65536)
    parser.add_argument("--dim", type=int, default=3)
    parser.add_argument("--workers", type=int, default=64)
    arguments = parser.parse_args()
    n_blocks = -(-arguments.tokens // COLUMNS)
    rounds = games(n_blocks)
    print(f"{n_blocks} blocks, {len(rounds)} rounds of up to {max(map(len, rounds))} independent games")
    alone = makespan(n_blocks, 1, arguments.dim)
    workers = 1
    while workers <= arguments.workers:
        print(f"{workers:4d} workers: speed-up {alone / makespan(n_blocks, workers, arguments.dim):6.2f}")
        workers *= 2


if __name__ == "__main__":
    main()
