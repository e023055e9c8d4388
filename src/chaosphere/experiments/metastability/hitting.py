"""Runs over times of any length: restarted with steps that double, and the time at which something happens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.models.sde import LimitSDE
from chaosphere.simulation.loop import simulate


class Flow:
    """Attention without noise, by steps of their own size, with tight clusters merged.

    Parameters
    ----------
    beta : float
    tolerance : float
        Of `LimitSDE`.
    coalesce : float
        Of `simulate`.
    n_threads : int
    """

    def __init__(self, beta: float, *, tolerance: float, coalesce: float, n_threads: int) -> None:
        self.attention = SoftmaxAttention(beta=beta)
        self.tolerance, self.coalesce, self.n_threads = tolerance, coalesce, n_threads

    def after(self, x: Tokens, duration: float) -> Tokens:
        """Return the tokens after some time."""
        model = LimitSDE(
            attention=self.attention,
            field=None,
            horizon=duration,
            n_steps=1,
            scheme="dormand-prince",
            tolerance=self.tolerance,
        )
        return simulate(model, x, rng=0, coalesce=self.coalesce, n_threads=self.n_threads).final


def bracket(flow: Flow, x: Tokens, *, has_ended: Callable[[Tokens], bool], precision: float) -> tuple[float, float]:
    """Return between which times a condition begins to hold.

    Steps double until the condition holds, and are halved then, each time from the state before: the interval is
    shorter than the precision times the time.
    """
    now, size, has_held = 0.0, 1.0, False
    while True:
        y = flow.after(x, size)
        if has_ended(y):
            has_held = True
            if size <= precision * now:
                return now, now + size
        else:
            x, now = y, now + size
        if has_held:
            size /= 2
        else:
            size = now


def on_circle(angles: Floats) -> Tokens:
    """Return tokens (N, 2) at angles (N,)."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)
