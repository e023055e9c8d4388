from typing import Any

import numpy as np
from numpy.typing import NDArray

_AnyReal = NDArray[Any]  # of one dtype, float64 or float32; a union would refuse y.astype(x.dtype)
_Floats = NDArray[np.float64]

def attend_heads(
    x: _AnyReal, matrices: _AnyReal, key_dim: int, is_causal: bool, n_threads: int
) -> tuple[_AnyReal, _Floats]: ...
def pull_heads(
    x: _AnyReal,
    w: _AnyReal,
    matrices: _AnyReal,
    transposed: _AnyReal,
    mean: _AnyReal,
    logs: _Floats,
    is_causal: bool,
    n_threads: int,
) -> _AnyReal: ...
