"""How fast attention can raise the energy of the synchronization theorem: by optimisation over measures of few tokens.

The energy is E_β(μ) = ½ ∬ (e^β − e^{β⟨x, y⟩}) dμ dμ. Along the flow ẋ = P_x b(x) it changes by

    dE_β/dt = −β ∬ e^{β⟨x, y⟩} ⟨P_x b(x), y⟩ dμ(x) dμ(y).

Both are divided by β e^β here, so that β = 0 is the limit. What is exact stands in docs/concepts/repulsion.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from chaosphere.common.checks import Floats
from chaosphere.common.reprs import Brief

MAX_TOKENS = 4
_N_STARTS = 12  # for each number of tokens
_SPREADS = (1.0, 0.3)  # of the starts
_FLOOR = 1e-7  # of the energy: closer to consensus rounding would decide, and the limit is known


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EnergyGrowth(Brief):
    """The answer of an interaction's `energy_growth`.

    Parameters
    ----------
    growth : float
        ε, the largest (dE_β/dt)/E_β of any measure, a bound of it, or an estimate from below.
    is_bound : bool
        Whether dE_β/dt <= ε E_β is proved for every measure. Where it is not, dE_β/dt = ε E_β is reached or approached
        by few tokens, and other measures may grow faster.
    is_exact : bool
        Whether it is proved besides that no smaller ε is a bound.
    reason : str
        Why.

    See Also
    --------
    chaosphere.SoftmaxAttention.energy_growth : Rate at which softmax attention alone can raise the energy.
    chaosphere.UnnormalizedAttention.energy_growth : The same of unnormalised attention.
    chaosphere.L2Attention.energy_growth : The same of attention by distances.
    chaosphere.MultiHeadAttention.energy_growth : The same of several heads.

    Examples
    --------
    >>> import chaosphere as cs
    >>> answer = cs.SoftmaxAttention(beta=1.0, value_scale=-0.25).energy_growth(1.0)
    >>> answer.growth, answer.is_bound, answer.is_exact
    (0.5, True, True)
    """

    growth: float
    is_bound: bool
    is_exact: bool
    reason: str


def of_heads(answers: Sequence[EnergyGrowth], *, growth: float, consensus_rate: float | None) -> EnergyGrowth | None:
    """Return the growth under several heads: at most that of each alone, combined; None where one has no bound.

    Parameters
    ----------
    answers : sequence of EnergyGrowth
        Of the heads.
    growth : float
        The mean or the sum of theirs.
    consensus_rate : float, optional
        Of the heads together: two close tokens reach −2 times this rate, and two opposite ones 0.
    """
    if not all(answer.is_bound for answer in answers):
        return None
    reached = 0.0 if consensus_rate is None else max(-2 * consensus_rate, 0.0)
    is_exact = all(answer.is_exact for answer in answers) and math.isclose(growth, reached, rel_tol=1e-12)
    reason = "the rates of the heads, combined" + ("" if is_exact else ", which together may be slower")
    return EnergyGrowth(growth=growth, is_bound=True, is_exact=is_exact, reason=reason)


def of_repulsion(value_scale: float, *, scale: float = 1.0) -> EnergyGrowth:
    """Return the growth under QᵀK = βI and V = δI, for the energy of the same β: 0, or 2|δ| times a scale where δ < 0.

    Parameters
    ----------
    value_scale : float
        δ.
    scale : float
        What attention at consensus is a multiple of: 1 where coefficients are divided by their sum.
    """
    if value_scale >= 0:
        reason, rate = "QᵀK = βI and V = δI with δ >= 0: a gradient descent", 0.0
    else:
        reason = "QᵀK = βI and V = δI with δ < 0: −2 times the consensus rate, approached by two close tokens"
        rate = -2 * value_scale * scale
    return EnergyGrowth(growth=rate, is_bound=True, is_exact=True, reason=reason)


def estimate(form: Floats, value: Floats, *, beta: float) -> EnergyGrowth:
    """Return the largest (dE_β/dt)/E_β that is found for 2, 3 and 4 weighted tokens, from fixed starts.

    The limit of close tokens at one point x is −2⟨x, Vx⟩, the largest of which is −2 times the lowest eigenvalue of the
    symmetric part of V.

    Parameters
    ----------
    form : ndarray of float64, shape (d, d)
        A with ⟨Qx, Ky⟩ = ⟨Ax, y⟩.
    value : ndarray of float64, shape (d, d)
        V.
    beta : float
        β >= 0 of the energy.
    """
    eigenvalues, vectors = np.linalg.eigh(0.5 * (value + value.T))
    largest = -2 * float(eigenvalues[0])
    rng = np.random.default_rng(0)
    from threadpoolctl import threadpool_limits

    minimize = scipy.optimize.minimize  # loads the library that is limited next
    with threadpool_limits(1, user_api="blas"):  # more are slower at this size, and bits would follow their number
        for n_tokens in range(2, MAX_TOKENS + 1):
            for k in range(_N_STARTS):
                spread, centre = _SPREADS[k % len(_SPREADS)], vectors[:, (k // len(_SPREADS)) % len(value)]
                tokens = (1 - spread) * centre + spread * rng.standard_normal((n_tokens, len(value)))
                start = np.append(tokens.ravel(), rng.standard_normal(n_tokens))
                end = minimize(_negative, start, args=(form, value, beta), jac=True, method="L-BFGS-B").x
                change, energy, _ = _changes(end, form, value, beta)
                if energy > 100 * _FLOOR:
                    largest = max(largest, change / energy)
    reason = f"the largest that was found for 2 to {MAX_TOKENS} weighted tokens: a lower estimate"
    return EnergyGrowth(growth=largest, is_bound=False, is_exact=False, reason=reason)


def _negative(point: Floats, form: Floats, value: Floats, beta: float) -> tuple[float, Floats]:
    """Return −(dE/dt)/(E + a floor) and its gradient."""
    change, energy, (of_change, of_energy) = _changes(point, form, value, beta)
    below = energy + _FLOOR
    return -change / below, (change / below * of_energy - of_change) / below


def _changes(point: Floats, form: Floats, value: Floats, beta: float) -> tuple[float, float, tuple[Floats, Floats]]:
    """Return dE/dt and E over β e^β, and their gradients, at tokens of any length followed by logarithms of weights."""
    n, dim = len(point) // (len(value) + 1), len(value)
    raw, logits = point[: n * dim].reshape(n, dim), point[n * dim :]
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    x, p, log_p = raw / lengths, scipy.special.softmax(logits), scipy.special.log_softmax(logits)
    u, scores, values = x @ x.T, x @ form.T @ x.T, x @ value.T @ x.T  # ⟨Ax_i, x_j⟩, ⟨Vx_i, x_j⟩
    gaps = 0.5 * np.square(x[:, None] - x).sum(axis=2)  # 1 − u, without cancellation
    kernel, pairs = np.exp(-beta * gaps), np.outer(p, p)
    attention = scipy.special.softmax(scores + log_p, axis=1)
    drift = attention @ values  # ⟨b_i, x_l⟩
    radial = np.diag(drift)[:, None]
    rates = drift - radial * u  # ⟨P b_i, x_l⟩
    change = -float((pairs * kernel * rates).sum())
    missing = gaps if beta == 0 else -np.expm1(-beta * gaps) / beta
    energy = 0.5 * float((pairs * missing).sum())

    # The gradient of dE/dt, from the end back to the tokens and weights.
    of_drift = -pairs * kernel
    of_u = -of_drift * radial - beta * pairs * kernel * rates
    of_drift = of_drift - np.diag((of_drift * u).sum(axis=1))
    of_attention = of_drift @ values.T
    of_scores = attention * (of_attention - (of_attention * attention).sum(axis=1, keepdims=True))
    of_values = attention.T @ of_drift
    of_x = (of_u + of_u.T) @ x
    for of_pairs, matrix in ((of_scores, form), (of_values, value)):
        of_x += of_pairs @ x @ matrix + of_pairs.T @ x @ matrix.T
    per_pair = kernel * rates
    of_logits = of_scores.sum(axis=0) - p * ((per_pair + per_pair.T) @ p + 2 * change)
    energy_x = -pairs * kernel @ x
    energy_logits = p * (missing @ p) - 2 * p * energy

    def joined(tokens: Floats, weights: Floats) -> Floats:
        tangential = (tokens - (tokens * x).sum(axis=1, keepdims=True) * x) / lengths
        return np.append(tangential.ravel(), weights)

    return change, energy, (joined(of_x, of_logits), joined(energy_x, energy_logits))
