"""Which method sums softmax attention: what each serves, and which is expected to be the fastest."""

from __future__ import annotations

from typing import Any

from chaosphere.geometry import expansions
from chaosphere.interactions import nufft, prefix, series
from chaosphere.interactions.direct import direct_nanoseconds


def check_method(method: str, n_tokens: int, *, dim: int, beta: float, rtol: float, decay: float | None = None) -> None:
    """Raise ValueError unless an expansion serves QᵀK = βI; with a decay, under a causal mask."""
    dims, is_served = {
        "fourier": ("2", dim == 2),
        "harmonic": (">= 3", dim >= 3),
        "nufft": ("2 or 3", dim in (2, 3)),
    }[method]
    if not is_served:
        raise ValueError(f"method={method!r} serves dim {dims}, got {dim}")
    if method == "nufft":
        size = abs(beta)
        if not nufft.MIN_BETA <= size <= expansions.MAX_BETA:
            raise ValueError(
                f"method='nufft' serves |β| from {nufft.MIN_BETA:g} to {expansions.MAX_BETA:g}, got {beta:g}"
            )
        n_bytes = nufft.memory(size, dim, float(expansions.multipliers(beta, dim)[0]), rtol)
        if n_bytes > nufft.MAX_BYTES:
            raise ValueError(
                f"method='nufft' would take {n_bytes / 1e9:.1f} GB for β = {beta:g}, dim {dim} and rtol {rtol:.2g} "
                f"(limit {nufft.MAX_BYTES / 1e9:.1f}); raise rtol, or use method='auto' or 'direct'"
            )
    elif not expansions.serves(beta, dim, rtol):
        raise ValueError(
            f"method={method!r} does not serve β = {beta:.6g} in dim {dim} (too many terms); use method='direct'"
        )
    elif decay is not None:
        prefix.check_decay(decay, n_tokens, beta=beta, dim=dim, rtol=rtol)


def fastest(
    n_tokens: int,
    dim: int,
    *,
    dtype: Any,
    beta: float | None,
    rtol: float | None,
    decay: float | None,
    may_be_nufft: bool,
) -> str:
    """Return the method of least expected time; with a decay, under a causal mask.

    nufft, which may be missing, is among them only if it may be, and where there are too many harmonics: where there
    are not, harmonics take about the same time or less.
    """
    direct = direct_nanoseconds(n_tokens, dim, dtype)
    if beta is None or rtol is None or direct < series.MIN_NANOSECONDS:
        return "direct"
    if decay is not None:
        return prefix.fastest(n_tokens, dim, dtype, beta=beta, decay=decay, rtol=rtol)
    times = {"direct": direct}
    if expansions.serves(beta, dim, rtol):
        times["fourier" if dim == 2 else "harmonic"] = series.nanoseconds(n_tokens, beta, dim, rtol)
    elif dim == 3 and may_be_nufft and abs(beta) <= expansions.MAX_BETA and nufft.is_installed():
        uniform = float(expansions.multipliers(beta, dim)[0])
        times["nufft"] = nufft.nanoseconds(n_tokens, abs(beta), uniform, rtol)
    return min(times, key=lambda method: times[method])
