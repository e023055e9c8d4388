"""How many workers the attention schedule keeps busy:  python benches/schedule.py [--tokens 65536] [--workers 64]

Simulated workers take items by the functions of kernels/schedule.pyx that the threads of a call use; only time is a
model here. A pair of blocks costs the operations of the model in docs/developers/kernels.md: 3 d + 15 per vector of
coefficients, and half of it on the diagonal, or 2 d + 14 in many dimensions, where both orders of a pair are computed;
packing and finishing cost nothing. Prints the speed-up for 1, 2, 4, ... workers; cores of equal speed, no cost of
memory or of handing out are supposed.
"""

import argparse
import heapq

from chaosphere.kernels import blocks, schedule

FIRST_PACKED = 14  # from so many coordinates on blocks are packed, in float64 with AVX-512


def cost(item: schedule.Item, groups: list[range], dim: int) -> float:
    """Return the time of an item, in operations per vector of coefficients of one pair of blocks."""
    if item.kind != "pair":
        return 0
    if item.i != item.j:
        return len(groups[item.i]) * len(groups[item.j]) * (3 * dim + 15)
    n = len(groups[item.i])
    own = 2 * dim + 14 if dim >= FIRST_PACKED else (3 * dim + 15) / 2
    return n * (n - 1) // 2 * (3 * dim + 15) + n * own


def makespan(n_blocks: int, n_workers: int, *, dim: int = 3) -> float:
    """Return the time until all items of one system are done."""
    groups = schedule.groups(n_blocks)
    simulation = schedule.Simulation(n_blocks, True, n_workers)
    n_left = len(schedule.items(n_blocks, True))
    now, idle, at_work = 0.0, list(range(n_workers)), []
    while n_left:
        waiting = []
        for worker in idle:
            item = simulation.take(worker)
            if item is None:
                waiting.append(worker)
            else:
                heapq.heappush(at_work, (now + cost(item, groups, dim), worker, item))
        now, worker, item = heapq.heappop(at_work)  # fails where all workers wait for each other
        simulation.finish(item)
        n_left -= 1
        idle = sorted([worker, *waiting])
    return now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=65536)
    parser.add_argument("--dim", type=int, default=3)
    parser.add_argument("--workers", type=int, default=64)
    arguments = parser.parse_args()
    n_blocks = -(-arguments.tokens // blocks.block_size(arguments.tokens))
    groups = schedule.groups(n_blocks)
    pairs = [item.round for item in schedule.items(n_blocks, True) if item.kind == "pair"]
    print(f"{n_blocks} blocks, {len(groups[0])} a group, {max(pairs) + 1} rounds of {pairs.count(0)} independent pairs")
    alone = makespan(n_blocks, 1, dim=arguments.dim)
    workers = 1
    while workers <= arguments.workers:
        print(f"{workers:4d} workers: speed-up {alone / makespan(n_blocks, workers, dim=arguments.dim):6.2f}")
        workers *= 2


if __name__ == "__main__":
    main()
