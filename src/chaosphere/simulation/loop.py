"""The time loop.

A model is known by `chaosphere.models.protocol` alone. Its plan, made once a run, takes the steps.
"""

from __future__ import annotations

import os
import time as clock
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Tokens
from chaosphere.common.progress import bar as progress_bar
from chaosphere.common.reprs import short
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Seeds, roots
from chaosphere.geometry.sample import Sample
from chaosphere.measures.observables import Observable
from chaosphere.models.protocol import Model, check_model, radii_of, resolved, save_steps
from chaosphere.simulation import identity, partition
from chaosphere.simulation import until as conditions
from chaosphere.simulation.checkpoints import Checkpoint, CheckpointFile, Record, checkpoint_of
from chaosphere.simulation.coalesce import check_coalesce, plan_of
from chaosphere.simulation.identity import describe
from chaosphere.simulation.observables import (
    check_condition_names,
    check_radii,
    check_shared,
    observables,
    read_only,
    shared_values,
    stacked,
    values,
)
from chaosphere.simulation.signals import Interrupted, StopRequest
from chaosphere.simulation.solution import Solution
from chaosphere.simulation.steps import Between, check_state, places, run_steps
from chaosphere.simulation.until import Condition


def simulate(
    model: Model,
    x: Tokens | Sample,
    *,
    rng: Seeds,
    save_at: Any = None,
    observe: Mapping[str, Observable] | None = None,
    shared_noise: bool = False,
    n_threads: int | None = None,
    save_states: bool = True,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    comm: Any = None,
    weights: Any = None,
    until: Condition | None = None,
    coalesce: float | None = None,
) -> Solution:
    """Run a model from tokens x, and record it.

    Parameters
    ----------
    model : Transformer or another model
        What moves the tokens; see `chaosphere.models.protocol.Model` for one of your own.
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d), or Sample
        Tokens on the unit sphere. R replicas are independent systems with independent noise. With a
        `chaosphere.laws.Sample` the run draws the tokens itself; with `comm` each rank draws its own tokens alone.
    rng : int, SeedSequence or Generator
        The same int gives the same noise for every N, and for every depth that `coarsen` makes of one model. Models
        of different kinds, or of different widths, are not coupled: see `coupled_run` for a network and its limit.
        With a list or an array of R seeds, replica r is bitwise identical to a run of its tokens alone with seed r.
    save_at : array_like of float, optional
        Increasing times in [0, T]. The state recorded for time t is that after ⌊t L / T⌋ steps, and its label is the
        time of this step. A time that differs from that of a step by rounding alone counts as that of the step. Under
        the scheme "dormand-prince" the state is that at time t; see `LimitSDE`. Default: the final state only.
    observe : mapping of str to callable, optional
        Each is called with (time, tokens) at the times of `save_at`, or at every step without it, and returns a number
        or an array of fixed shape. The tokens are a read-only view of the state. An object with a method
        of_state(time, tokens, radii) also gets the radii, if the model has them. Names must differ from those
        that `Solution.to_xarray` gives to the states and dimensions.
    shared_noise : bool
        All replicas see the same noise (the law conditional on the noise).
    n_threads : int, optional
        Default: all that OpenMP may use. Does not change a bit of the result.
    save_states : bool
        False keeps the final state only, also with `save_at`.
    progress : bool
        Show a bar with the time that is left: on stderr where that is a terminal, or in the cell of a notebook.
        Needs tqdm.
    checkpoint : path or Checkpoint, optional
        File that keeps the state of the run: written every minute, or as often as the Checkpoint says, and on SIGINT
        and SIGTERM, which then stop the run after the current step. If it exists the run continues from it,
        bitwise identical to a run that was never interrupted. It is removed at the end, unless kept. While the run
        lasts no other can use it. It belongs to one model, tokens and observables: functions are told apart by their
        code and by what they refer to (`chaosphere.simulation.identity.describe`), or by an attribute `version` that
        you give them.
    comm : mpi4py.MPI.Comm, optional
        Spread one system over the ranks, which all make this same call: each owns whole blocks of the tokens. For
        sums by expansions they add up the moments of their tokens; for other attention each gathers all tokens
        once per evaluation. Bitwise identical to one process. With an array for x every rank returns all tokens, and
        the first reads and writes the checkpoint. With a Sample each returns its own, in `final` and `states`, and
        writes them to a checkpoint of its own, PATH.RANK-of-RANKS, which the same number of ranks resumes;
        observables must be sums over tokens such as `Energy`, `TokenMean` and `PowerSpectrum`. For a Transformer or a
        LimitSDE.
    weights : array_like, shape (N,), optional
        Weights p of the tokens in the measure that moves them, >= 0 with sum 1. A token of weight 0 is a passive
        tracer: others move it, and it moves none of them. Default: 1/N each. Must be None for a MeanField, which has
        the weights of its nodes. Means, energies and power spectra of `measures` take the same weights.
    until : callable, optional
        A condition. It is called with (time, tokens) at the start and after every step, and under "dormand-prince"
        also at the times of `save_at`. It returns a bool, or one for each of R replicas; one bool counts for all. The
        run stops after the step at which the condition has held once for each replica. Times of `save_at` after the
        call at which this was so are left out, also those within the step; `final` is the state after the step.
        `stopped_at` and `hitting_times` of the Solution say when. `chaosphere.until` has some conditions.
    coalesce : float, optional
        In (0, 0.1]: a cluster whose tokens are within this chordal distance of its centre is merged into one token
        with the sum of their weights, so that the cost of a step is that of pairs of clusters; see Notes. For one
        system, and for a model without a mask, without radii and without noise of each token's own. Results have all
        N tokens, and those of one cluster are equal.

    Returns
    -------
    Solution
        Final tokens, saved states and observables.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, a checkpoint is damaged or belongs to another run, or an observable returns no
        number, or another shape than before; a checkpoint is kept.
    SimulationError
        If a token becomes zero or not finite, or a recorded state is not on the sphere; it keeps the last good state.
    OSError
        If a checkpoint cannot be written, such as on a full disk; the last good one is kept. InUseError if another
        process uses it.
    Interrupted
        A KeyboardInterrupt: if SIGINT or SIGTERM stopped a run with a checkpoint.

    See Also
    --------
    chaosphere.Transformer : The discrete transformer.
    chaosphere.LimitSDE : The limit of deep and wide transformers.
    chaosphere.trajectory : Iterate over a run.
    chaosphere.ensemble : Run a model for many seeds and parameters.
    chaosphere.coupled_run : Run a network and its limit under one noise.
    chaosphere.fluctuations : The error of N tokens against their limit, to leading order.
    chaosphere.gradient : Gradient of a function of the final tokens.
    chaosphere.Solution : What a run returns.
    chaosphere.plot.observables : Draw observables over time.
    chaosphere.Checkpoint : A file that keeps the state of a run.
    chaosphere.laws.Sample : Tokens that the run draws.
    chaosphere.measures.TokenMean : Mean over tokens of a function of a token.
    chaosphere.SimulationError : A run stopped at a token that left the sphere.
    chaosphere.log_times : Times for `save_at` that are spaced by a factor.
    chaosphere.until.Clustered : Stop where few balls cover the tokens.
    chaosphere.until.Threshold : Stop at a bound of an observable.
    chaosphere.measures.Energy : The energy as an observable.
    chaosphere.measures.RadiusMoment : Mean of a power of the radii.
    chaosphere.measures.observables.StateObservable : An observable of radii of your own.
    chaosphere.models.protocol.Model : What a model offers.
    chaosphere.CircleDensity.solve : Run from the initial law.
    chaosphere.SphereDensity.solve : Run from the initial law, or resume.
    chaosphere.measures.token_means.SharedObservable : An observable of tokens of which each process has its own.
    chaosphere.measures.token_means.SharedStateObservable : An observable of radii of which each process has its own.

    Notes
    -----
    Cost and memory are those of the model's steps, plus the saved states. With P ranks each evaluates attention over
    pairs between its N/P tokens and all N, sends N d / P numbers and receives N d; memory is O(N d) on each. Of K
    moments each sends and receives O(K log P) numbers; of a Sample it holds N d / P, several times over. All
    ranks raise the error of one; where it does not survive pickle, the others raise a RuntimeError with its type and
    text. Start such a program with `mpiexec -n P python -m mpi4py`, so that KeyboardInterrupt, or an exit with a code
    other than 0, on one rank ends the others too.

    With `coalesce=δ` tokens merge after a step, or after an inner step of "dormand-prince", at their weighted mean, to
    which each moves by at most δ. Where the drift of every token changes by at most L max |Δx| as tokens move by Δx,
    Grönwall's inequality bounds the error at t, without noise, by Σ δ exp(L (t − s)) over the times s of merging. For
    softmax attention with QᵀK = βI and V = I, L <= 3 + 2β: 2 for the projection, 1 for the values, and 2β for the
    scores. Under a common noise merged tokens see one field, and there is no such bound for each path.

    Examples
    --------
    Fifty tokens through ten layers, and their energy after each layer:

    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=1.0)
    >>> mlp = cs.MLP(width=32)
    >>> model = cs.Transformer(attention=attention, mlp=mlp, depth=10, horizon=1.0)
    >>> x = cs.sample_uniform(50, 3, rng=0)
    >>> observe = {"energy": cs.measures.Energy(beta=1.0)}
    >>> sol = cs.simulate(model, x, rng=0, observe=observe)
    >>> sol.final.shape, sol.times.shape, sol.observables["energy"].shape
    ((50, 3), (11,), (11,))
    """
    start = clock.perf_counter()
    with ExitStack() as stack:
        # Whatever fails on one rank alone, from the arguments on: the others wait for it.
        stack.enter_context(partition.errors_on_all(comm))
        check_model(model)
        checks.flags(shared_noise=shared_noise, save_states=save_states, progress=progress)
        shape = x.shape if isinstance(x, Sample) else Shape.of(checks.tokens(x))
        weights = checks.weights(weights, shape.n_tokens)
        keeps_own = comm is not None and isinstance(x, Sample)
        coalesce = check_coalesce(coalesce)
        if coalesce is not None and comm is not None:
            raise ValueError("coalesce must be None with comm: to merge clusters takes all tokens")
        plan = plan_of(model, shape, weights=weights, coalesce=coalesce)
        over = partition.rows(comm, shape.n_tokens, block=plan.block, keeps_own=keeps_own)
        if comm is not None:
            plan = plan.distribute(over)
        sequences = roots(rng, n_replicas=shape.n_replicas, is_shared=shared_noise)
        observe = observables(observe)
        check_radii(observe, has_radius=plan.has_radius)
        conditions.check_until(until)
        if until is not None:
            check_condition_names(observe)
        if keeps_own:
            check_shared(observe)
            if until is not None:
                raise ValueError(
                    "until must be None where each rank keeps tokens of its own: it is a function of all tokens"
                )
        if save_at is None:
            steps = np.arange(model.n_steps + 1) if observe else np.array([model.n_steps])
            times = np.linspace(0, model.horizon, model.n_steps + 1)[steps]
        else:
            times, steps = save_steps(save_at, model, is_dense=plan.is_dense)
        state_times, state_steps = times, steps
        if save_at is None or not save_states:
            state_times, state_steps = np.array([model.horizon]), np.array([model.n_steps])
        recorded, saved, nowhere = places(steps), places(state_steps), slice(0, 0)
        # A Generator stands for other noise on every rank: the first one's serves all.
        sequences = over.agree(sequences)
        parts: dict[str, Any] = {"model": resolved(model, plan), "shared_noise": int(shared_noise)}
        if weights is not None:
            parts["weights"] = weights
        if coalesce is not None:
            parts["coalesce"] = coalesce
        attributes = identity.identify(parts, sequences=sequences)
        file = None
        start_state = plan.start(x.rows(over.first, over.stop) if isinstance(x, Sample) else x)
        record = Record(step=-1, state=start_state, states=[], observables={name: [] for name in observe})
        record.hits = None if until is None else conditions.not_hit(shape.n_replicas)
        if checkpoint is not None:
            spec = checkpoint_of(checkpoint)
            spec = over.checkpoint(spec)
            facts = attributes | {"save_at": times.tolist(), "observe": describe(observe), "tokens": describe(x)}
            if until is not None:
                facts["until"] = describe(until)
            identity.check(facts, "checkpoint")
            file = CheckpointFile(
                spec,
                identity=facts,
                start=record,
                check=lambda state, name: checks.tokens(plan.tokens(state), name),
                n_steps=model.n_steps,
                step_size=model.horizon / model.n_steps,
                steps=steps,
                state_steps=state_steps,
            )
            record = _resumed(file, over, stack=stack) or record
        del start_state  # a run needs memory for few states
        bar = None
        if progress:
            bar = stack.enter_context(progress_bar(model.n_steps, unit="step"))
        first_step = max(record.step, 0)
        between = Between(times, steps, model=model)
        run = run_steps(
            model,
            plan,
            over.own(record.state),
            rng=sequences if len(sequences) > 1 else sequences[0],
            shared_noise=shared_noise,
            n_threads=n_threads,
            first_step=first_step,
            # A checkpoint may be due after any step, and a condition may hold.
            stops=np.union1d([*state_steps, *steps], model.n_steps) if file is None and until is None else None,
            between=between,
            first_token=over.first,
        )
        stop = StopRequest()
        if file is not None:
            stack.enter_context(stop)
        try:
            for step, own in run:
                is_stopping = file is not None and over.any(stop.received is not None)
                is_due = file is not None and over.agree(file.is_due(step))
                is_recorded = step > record.step and (step in recorded or step in saved)
                is_needed = is_recorded or is_due or is_stopping or step == model.n_steps or until is not None
                state = over.state(own) if is_needed else own
                if step > record.step:
                    if is_needed and step > 0:
                        first = over.first if keeps_own else 0
                        several: dict[str, Any] = {"step": step, "model": model, "last": record.state}
                        check = partial(check_state, state, plan, first_token=first, **several)
                        over.on_keepers(check) if keeps_own else check()
                    now = times[recorded.get(step, nowhere)]
                    known = between.known(state, len(now))
                    for time, at_time in zip(now, known, strict=True) if observe else ():
                        view, where = read_only(plan.tokens(at_time)), f"step {step} (time {time:g})"
                        of_state: dict[str, Any] = {"tokens": view, "radii": radii_of(plan, at_time), "where": where}
                        if keeps_own:
                            some = shared_values(observe, float(time), partition=over, **of_state)
                        else:
                            some = values(observe, float(time), **of_state)
                        for name, value in some:
                            record.add(name, value, where=where)
                    record.states += known if state_steps is steps else [state] if step in saved else []
                    if until is not None:
                        size = model.horizon / model.n_steps
                        since = max(step - 1, 0) * size
                        within = zip(now, known[: len(between.states)], strict=False)
                        for time, at_time in (*within, (step * size, state)):
                            called: dict[str, Any] = {"since": since, "time": float(time)}
                            record.hits = conditions.after(record.hits, until, tokens=plan.tokens(at_time), **called)
                            since = float(time)
                    record.step, record.state = step, state
                if bar is not None:
                    bar.update(step - bar.n)
                if file is not None and (is_due or is_stopping):
                    over.on_keepers(lambda: file.write(record))
                if file is not None and is_stopping:
                    raise Interrupted(_stopped(stop, file, step, model.n_steps))
                if conditions.is_hit(record.hits):
                    break
            if file is not None and over.any(stop.received is not None):  # since the last step
                over.on_keepers(lambda: file.write(record))
                raise Interrupted(_stopped(stop, file, step, model.n_steps))
        except BaseException:
            # Ranks do not fail together, so with several there is nobody to gather from.
            if file is not None and comm is None and record.step >= 0:
                file.write(record)
            raise
        if file is not None and not file.spec.keep:
            over.on_keepers(file.remove)
        is_hit, end = conditions.is_hit(record.hits), record.step * model.horizon / model.n_steps
        if record.step < model.n_steps:  # stopped by the condition
            if save_at is None or not save_states:
                state_times, record.states = np.array([end]), [record.state]
            times = times[steps <= record.step] if save_at is not None or observe else state_times
            state_times = state_times[: len(record.states)]
        observed = record.observables
        if is_hit and record.hits is not None:  # within its last step, of a dense plan
            n_known = len(times) - int(conditions.are_over(record.hits, times).all(axis=0).sum())
            times, observed = times[:n_known], {name: rows[:n_known] for name, rows in observed.items()}
            if state_steps is steps:
                state_times, record.states = state_times[:n_known], record.states[:n_known]
        states = np.array(record.states, record.state.dtype).reshape(-1, *record.state.shape)
        return Solution(
            times=times,
            state_times=state_times,
            states=plan.tokens(states),
            final=plan.tokens(record.state),
            radii=radii_of(plan, states),
            final_radii=radii_of(plan, record.state),
            observables=stacked(
                observed, observe, time=end, tokens=plan.tokens(record.state), radii=radii_of(plan, record.state)
            ),
            attributes=attributes,
            model=short(resolved(model, plan)),
            seconds=clock.perf_counter() - start,
            stopped_at=end if is_hit else None,
            hitting_times=conditions.result(record.hits, horizon=model.horizon, is_batch=record.state.ndim == 3),
        )


def _resumed(file: CheckpointFile, over: partition.Rows, *, stack: ExitStack) -> Record | None:
    """Return what a checkpoint holds; of several, what they hold at their last common step."""
    record = over.on_keepers(lambda: file.open(stack))
    if not over.keeps_own:
        return record
    step = over.least(-1 if record is None else record.step)
    return over.on_keepers(lambda: file.back(record, step))


def _stopped(stop: StopRequest, file: CheckpointFile, step: int, n_steps: int) -> str:
    name = stop.received.name if stop.received is not None else "a signal to another rank"
    return (
        f"{name}: stopped after step {step} of {n_steps}; {file.path} holds it, and the same call again continues from "
        "there"
    )
