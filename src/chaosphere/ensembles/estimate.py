"""Expectations by multilevel Monte Carlo, to a tolerance."""

from __future__ import annotations

import os
from concurrent import futures
from dataclasses import replace
from typing import Any

import numpy as np

from chaosphere.common import checks, files
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Seed, root
from chaosphere.ensembles.estimate_result import Estimate
from chaosphere.ensembles.executors import refuse_fork
from chaosphere.ensembles.level_runs import COARSEST_TOKENS, LevelRuns, Question
from chaosphere.ensembles.start import initial
from chaosphere.ensembles.telescope import Index, Moments, Telescope
from chaosphere.geometry.laws import Law
from chaosphere.measures.observables import Observable
from chaosphere.models.protocol import Model, check_model, model_plan_of
from chaosphere.simulation.identity import identify
from chaosphere.simulation.observables import observables

_N_PILOT = 32  # samples of every level, at least
_N_EQUAL = 1000  # samples of a random level, where all are equal
_MAX_GROWTH = 4  # of the samples of a level in a round: the first of them say little of the variance
_FIRST_LAYER = 2  # the first one whose differences are extrapolated
_MAX_LAYER = 14
_SAMPLE_BYTES = 200  # a seed, its text in the identity, values


def estimate(
    model: Model,
    x0: Law | Tokens,
    observable: Observable,
    *,
    tolerance: float,
    rng: Seed,
    executor: futures.Executor | None = None,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    memory_limit: int | None = None,
    progress: bool = False,
) -> Estimate:
    """Estimate the expectation of an observable at the end of a run, to a tolerance, by multilevel Monte Carlo.

    Most samples are of a coarse system, and fewer and fewer are of differences between finer ones, which run coupled:
    under one noise, and from the same tokens.

    Parameters
    ----------
    model : LimitSDE, Transformer, or another model
        Of a `LimitSDE` the limit of many steps is meant; its own number of steps, divided by a power of two, is that of
        the coarsest level. Any other model is meant as it is: if it can be coarsened, coarser levels serve to save
        time. A `MeanField` starts from its own tokens. A model with one value for each step is taken in its own steps.
    x0 : Law or ndarray, shape (N, d)
        The law of i.i.d. initial tokens, for the limit of N → ∞; or N tokens, which are the same in all samples.
    observable : callable
        Called with (time, tokens of shape (R, N, d)) for any R and N, returns R numbers; or an object with a method
        of_state(time, tokens, radii). Of a law, it should be a function of the empirical measure.
    tolerance : float
        Half the width of the 99 % interval, > 0.
    rng : int, SeedSequence or Generator
        The same int gives the same result, to the bit.
    executor : concurrent.futures.Executor, optional
        As in `ensemble`. Does not change a bit of the result.
    n_threads : int, optional
        Of each worker, as in `ensemble`. Does not change a bit of the result.
    store : path, optional
        Folder that keeps the samples, one store of an `ensemble` for each level. The same call again continues from
        it; so does a call with a smaller tolerance.
    memory_limit : int, optional
        Bytes. Default: this machine's memory.
    progress : bool
        Show a bar for the runs of each level.

    Returns
    -------
    Estimate
        The value, its interval, the levels and their cost.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the memory would pass the limit, the observable is not a finite number for each
        replica, or the store is damaged or holds another study.
    ArithmeticError
        If the differences between levels do not fall, or so slowly that the limit cannot be told from them.
    RuntimeError, OSError, Interrupted
        As in `ensemble`.

    See Also
    --------
    chaosphere.ensemble : Run a model for many seeds and parameters.
    chaosphere.Estimate : The result.
    chaosphere.LimitSDE.with_steps : The same equation in any number of steps.
    chaosphere.LimitSDE.is_antithetic : Whether its levels in steps have antithetic runs.
    chaosphere.MeanField : The limit of infinitely many tokens, carried by nodes.
    chaosphere.models.protocol.ModelPlan.check_levels : What a plan refuses.

    Notes
    -----
    For a `LimitSDE` with noise take the scheme "heun". Levels in steps then have antithetic runs, and variances of the
    order h² in place of h (Giles and Szpruch 2014, doi:10.1214/13-AAP957).

    The interval is Student's, widened by a bound of the bias on either side: it holds if the differences between levels
    fall by one ratio from each to the next, below about 0.9, which is estimated. The number
    of samples follows from variances that are estimated from these samples;
    `tests/statistical/test_estimate_coverage.py` measures, for the schemes "split" and "heun", that the interval holds
    nevertheless.

    Samples that are all equal show no variance. Of such a level 1000 are run, unless neither tokens nor model are
    random: what happens in less than about 5 of 1000 samples, and does not show in them, is not in the interval. Where
    few samples differ, the variance is taken as large as their number may leave it.

    Examples
    --------
    The mean energy of infinitely many tokens at time ½:

    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=1.0)
    >>> field = cs.GaussianField(kernel=cs.MLP(width=1, activation="erf").kernel(3))
    >>> model = cs.LimitSDE(
    ...     attention=attention, field=field, horizon=0.5, n_steps=4, scheme="heun"
    ... )
    >>> energy = cs.measures.Energy(beta=1.0)
    >>> result = cs.estimate(model, cs.laws.Uniform(dim=3), energy, tolerance=0.1, rng=0)
    >>> result.high - result.low <= 0.2
    True
    """
    tolerance = checks.number(tolerance, "tolerance", above=0)
    question = _question(model, x0, observable, rng=rng)
    refuse_fork(executor)
    if n_threads is not None:
        checks.integer(n_threads, "n_threads", low=1)
    checks.extra("xarray", "io")
    question = replace(
        question,
        folder=None if store is None else files.local(store, "store"),
        options={"executor": executor, "n_threads": n_threads, "progress": progress},
        memory_limit=memory_limit,
    )
    runs: dict[Index, LevelRuns] = {}
    for layer in range(_FIRST_LAYER, _MAX_LAYER + 1):
        telescope = Telescope(layer=layer, finest=question.finest)
        for index in telescope.indices:
            if index not in runs:
                runs[index] = LevelRuns(question, index, n_samples=_N_PILOT)
        levels = [runs[index] for index in telescope.indices]
        if (moments := _sampled(telescope, levels, tolerance=tolerance)) is not None:
            return _result(moments, levels, question=question, tolerance=tolerance)
    raise ArithmeticError(
        f"the bias is more than half of tolerance={tolerance:g} after {_MAX_LAYER} layers of levels: raise the "
        "tolerance, or take an observable that is a smooth function of the empirical measure"
    )


def _question(model: Model, x0: Law | Tokens, observable: Observable, *, rng: Seed) -> Question:
    """Return the question of the first arguments, checked."""
    check_model(model)
    start = initial(x0)
    fixed = start.fixed
    if fixed is not None and fixed.ndim != 2:
        raise ValueError(f"x0 must be a law, or tokens of shape (N, d), got shape {fixed.shape}")
    n_tokens, dim = start.shape(COARSEST_TOKENS if fixed is None else None, n_replicas=1)
    model_plan_of(model, Shape(n_tokens=n_tokens, dim=dim, dtype=start.dtype)).check_levels(fixed)
    observables({"observable": observable})
    several: dict[str, Any] = {"folder": None, "options": {}, "memory_limit": None}
    return Question(model=model, initial=start, observable=observable, root=root(rng), **several)


def _sampled(telescope: Telescope, levels: list[LevelRuns], *, tolerance: float) -> Moments | None:
    """Run samples until the interval is within the tolerance; None where further levels are needed for that."""
    for level in levels:
        level.extend(_N_PILOT)
    work = np.array([level.work for level in levels])
    while True:
        moments = Moments.of(telescope, [level.differences for level in levels])
        _check_decay(moments)
        if moments.half_width + moments.bias <= tolerance:
            equal = [level for level in levels if level.is_equal and len(level.values) < _N_EQUAL]
            if not equal:
                return moments
            for level in equal:
                level.extend(min(_N_EQUAL, _MAX_GROWTH * len(level.values)))
            continue
        # Few samples show a larger bias than there is: at first, what is sure of it decides how many more are run.
        surely, at_most = moments.least_bias, min(moments.bias, tolerance / 2)
        if surely > tolerance / 2 or moments.half_width <= tolerance - at_most:
            if not _sharpened(moments, levels, work=work):
                return None
            continue
        allowed = tolerance - (surely if moments.half_width > tolerance - surely else at_most)
        wanted = moments.wanted(allowed, work=work)
        _check_memory(int(wanted.sum()), tolerance=tolerance, limit=levels[0].question.memory_limit)
        for level, n_samples, n_wanted in zip(levels, moments.n_samples.tolist(), wanted.tolist(), strict=True):
            level.extend(min(n_wanted, _MAX_GROWTH * n_samples))


def _check_decay(moments: Moments) -> None:
    """Raise ArithmeticError if differences surely do not fall."""
    for direction, decay in moments.decays.items():
        if decay.is_still and decay.n_left is None and moments.telescope.layer > _FIRST_LAYER:
            what, (before, last) = ("tokens", "steps")[direction], decay.sizes[-2:]
            raise ArithmeticError(
                f"observable does not converge as the number of {what} doubles: its mean last "
                f"changed by {before:.3g} and {last:.3g}, where half was expected; take one that is a smooth function "
                "of the empirical measure"
            )


def _sharpened(moments: Moments, levels: list[LevelRuns], *, work: Floats) -> bool:
    """Run samples that tell whether differences fall, where that is open; return whether there were any to run.

    They take about as long as the first samples of the next difference in that direction, of four times the cost.
    """
    is_sharper = False
    for direction, decay in moments.decays.items():
        if decay.is_open:
            places = moments.telescope.along(direction)
            for place in places:
                n_samples = int(4 * _N_PILOT * work[places[-1]] / (work[place] * len(places)))
                is_sharper |= n_samples > len(levels[place].values)
                levels[place].extend(min(n_samples, _MAX_GROWTH * len(levels[place].values)))
    return is_sharper


def _check_memory(n_samples: int, *, tolerance: float, limit: int | None) -> None:
    """Raise ValueError if so many samples take more than the limit in bytes; None is the machine's memory."""
    limit = checks.machine_memory() if limit is None else limit
    n_bytes = _SAMPLE_BYTES * n_samples
    if n_bytes > limit:
        raise ValueError(
            f"tolerance={tolerance:g} would take about {n_samples:.3g} samples, of {n_bytes / 1e9:.3g} GB, more than "
            f"{limit / 1e9:.3g} GB; raise it"
        )


def _result(moments: Moments, levels: list[LevelRuns], *, question: Question, tolerance: float) -> Estimate:
    reach = moments.half_width + moments.bias
    values = [level.values[:, 0] for level in levels]
    table: dict[str, Any] = {
        "n_tokens": np.array([level.level.n_tokens for level in levels]),
        "n_steps": np.array([level.level.models[0].n_steps for level in levels]),
        "n_samples": moments.n_samples,
        "coefficient": moments.coefficients,
        "mean": moments.means,
        "variance": moments.variances,
        "value_mean": np.array([own.mean() for own in values]),
        "value_variance": np.array([own.var(ddof=1) for own in values]),
        "pairs": np.array([level.n_pairs for level in levels]),
    }
    parts = {
        "model": question.model,
        "x0": question.initial.x0,
        "observable": question.observable,
        "tolerance": tolerance,
    }
    return Estimate(
        value=moments.value,
        low=moments.value - reach,
        high=moments.value + reach,
        standard_error=moments.standard_error,
        bias=moments.bias,
        cost=float(table["pairs"] @ table["n_samples"]),
        levels=table,
        attributes=identify(parts, sequences=[question.root]),
    )
