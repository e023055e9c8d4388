"""The hot loops: Cython schedules (threads, blocks, workspaces) over the C tile kernels.

The best instruction set that this processor runs is chosen here, once; the environment variable CHAOSPHERE_ISA names
another. A set that is not compiled in or cannot run raises: there is no silent fallback.

OpenMP threads wait awake for 10 000 turns of a loop, then asleep, unless the environment says otherwise. Threads
that spin for long, the default of GCC's OpenMP, take the processor from whatever else runs, workers of the same loop
included, and a short loop on a busy machine then takes many times as long; threads that never do are woken for every
short loop, which costs a network of 64 tokens a third of its speed.
"""

import os

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # read when the OpenMP library is loaded, by the next line

from chaosphere.kernels import abi as abi

abi.use_isa(os.environ.get("CHAOSPHERE_ISA") or [isa for isa in abi.compiled_isas() if abi.isa_runs(isa)][-1])
