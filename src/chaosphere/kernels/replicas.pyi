from typing import Any

import numpy as np
from numpy.typing import NDArray

def attend_replicas(
    x: NDArray[Any],  # float64 or float32
    weights: NDArray[np.float64] | None,
    scale: float,
    shift: float,
    n_threads: int,
    value_scale: float = 1,
    step: float | None = None,
    n_steps: int = 1,
    polynomial: NDArray[Any] | None = None,
    is_causal: bool = False,
    value: NDArray[Any] | None = None,
    is_mean: bool = True,
    query: NDArray[Any] | None = None,
) -> tuple[Any, Any]: ...  # means and sums of the weights, or tokens and the index of one where a step fails
def pair_deficits(
    x: NDArray[np.float64], weights: NDArray[np.float64] | None, beta: float, n_threads: int
) -> NDArray[np.float64]: ...
