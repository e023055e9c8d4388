from typing import Any

import numpy as np
from numpy.typing import NDArray

_Real = NDArray[np.float64] | NDArray[np.float32]
_AnyReal = NDArray[Any]  # of one dtype, float64 or float32; a union would refuse y.astype(x.dtype)

def step(
    x: _AnyReal, v: _AnyReal | None, alpha: float, n_threads: int, out_array: _AnyReal | None = None
) -> tuple[_Real, int]: ...
def deviation(x: _AnyReal) -> tuple[float, tuple[int, int]]: ...
