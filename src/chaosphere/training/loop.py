"""Training: steps of AdamW on all sequences, with checkpoints."""

from __future__ import annotations

import os
import time as clock
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.progress import bar as progress_bar
from chaosphere.common.reprs import Brief, Row, duration, short
from chaosphere.simulation import identity
from chaosphere.simulation.checkpoints import Checkpoint, CheckpointFile, Record, checkpoint_of
from chaosphere.simulation.signals import Interrupted, StopRequest
from chaosphere.training.adamw import AdamW, AdamWState
from chaosphere.training.losses import Objective, evaluated
from chaosphere.training.stack import Stack, checked_tokens, differentiate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Training(Brief):
    """What a training returns.

    Parameters
    ----------
    state : AdamWState
        The parameters after the last step, and what AdamW remembers.
    losses : ndarray of float64, shape (n_steps + 1,)
        The loss before every step, and after the last.
    final : ndarray, shape (B, N, d)
        The final tokens of the network with the last parameters.
    first_step : int
        Steps of the state that the training started from.
    attributes : dict
        What decides the result: network, loss, optimiser, start and tokens.
    seconds : float
        Time that the call took.

    See Also
    --------
    chaosphere.training.train : What returns it.
    chaosphere.training.AdamWState : Parameters and moments.
    chaosphere.training.Training.to_xarray : The losses with labels.

    Examples
    --------
    >>> import chaosphere as cs
    >>> network, adamw = cs.training.AttentionNetwork(depth=2, n_heads=2, dim=3), cs.training.AdamW()
    >>> x = cs.sample_uniform(8, 3, rng=0)[None]
    >>> loss = cs.training.MeanRegression(targets=[[1.0, 0.0, 0.0]])
    >>> start = adamw.start(network.initial(0))
    >>> cs.training.train(network, x, loss=loss, optimizer=adamw, start=start, n_steps=3).losses.shape
    (4,)
    """

    state: AdamWState
    losses: Floats
    final: Tokens
    first_step: int
    attributes: dict[str, Any]
    seconds: float

    def _rows(self) -> list[Row]:
        first, last = (float(self.losses[k]) for k in (0, -1))
        return [
            ("step", short(self.state.step)),
            ("parameters", short(self.state.parameters.shape)),
            ("loss", f"{first:.6g} to {last:.6g}"),
            ("wall time", duration(self.seconds)),
        ]

    def to_xarray(self) -> Any:
        """Return the losses as an array labelled by the step.

        Returns
        -------
        xarray.DataArray
            Named "loss", with the coordinate "step".

        Raises
        ------
        ImportError
            If xarray is not installed (extra "io").

        See Also
        --------
        chaosphere.training.Training : The result of a training.

        Examples
        --------
        >>> import chaosphere as cs
        >>> network, adamw = cs.training.AttentionNetwork(depth=2, n_heads=2, dim=3), cs.training.AdamW()
        >>> x = cs.sample_uniform(8, 3, rng=0)[None]
        >>> loss = cs.training.MeanRegression(targets=[[1.0, 0.0, 0.0]])
        >>> start = adamw.start(network.initial(0))
        >>> done = cs.training.train(network, x, loss=loss, optimizer=adamw, start=start, n_steps=2)
        >>> done.to_xarray()["step"].values
        array([0, 1, 2])
        """
        steps = self.first_step + np.arange(len(self.losses))
        return checks.extra("xarray", "io").DataArray(self.losses, dims="step", coords={"step": steps}, name="loss")


def train(
    network: Stack,
    x: Tokens,
    *,
    loss: Objective,
    optimizer: AdamW,
    start: AdamWState,
    n_steps: int,
    n_threads: int | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
) -> Training:
    """Train a network by steps of AdamW, each with the gradient of the loss of all sequences.

    The step takes ε/(L H), the scaling of the page :doc:`/concepts/training`.

    Parameters
    ----------
    network : AttentionNetwork or TrainingLimit
        What is trained.
    x : ndarray of float64 or float32, shape (B, N, d)
        B sequences of N tokens on the unit sphere. Layers are computed in their type; parameters are float64.
    loss : callable
        loss(tokens) ↦ (value, gradient), a tuple of a number and an array, such as a `MeanRegression`; tokens and
        gradient have the shape of x.
    optimizer : AdamW
        The steps.
    start : AdamWState
        Where it starts: ``optimizer.start(network.initial(seed))``, or the state of a training before.
    n_steps : int
        Steps to take, at least 0.
    n_threads : int, optional
        Default: all that OpenMP may use. Does not change a bit of the result.
    progress : bool
        Show a progress bar.
    checkpoint : path or Checkpoint, optional
        File that keeps the parameters, what AdamW remembers and the losses. The same call continues from it, and its
        result is bitwise that of a run without an interruption; n_steps may be another.

    Returns
    -------
    Training
        The last state, and the losses.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the loss or a gradient is not finite, or a checkpoint is damaged or belongs to
        another training.
    DegenerateTokenError
        If a token becomes zero or not finite; an ArithmeticError. A checkpoint keeps the last step before.
    OSError
        If a checkpoint cannot be written; the last good one is kept. InUseError if another process uses it.
    Interrupted
        A KeyboardInterrupt: if SIGINT or SIGTERM stopped a training with a checkpoint.

    See Also
    --------
    chaosphere.training.AttentionNetwork : What is trained.
    chaosphere.training.AttentionNetwork.gradient : The gradient of one step.
    chaosphere.training.TrainingLimit : The limit, which is trained likewise.
    chaosphere.training.TrainingLimit.gradient : The gradient of one step of the limit.
    chaosphere.training.AdamW.step : One step.
    chaosphere.training.Training : What it returns.
    chaosphere.Checkpoint : How often the file is written.

    Notes
    -----
    A step costs a gradient, and the last loss one run more of the network. Threads share heads and sequences: one head
    of one sequence is the work of one. The memory is that of a gradient, and four
    times that of the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> network = cs.training.AttentionNetwork(depth=4, n_heads=4, dim=3)
    >>> x = np.stack([cs.sample_uniform(16, 3, rng=seed) for seed in range(2)])
    >>> loss = cs.training.MeanRegression(targets=[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])
    >>> adamw = cs.training.AdamW(learning_rate=0.05)
    >>> start = adamw.start(network.initial(0))
    >>> done = cs.training.train(network, x, loss=loss, optimizer=adamw, start=start, n_steps=10)
    >>> bool(done.losses[-1] < 0.5 * done.losses[0])
    True
    """
    began = clock.perf_counter()
    for argument, name, kind, kinds in (
        (network, "network", Stack, "an AttentionNetwork or a TrainingLimit"),
        (optimizer, "optimizer", AdamW, "an AdamW"),
        (start, "start", AdamWState, "an AdamWState"),
    ):
        if not isinstance(argument, kind):
            raise TypeError(f"{name} must be {kinds}, got {messages.shown(argument)}")
    n_steps, threads = checks.integer(n_steps, "n_steps", low=0), checks.threads(n_threads)
    checks.flag(progress, "progress")
    if not callable(loss):
        raise TypeError(f"loss must be a function of the final tokens, got {messages.shown(loss)}")
    checked_tokens(network, x, parameters=start.parameters, name="start.parameters")
    attributes = identity.identify(
        {"network": network, "loss": loss, "optimizer": optimizer, "start": start, "tokens": x}
    )
    record = Record(step=0, state=_packed(start), states=[], observables={"loss": []})
    state, file = start, None
    with ExitStack() as stack:
        if checkpoint is not None:
            identity.check(attributes, "checkpoint")
            file = CheckpointFile(
                checkpoint_of(checkpoint),
                identity=attributes,
                start=record,
                check=_check,
                n_steps=n_steps,
                step_size=1.0,
                steps=np.arange(1, n_steps + 1),  # with step k come the losses before it
                state_steps=np.arange(0),
            )
            record = file.open(stack) or record
            state = _unpacked(record, first_step=start.step)
        bar = stack.enter_context(progress_bar(n_steps, initial=record.step, unit="step")) if progress else None
        stop = StopRequest()
        if file is not None:
            stack.enter_context(stop)
        try:
            while record.step < n_steps:
                result = differentiate(
                    network,
                    x,
                    parameters=state.parameters,
                    objective=loss,
                    n_threads=threads,
                    name="loss",
                )
                state = optimizer.step(state, result.parameters, n_units=network.n_units)
                record.observables["loss"].append(np.array(result.value))
                record.step += 1
                if bar is not None:
                    bar.update()
                if file is not None and (stop.received is not None or file.is_due(record.step)):
                    record.state = _packed(state)
                    file.write(record)
                if file is not None and stop.received is not None:
                    raise Interrupted(
                        f"{stop.received.name}: stopped after step {record.step} of {n_steps}; {file.path} holds it, "
                        "and the same call again continues from there"
                    )
            final = network.forward(state.parameters, x, n_threads=threads)
            value, _ = evaluated(loss, final, name="loss")
        except BaseException:
            # An interruption may have come half way through a step.
            is_complete = state.step - start.step == record.step == len(record.observables["loss"])
            if file is not None and is_complete:
                record.state = _packed(state)
                file.write(record)
            raise
        if file is not None and not file.spec.keep:
            file.remove()
    return Training(
        state=state,
        losses=np.array([*record.observables["loss"], value]),
        final=final,
        first_step=start.step,
        attributes=attributes,
        seconds=clock.perf_counter() - began,
    )


def _packed(state: AdamWState) -> Floats:
    """Return parameters and moments as one array, as a checkpoint holds them."""
    return np.stack([state.parameters, state.first, state.second])


def _unpacked(record: Record, *, first_step: int) -> AdamWState:
    parameters, first, second = record.state
    return AdamWState(parameters=parameters, first=first, second=second, step=first_step + record.step)


def _check(state: Floats, name: str) -> None:
    """Raise ValueError unless a state is one of parameters and moments."""
    if not np.isfinite(state).all() or state[2].min() < 0:
        raise ValueError(f"{name} must be finite, with squares >= 0")
