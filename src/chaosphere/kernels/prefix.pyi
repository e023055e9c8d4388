from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Real = NDArray[np.float64] | NDArray[np.float32]
_AnyReal = NDArray[Any]  # of one dtype, float64 or float32; a union would refuse y.astype(x.dtype)
_Floats = NDArray[np.float64]

N_CHUNKS: int

def advance(moments: _Floats, keep: float, keep_rest: float, threads: int, state: _Floats) -> None: ...
def fourier_prefix(
    x: _AnyReal,
    weights: _Floats | None,
    factors: _Floats,
    chunk: int,
    keep: float,
    keep_chunk: float,
    keep_chunk_rest: float,
    n_threads: int,
    scan: Callable[[_Floats, Callable[[_Floats], None]], None] | None = None,
) -> tuple[_Real, _Floats, _Floats, _Floats]: ...
def harmonic_prefix(
    x: _AnyReal,
    weights: _Floats | None,
    moment_max: int,
    moment_steps: _Floats,
    n_max: int,
    steps: _Floats,
    n_scratch_rows: int,
    row_starts: NDArray[np.int64],
    columns: NDArray[np.int64],
    entries: _Floats,
    exponent: float,
    chunk: int,
    up: _Floats,
    down: _Floats,
    keep_chunk: float,
    keep_chunk_rest: float,
    n_threads: int,
    scan: Callable[[_Floats, Callable[[_Floats], None]], None] | None = None,
) -> tuple[_Real, _Floats, _Floats, _Floats]: ...
