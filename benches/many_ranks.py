"""Time of a step and bytes a token of one system on the circle over ranks; `mpiexec -n P python -m mpi4py FILE N`."""

import resource
import sys
import time
from functools import partial

import numpy as np
from mpi4py import MPI

import chaosphere as cs
from chaosphere.common.ordered_sums import join


class Clock:
    """The time of each step, as an observable."""

    def __init__(self):
        self.times = []

    def __call__(self, time_of_run, tokens):
        return 0.0

    def of_own(self, time_of_run, tokens, *, partition):
        self.times.append(time.perf_counter())
        return 0.0


def main():
    n_tokens, n_steps = int(float(sys.argv[1])), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    comm, clock = MPI.COMM_WORLD, Clock()
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sample = cs.laws.Sample(law=cs.laws.Uniform(dim=2), n_tokens=n_tokens, rng=0)
    model = cs.Transformer(attention=cs.SoftmaxAttention(beta=4.0), mlp=None, depth=n_steps, horizon=0.1 * n_steps)
    cs.simulate(model, sample, rng=0, comm=comm, n_threads=1, observe={"clock": clock})
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    steps = [b - a for a, b in zip(clock.times, clock.times[1:], strict=False)]
    own, moments = n_tokens / comm.size, {(0, comm.rank): np.zeros((1, 10, 7, 2))}
    comm.Barrier()
    begin = time.perf_counter()
    for _ in range(100):
        comm.allreduce(moments, op=partial(join, n_parts=comm.size))
    reduction = (time.perf_counter() - begin) / 100
    line = (
        f"rank {comm.rank} of {comm.size}: start {clock.times[0] - start:.2f} s, step {min(steps):.3f} s "
        f"({1e9 * min(steps) / own:.1f} ns a token), {1024 * grown / own:.0f} bytes a token, "
        f"reduction {1e6 * reduction:.0f} µs"
    )
    for text in comm.gather(line) or ():
        print(text)


if __name__ == "__main__":
    main()
