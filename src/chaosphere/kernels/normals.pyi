import numpy as np
from numpy.typing import NDArray

def normals(keys: NDArray[np.uint32], step: int, first_group: int, n: int, n_threads: int) -> NDArray[np.float64]: ...
