from typing import Any

from numpy.typing import NDArray

_Real = NDArray[Any]  # of one dtype, float64 or float32

def harmonic_field(
    x: _Real, n_max: int, steps: _Real, coefficients: _Real, scale: float, n_scratch_rows: int, n_threads: int
) -> _Real: ...
