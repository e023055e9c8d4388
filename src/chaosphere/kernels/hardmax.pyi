from typing import Any

import numpy as np
from numpy.typing import NDArray

_Real = NDArray[np.float64] | NDArray[np.float32]
_AnyReal = NDArray[Any]  # of one dtype, float64 or float32; a union would refuse y.astype(x.dtype)
_Floats = NDArray[np.float64]

def hardmax(
    queries: _AnyReal,
    keys: _AnyReal,
    query_map: _AnyReal | None,
    key_map: _AnyReal | None,
    value_map: _AnyReal | None,
    weights: _Floats | None,
    n_threads: int,
    value_scale: float = 1,
    is_causal: bool = False,
    first: int = 0,
) -> tuple[_Real, _Floats]: ...
