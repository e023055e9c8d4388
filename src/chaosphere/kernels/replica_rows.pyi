from typing import Any

import numpy as np
from numpy.typing import NDArray

def attend_replica_rows(
    queries: NDArray[Any],  # float64 or float32
    keys: NDArray[Any],
    weights: NDArray[np.float64] | None,
    scale: float,
    n_threads: int,
    value_scale: float = 1,
    query: NDArray[Any] | None = None,
    key: NDArray[Any] | None = None,
    value: NDArray[Any] | None = None,
    output: NDArray[Any] | None = None,
    is_distance: bool = False,
    first_query: int = -1,
    decay: float = 0,
    is_small: bool = False,
    step: float | None = None,
    n_steps: int = 1,
) -> Any: ...  # means, sums of the weights, and their exponents, or tokens and the index of one where a step fails
