"""Files with the user's tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chaosphere.common.checks import Tokens
from chaosphere.geometry.sphere import normalize


def read(path: Path, *, is_normalized: bool) -> Tokens:
    """Return the one 2-D array of a .npy or .npz file, projected to the sphere if it is to be normalised.

    Raises
    ------
    ValueError
        If the file is damaged, holds no such array, or would unpack to far more than its size.
    """
    try:
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if not isinstance(loaded, np.ndarray):
                for part in loaded.zip.infolist():
                    if part.file_size > 20 * part.compress_size + 2**20:  # tokens do not shrink like that
                        raise ValueError(f"it would unpack to {part.file_size / 1e9:.3g} GB")
                arrays = [loaded[name] for name in loaded.files[:2]]
                if len(arrays) != 1:
                    raise ValueError(f"it must hold one array, found {loaded.files}")
                loaded = arrays[0]
    except Exception as error:  # whatever a reader of a broken file may raise
        raise ValueError(
            f"--x0 {path} must be a .npy or .npz file of numbers: {str(error) or type(error).__name__}"
        ) from error
    if loaded.ndim != 2 or loaded.dtype not in (np.float64, np.float32):
        raise ValueError(
            f"--x0 {path} must be a float64 or float32 array of shape (M, d), got {loaded.dtype} {loaded.shape}"
        )
    return normalize(loaded) if is_normalized else loaded
