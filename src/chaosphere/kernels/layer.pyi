from typing import Any

import numpy as np
from numpy.typing import NDArray

_Real = NDArray[np.float64] | NDArray[np.float32]
_AnyReal = NDArray[Any]  # of one dtype, float64 or float32; a union would refuse y.astype(x.dtype)

def layer(
    x: _AnyReal,
    u: _AnyReal,
    b: _AnyReal | None,
    w: _AnyReal,
    output_bias: _AnyReal | None,
    activation: int,
    weight_std: float,
    output_scale: float,
    n_threads: int,
    step: float | None = None,
) -> Any: ...  # tokens, or with a step also the index of a token where it fails
def activate(x: _AnyReal, activation: int) -> _Real: ...
