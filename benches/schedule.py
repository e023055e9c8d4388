"""How many workers the attention schedule keeps busy:  python benches/schedule.py [--tokens 65536] [--workers 64]

Plays the tournament of kernels/attention.pyx with simulated workers: games are handed out in order to whoever is free
first, and a game starts when its two players are through the round before. A pair of blocks costs the operations of
the model in docs/kernels.md: 3 d + 15 per vector of weights, 2 d + 14 on the diagonal, where only one side is summed.
Prints the speed-up for 1, 2, 4, ... workers; cores of equal speed, no cost of memory or of handing out are supposed.
"""

import argparse
import heapq

COLUMNS = 192  # tokens of a block, as in kernels/abi.pyx for N >= 1536


def players(n_blocks: int) -> list[int]:
    """Return the number of blocks of each player."""
    span = max(1, min(4, n_blocks // 128))
    return [min(span, n_blocks - first) for first in range(0, n_blocks, span)]


def games(n_players: int) -> list[list[tuple[int, int]]]:
    """Return the rounds, each a list of pairs of players."""
    odd = n_players | 1
    rounds = [[((r + m) % odd, (r - m) % odd) for m in range((odd + 1) // 2)] for r in range(odd)]
    return [[game for game in games if max(game) < n_players] for games in rounds]


def makespan(n_blocks: int, n_workers: int, dim: int = 3) -> float:
    """Return the time of all games, in operations per vector of weights of one pair of blocks."""
    size = players(n_blocks)
    free = [0.0] * n_workers  # when each worker is free again
    through = [0.0] * len(size)  # when each player is through its last game
    for games_of_round in games(len(size)):
        for i, j in games_of_round:
            start = max(heapq.heappop(free), through[i], through[j])
            pairs, alone = (size[i] * size[j], 0) if i != j else (size[i] * (size[i] - 1) // 2, size[i])
            end = start + pairs * (3 * dim + 15) + alone * (2 * dim + 14)
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
    size = players(n_blocks)
    rounds = games(len(size))
    games_at_once = max(map(len, rounds))
    print(f"{n_blocks} blocks, {size[0]} a player, {len(rounds)} rounds of up to {games_at_once} independent games")
    alone = makespan(n_blocks, 1, arguments.dim)
    workers = 1
    while workers <= arguments.workers:
        print(f"{workers:4d} workers: speed-up {alone / makespan(n_blocks, workers, arguments.dim):6.2f}")
        workers *= 2


if __name__ == "__main__":
    main()
