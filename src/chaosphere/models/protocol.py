"""What the time loop, ensembles and measures need of a model, and the times of its steps."""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import Noise


class Steps(Protocol):
    """What a model must offer here: a number of steps, a horizon and one step."""

    def prepare(self, n_tokens: int, dim: int | None = None, dtype: Any = "float64") -> Self:
        """Return the model with every automatic choice made for tokens of this number, dimension and dtype."""

    @property
    def n_steps(self) -> int:
        """Number of steps."""

    @property
    def horizon(self) -> float:
        """Time that they span."""

    def step(self, x: Tokens, index: int, *, noise: Noise, n_threads: int) -> Tokens:
        """Return the tokens (R, N, d) after step `index`."""


def missing_members(model: Any) -> list[str]:
    """Return the names of what a model needs (`Steps`) and this object does not have."""
    return [name for name in ("prepare", "n_steps", "horizon", "step") if not hasattr(model, name)]


def check_model(model: Any) -> None:
    """Raise TypeError if an object cannot be run: the members of `Steps` are what a model needs."""
    if missing := missing_members(model):
        raise TypeError(
            f"model must be a model such as a Transformer or a LimitSDE, got {model!r}: it has no {', '.join(missing)} "
            "(attention, layers and fields are parts of a model)"
        )


def save_steps(save_at: Any, model: Steps) -> tuple[Floats, NDArray[np.int64]]:
    """Return the times that are recorded for `save_at`, and the steps made by then, ⌊t L / T⌋ for each time t.

    A time within four units in the last place of its own type of a step is at that step. Times between two steps are
    replaced by that of the step before, whose state is recorded.

    Raises
    ------
    TypeError, ValueError
        If they are not increasing numbers in [0, T].
    """
    values = np.array(save_at)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"save_at must be a list of times, got {save_at!r}")
    times, n_steps, horizon = values.astype(np.float64), model.n_steps, model.horizon
    if times.ndim != 1 or times.size == 0:
        raise ValueError(f"save_at must be a list of times, got {times.tolist()}")
    eps = float(np.finfo(values.dtype).eps) if values.dtype.kind == "f" else 0.0
    if (
        not np.isfinite(times).all()
        or (np.diff(times) <= 0).any()
        or times[0] < 0
        or times[-1] > horizon * (1 + max(1e-12, 4 * eps))
    ):
        raise ValueError(f"save_at must increase within [0, {horizon:g}], got {times.tolist()}")
    position = times * n_steps / horizon
    # The small excess absorbs the rounding of t L / T for times that lie on the grid.
    slack = np.maximum(1e-9, 4 * eps * position)
    nearest = np.minimum(np.rint(position), n_steps)
    steps = np.where(np.abs(position - nearest) <= slack, nearest, np.floor(position)).astype(np.int64)
    is_on_grid = np.abs(position - steps) <= 1e-9
    return np.where(is_on_grid, times, steps * horizon / n_steps), steps
