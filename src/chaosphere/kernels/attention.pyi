from typing import Any

import numpy as np
from numpy.typing import NDArray

_Real = NDArray[np.float64] | NDArray[np.float32]
_AnyReal = NDArray[Any]  # of one dtype, float64 or float32; a union would refuse y.astype(x.dtype)
_Floats = NDArray[np.float64]

def attend_bounded(
    x: _AnyReal,
    query_map: _AnyReal | None,
    value_map: _AnyReal | None,
    weights: _Floats | None,
    scale: float,
    shift: float,
    is_symmetric: bool,
    n_threads: int,
    first: int = 0,
    stop: int = -1,
    value_scale: float = 1,
    step: float | None = None,
    n_steps: int = 1,
    polynomial: _AnyReal | None = None,
    is_series: bool = False,
    is_partition: bool = False,
    values_of_x: _AnyReal | None = None,
) -> tuple[Any, Any]: ...  # partition sums, or with a step the index of a token where it fails
def partition_sums(x: _AnyReal, weights: _Floats, scale: float, shift: float, n_threads: int) -> _Floats: ...
