"""The hot loops: Cython schedules (threads, blocks, workspaces) over the C tile kernels.

The best instruction set that this processor runs is chosen here, once; the environment variable CHAOSPHERE_ISA names
another. A set that is not compiled in or cannot run raises: there is no silent fallback.
"""

import os

from chaosphere.kernels import abi as abi

abi.use_isa(os.environ.get("CHAOSPHERE_ISA") or [isa for isa in abi.compiled_isas() if abi.isa_runs(isa)][-1])
