"""The hot loops: Cython schedules (threads, blocks, workspaces) over the C tile kernels.

The best instruction set that this processor runs is chosen here, once; the environment variable CHAOSPHERE_ISA names
another. A set that is not compiled in or cannot run raises: there is no silent fallback.

OpenMP threads wait asleep unless the environment says otherwise: threads that spin take the processor from whatever
else runs, workers of the same loop included, and a short loop on a busy machine then takes several times as long.
"""

import os

if "GOMP_SPINCOUNT" not in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when the OpenMP library is loaded, by the next line

from chaosphere.kernels import abi as abi

abi.use_isa(os.environ.get("CHAOSPHERE_ISA") or [isa for isa in abi.compiled_isas() if abi.isa_runs(isa)][-1])
