"""The contenders: chaosphere, and what its user would write without it in NumPy, PyTorch, JAX and KeOps.

Each method named in `registry.CASES` takes a case and returns a function without arguments that does the work once and
returns something NumPy can read: tokens (R, N, d), an energy or a histogram. Whatever can be prepared (conversion,
compilation, transposed copies of weights) is outside of it. A contender without a method for a bench sits it out.

The peers know what any competent user knows: β is moderate, so no running maximum is needed and one block of weights is
used while it is in the cache (block sizes were tuned at N = 16384); none of them exploits the symmetry of the weights.
"""

from contenders.shared import Missing
from contenders.with_chaosphere import Chaosphere
from contenders.with_jax import Jax
from contenders.with_keops import KeOps
from contenders.with_numpy import NumPy
from contenders.with_torch import Torch

__all__ = ["Missing", "get"]

_CLASSES = {c.name: c for c in (Chaosphere, NumPy, Torch, Jax, KeOps)}
_made: dict[str, object] = {}


def get(name: str):
    """Return the contender of this name, made once; raises `Missing`."""
    if name not in _made:
        _made[name] = _CLASSES[name]()
    return _made[name]
