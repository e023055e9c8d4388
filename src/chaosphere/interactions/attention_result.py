"""Attention with its partition sums and energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class AttentionResult(Brief):
    """One evaluation of attention, from `SoftmaxAttention.evaluate`.

    Parameters
    ----------
    value : ndarray
        Attn(μ_x, x_i), shape and dtype of x.
    log_partition : ndarray of float64, shape (N,) or (R, N)
        The logarithm of the partition sum, log Σ_j p_j e^{⟨Qx_i, Kx_j⟩}; under a mask over j <= i, with the decay.
    energy : float, ndarray of shape (R,) or None
        E_β from the same pass; None unless QᵀK = βI, in the form of a beta <= 700, with a mask, and for attention to
        sources. The absolute error is at most

            e^β ((4 + (2 + √d/4) β) ε + rtol/4 + β η + σ/2)

        with ε = 2.2e-16 or 1.2e-7, rtol as `resolve` tells it (0 for the direct sum), η the largest distance of a token
        from the sphere, and σ the distance of the sum of the weights from 1. `measures.energy` keeps relative accuracy
        near consensus, for a pass of its own.
    n_direct : int, or ndarray of int, shape (R,)
        Tokens that were summed over all pairs: N by the direct sum; by the others those that an expansion cannot serve.

    See Also
    --------
    chaosphere.SoftmaxAttention : Softmax attention.
    chaosphere.SoftmaxAttention.evaluate : Attention with its partition sums and energy.

    Examples
    --------
    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(500, 3, rng=0)
    >>> result = cs.SoftmaxAttention(beta=2.0).evaluate(x)
    >>> result.value.shape, result.log_partition.shape, result.n_direct
    ((500, 3), (500,), 500)
    """

    value: Tokens
    log_partition: Floats
    energy: float | Floats | None
    n_direct: int | NDArray[np.int64]
