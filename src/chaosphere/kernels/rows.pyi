from typing import Any

import numpy as np
from numpy.typing import NDArray

_Real = NDArray[np.float64] | NDArray[np.float32]
_AnyReal = NDArray[Any]  # of one dtype, float64 or float32; a union would refuse y.astype(x.dtype)
_Floats = NDArray[np.float64]

SMALL_SCORE: int

def attend_rows(
    queries: _AnyReal,
    keys: _AnyReal,
    query_map: _AnyReal | None,
    value_map: _AnyReal | None,
    weights: _Floats | None,
    scale: float,
    n_threads: int,
    value_scale: float = 1,
    values: _AnyReal | None = None,
    bias: _Floats | None = None,
    is_small: bool = False,
) -> tuple[_Real, _Floats, _Floats]: ...
def map_tokens(x: _AnyReal, matrix: _AnyReal, n_threads: int) -> _Real: ...
