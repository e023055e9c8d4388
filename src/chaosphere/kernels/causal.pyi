from typing import Any

import numpy as np
from numpy.typing import NDArray

_Real = NDArray[np.float64] | NDArray[np.float32]
_AnyReal = NDArray[Any]  # of one dtype, float64 or float32; a union would refuse y.astype(x.dtype)
_Floats = NDArray[np.float64]

def attend_causal(
    x: _AnyReal,
    query_map: _AnyReal | None,
    value_map: _AnyReal | None,
    weights: _Floats | None,
    scale: float,
    shift: float,
    n_threads: int,
    first: int = 0,
    stop: int = -1,
    value_scale: float = 1,
) -> tuple[_Real, _Floats]: ...
def attend_causal_rows(
    queries: _AnyReal,
    keys: _AnyReal,
    query_map: _AnyReal | None,
    value_map: _AnyReal | None,
    weights: _Floats | None,
    scale: float,
    decay: float,
    n_threads: int,
    first: int = 0,
    value_scale: float = 1,
    values: _AnyReal | None = None,
    is_small: bool = False,
) -> tuple[_Real, _Floats, _Floats]: ...
