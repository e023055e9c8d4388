"""The steps of a run, and the check of the states that they lead to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import short
from chaosphere.common.streams import Noise, Seeds
from chaosphere.geometry.sphere import DegenerateTokenError, counted_from
from chaosphere.interactions.balance import UnbalancedError
from chaosphere.models.adaptive import InnerStepsError
from chaosphere.models.protocol import Inside, Model, ModelPlan, StepContext
from chaosphere.simulation.solution import SimulationError


def places(steps: NDArray[np.int64]) -> dict[int, slice]:
    """Return where each of the numbers is among steps, which do not decrease."""
    values, firsts = np.unique(steps, return_index=True)
    stops = [*firsts.tolist(), len(steps)][1:]
    return {step: slice(first, stop) for step, first, stop in zip(values.tolist(), firsts.tolist(), stops, strict=True)}


class Between:
    """Recorded times that lie between the steps of a dense plan, and the states at those within the last step.

    Parameters
    ----------
    times : ndarray, shape (n,)
    steps : ndarray of int, shape (n,)
        How many steps are taken when the state at each time is known.
    model : Model
    """

    def __init__(self, times: Floats, steps: NDArray[np.int64], *, model: Model) -> None:
        position = times * model.n_steps / model.horizon
        is_between = position < steps - 4 * np.finfo(np.float64).eps * position  # as in `save_steps`
        times, steps = times[is_between], steps[is_between]
        self.offsets = {
            step: times[rows] - (step - 1) * model.horizon / model.n_steps for step, rows in places(steps).items()
        }
        self.states: list[Tokens] = []

    def start(self, step: int, x: Tokens) -> Inside | None:
        """Return the times within the next step and memory for the tokens; None where there are none."""
        self.states = []
        if (offsets := self.offsets.get(step + 1)) is None:
            return None
        states = np.empty((len(offsets), *x.shape), dtype=x.dtype)
        self.states = list(states)
        return Inside(times=offsets, states=states)

    def known(self, state: Tokens, n_times: int) -> list[Tokens]:
        """Return the states at the times that are known after the last step: those within it, and that after it."""
        within = [x if state.ndim == 3 else x[0] for x in self.states]
        return [*within, *[state] * (n_times - len(within))]


def run_steps(
    model: Model,
    plan: ModelPlan,
    x: Tokens,
    *,
    rng: Seeds,
    shared_noise: bool,
    n_threads: int | None,
    first_step: int,
    stops: NDArray[np.int64] | None,
    between: Between | None = None,
    first_token: int = 0,
) -> Iterator[tuple[int, Tokens]]:
    """Yield (steps taken, state) at the start and after every step; with stops at least there, bitwise identical.

    `between` takes the states at times within the last step, of a dense plan. Errors count tokens from `first_token`.
    """
    is_batch = x.ndim == 3
    batch = x if is_batch else x[None]
    shape, dtype = batch.shape, batch.dtype
    threads = checks.threads(n_threads)
    noise = Noise(rng, n_replicas=len(batch), is_shared=shared_noise, n_threads=threads)
    context = StepContext(noise=noise, n_threads=threads)
    yield first_step, x
    del x
    index = first_step
    while index < model.n_steps:
        n_steps = 1
        if stops is not None:
            n_steps = min(plan.max_fused_steps, int(stops[stops.searchsorted(index, side="right")]) - index)
        try:
            with counted_from(first_token):
                if between is not None and (inside := between.start(index, batch)) is not None:
                    batch = plan.advance_through(batch, index, inside=inside, context=context)
                else:
                    batch = plan.advance(batch, range(index, index + n_steps), context)
        except (DegenerateTokenError, InnerStepsError, UnbalancedError) as error:
            if n_steps > 1:  # which of them?
                stops = np.arange(model.n_steps + 1)
                continue
            raise SimulationError(
                f"step {index} (time {index * model.horizon / model.n_steps:g}): {error}",
                step=index,
                last_state=plan.tokens(batch),
            ) from error
        index += n_steps
        if not isinstance(batch, np.ndarray) or batch.shape != shape or batch.dtype != dtype:
            kind = f"{batch.shape} and {batch.dtype}" if isinstance(batch, np.ndarray) else short(batch)
            raise TypeError(
                f"model must return tokens of shape {shape} and {dtype} from a step, got {kind} from "
                f"{type(model).__name__} at step {index}"
            )
        yield index, batch if is_batch else batch[0]


def check_state(
    state: Tokens, plan: ModelPlan, *, step: int, model: Model, last: Tokens | None, first_token: int = 0
) -> None:
    """Raise SimulationError if the state after a step is not one of tokens on the sphere, counted from first_token."""
    try:
        checks.tokens(plan.tokens(state), "tokens", first=first_token)
    except (ValueError, DegenerateTokenError) as error:
        text = str(error).partition(";")[0]  # the rest tells how to project what a user passes
        raise SimulationError(
            f"step {step - 1} (time {(step - 1) * model.horizon / model.n_steps:g}) or one before it since the last "
            f"recorded state: {text}",
            step=step - 1,
            last_state=state if last is None else plan.tokens(last),
        ) from error
