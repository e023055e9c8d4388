"""How many workers the attention schedule keeps busy:  python benches/schedule.py [--tokens 65536] [--workers 64]

Plays the tournament of kernels/attention.pyx with simulated workers: each has a lane, the same range of every round's
games, and takes the next of it or, if that has to wait for one of its players, the next of another lane that need not.
A pair of blocks costs the operations of the model in docs/kernels.md: 3 d + 15 per vector of weights, 2 d + 14 on the
diagonal, where only one side is summed. Prints the speed-up for 1, 2, 4, ... workers; cores of equal speed, no cost of
memory or of handing out are supposed.
"""

import argparse
import heapq
import itertools

COLUMNS = 192  # tokens of a block, as in kernels/abi.pyx for N >= 1536


def players(n_blocks: int) -> list[int]:
    """Return the number of blocks of each player."""
    span = max(1, min(4, n_blocks // 128))
    return [min(span, n_blocks - first) for first in range(0, n_blocks, span)]


def games(n_players: int) -> list[list[tuple[int, int]]]:
    """Return the rounds, each a list of pairs of players; an even number of players gets one more, without blocks."""
    odd = n_players | 1
    return [[((r + m) % odd, (r - m) % odd) for m in range((odd + 1) // 2)] for r in range(odd)]


def makespan(n_blocks: int, n_workers: int, dim: int = 3) -> float:
    """Return the time of all games, in operations per vector of weights of one pair of blocks."""
    size = [*players(n_blocks), 0]
    rounds = games(len(size) - 1)
    cuts = [len(rounds[0]) * worker // n_workers for worker in range(n_workers + 1)]
    lanes = [
        [(number, *game) for number, games_of_round in enumerate(rounds) for game in games_of_round[low:high]]
        for low, high in itertools.pairwise(cuts)
    ]
    next_of = [0] * n_workers
    played = [0] * len(size)  # games of each player so far
    through = [0.0] * len(size)  # when each is through the last of them
    free = [(0.0, worker) for worker in range(n_workers)]
    end = 0.0
    while free:
        now, worker = heapq.heappop(free)
        is_left = False
        for k in range(n_workers):
            lane = (worker + k) % n_workers
            if next_of[lane] == len(lanes[lane]):
                continue
            is_left = True
            number, i, j = lanes[lane][next_of[lane]]
            if played[i] == played[j] == number and max(through[i], through[j]) <= now:
                pairs, alone = (size[i] * size[j], 0) if i != j else (size[i] * (size[i] - 1) // 2, size[i])
                next_of[lane] += 1
                played[i] = played[j] = number + 1
                through[i] = through[j] = now + pairs * (3 * dim + 15) + alone * (2 * dim + 14)
                end = max(end, through[i])
                heapq.heappush(free, (through[i], worker))
                break
        else:
            if is_left:
                heapq.heappush(free, (min(time for time in through if time > now), worker))
    return end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=65536)
    parser.add_argument("--dim", type=int, default=3)
    parser.add_argument("--workers", type=int, default=64)
    arguments = parser.parse_args()
    n_blocks = -(-arguments.tokens // COLUMNS)
    size = players(n_blocks)
    rounds = games(len(size))
    games_at_once = len(size) // 2 + len(size) % 2
    print(f"{n_blocks} blocks, {size[0]} a player, {len(rounds)} rounds of up to {games_at_once} independent games")
    alone = makespan(n_blocks, 1, arguments.dim)
    workers = 1
    while workers <= arguments.workers:
        print(f"{workers:4d} workers: speed-up {alone / makespan(n_blocks, workers, arguments.dim):6.2f}")
        workers *= 2


if __name__ == "__main__":
    main()
