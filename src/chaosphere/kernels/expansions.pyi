from typing import Any

import numpy as np
from numpy.typing import NDArray

_Real = NDArray[Any]  # float64 or float32
_Floats = NDArray[np.float64]

CIRCLE_BLOCK: int

def harmonic_block(n: int) -> int: ...
def fourier_moments(x: _Real, weights: _Floats | None, n_steps: int, n_threads: int) -> _Floats: ...
def fourier_field(x: _Real, a: _Floats, n_threads: int) -> tuple[_Real, _Floats, _Floats]: ...
def harmonic_moments(
    x: _Real,
    weights: _Floats | None,
    n_max: int,
    steps: _Floats,
    n_scratch_rows: int,
    size: int,
    length: int,
    n_threads: int,
) -> _Floats: ...
def harmonic_field(
    x: _Real, a: _Floats, n_max: int, steps: _Floats, n_scratch_rows: int, n_threads: int
) -> tuple[_Real, _Floats]: ...
