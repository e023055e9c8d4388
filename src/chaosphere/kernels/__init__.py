"""The hot loops: Cython schedules (threads, blocks, workspaces) over the C tile kernels.

    abi          the C library as Cython sees it, the instruction set in use, memory, threads, signals
    tiles        its functions for either type of number: the one place that chooses between double and float
    blocks       how the tokens of a system are cut, packed, and unpacked
    schedule     the order of work on pairs of blocks, and its division among workers
    attention    softmax attention with a bound of the scores, over pairs of blocks
    rows         softmax attention row by row, for scores of any size
    expansions   sums of e^{β x.y} through moments; harmonics: fields given by coefficients
    layer        random layers; sphere: normalised steps; normals; pairs: statistics of all pairs

The best instruction set that this processor runs is chosen here, once; the environment variable CHAOSPHERE_ISA names
another. A set that is not compiled in or cannot run raises: there is no silent fallback.

OpenMP threads wait awake for 10 000 iterations of a loop, then asleep, unless the environment says otherwise. Threads
that spin for long, the default of GCC's OpenMP, take the processor from whatever else runs, workers of the same loop
included, and a short loop on a busy machine then takes many times as long; threads that never do are woken for every
short loop, which costs a network of 64 tokens a third of its speed.
"""

import os

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # read when the OpenMP library is loaded, by the next line

from chaosphere.kernels import abi as abi

abi.use_isa(os.environ.get("CHAOSPHERE_ISA") or [isa for isa in abi.compiled_isas() if abi.isa_runs(isa)][-1])
