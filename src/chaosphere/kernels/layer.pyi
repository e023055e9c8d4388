from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

_Real = NDArray[np.float64] | NDArray[np.float32]
_AnyReal = NDArray[Any]  # of one dtype, float64 or float32; a union would refuse y.astype(x.dtype)

@overload
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
) -> _Real: ...
@overload
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
    step: float,
) -> tuple[_Real, int]: ...
def activate(x: _AnyReal, activation: int) -> _Real: ...
