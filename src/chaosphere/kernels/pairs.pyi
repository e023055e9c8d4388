from typing import overload

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

@overload
def pair_statistics(
    x: _Floats, weights: _Floats | None, beta: float, n_bins: int, n_threads: int
) -> tuple[_Floats, _Floats]: ...
@overload
def pair_statistics(
    x: _Floats, weights: _Floats | None, beta: None, n_bins: int, n_threads: int
) -> tuple[None, _Floats]: ...
