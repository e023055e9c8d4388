from typing import Any

import numpy as np
from numpy.typing import NDArray

_AnyReal = NDArray[Any]  # of one dtype, float64 or float32; a union would refuse y.astype(x.dtype)
_Floats = NDArray[np.float64]

LOWER: int
UPPER: int

def tangent_sums(
    a: _AnyReal,
    b: _AnyReal,
    u: _AnyReal,
    g: _AnyReal,
    c: _AnyReal,
    e: _AnyReal | None,
    row_exponents: _Floats | None,
    column_exponents: _Floats | None,
    row_terms: _Floats | None,
    column_terms: _Floats | None,
    scale: float,
    term_scale: float,
    mask: int,
    decay: float,
    n_threads: int,
    slope: _AnyReal | None = None,
    is_slope_series: bool = False,
    function: _AnyReal | None = None,
    is_function_series: bool = False,
) -> _Floats: ...
