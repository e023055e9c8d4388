"""Tokens with noise of their own, as the temperature rises from order and falls from the uniform law."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import Seed, root
from chaosphere.experiments import estimates
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.geometry.laws import Density
from chaosphere.geometry.sphere import sample_uniform
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.interactions.unnormalized import UnnormalizedAttention
from chaosphere.models.sde import LimitSDE
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.simulation.identity import describe
from chaosphere.simulation.loop import simulate
from chaosphere.theory import linear_growth, phases

_Piece = tuple[Floats, Floats]  # order parameters (attention, direction, share), fluctuations (attention,)

DIRECTIONS = ("rising", "falling")
_HOT, _HOT_PERIODS = 1.5, 3.0  # where fluctuations are measured, and for how long
_HOT_TIMES = (0.75, 1.0)  # parts of that time, at which they are
_N_SAMPLES = 20  # of the second half of a run at one temperature
_RELAXED, _GROWN = 1.5, 4.0  # times of relaxation of a state, and of growth out of the uniform law, that claims take
_FLUCTUATIONS = 4.0  # standard deviations of the mean token that the unstable state must be away from 0
_RELEVANT = 0.05  # of an order parameter


def attention_of(name: str, beta: float) -> Any:
    """Return the attention of a name; unnormalised attention is divided by e^β."""
    return SoftmaxAttention(beta=beta) if name == "softmax" else UnnormalizedAttention(beta=beta, rescaled=True)


def run(
    *,
    rng: Seed,
    attentions: Sequence[Literal["softmax", "unnormalized"]] = ("softmax", "unnormalized"),
    beta: float = 4.0,
    dim: int = 3,
    shares: Sequence[float] = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4),
    n_tokens: int = 400,
    periods: float = 8.0,
    n_steps: int = 800,
    n_systems: int = 32,
    n_replicas: int = 8,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Run tokens through a ladder of temperatures, up from the ordered state and down from the uniform law.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Replica r has its own tokens and noise, the same for every number of replicas.
    attentions : sequence of str
        "softmax", "unnormalized" or both.
    beta : float
        β of attention, QᵀK = βI.
    dim : int
        Dimension d of the tokens.
    shares : sequence of float
        Temperatures divided by the critical one, increasing; the first below 1, the last above 1.
    n_tokens : int
        Number N of tokens, at least 8.
    periods : float
        Time at each temperature, in units of 1/((d − 1) τ_c).
    n_steps : int
        Steps at each temperature.
    n_systems : int
        Systems of a replica by which fluctuations are measured, at 1.5 times the critical temperature.
    n_replicas : int
        Number of replicas, at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the replicas; replicas of the same study in it are not computed again.
    on_step : callable, optional
        Called after every replica.

    Returns
    -------
    xarray.Dataset
        order (replica, attention, direction, share), the order parameter over the second half of the time at each
        temperature; fluctuation (replica, attention), N times the mean square of the order parameter; critical, fold,
        coexistence and coefficient (attention), and stable, unstable and rate (attention, share), by
        `chaosphere.phases`, NaN where there is none; step (attention), the rate of consensus times the step.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Notes
    -----
    O(N² d) for a step, or less by expansions. Relaxation is slow next to the critical temperature and the fold; there
    are no claims there.

    Examples
    --------
    >>> data = run(rng=0, shares=[0.8, 1.2], n_tokens=20, n_steps=4, n_systems=2, n_replicas=2)
    >>> data["order"].dims
    ('replica', 'attention', 'direction', 'share')
    """
    names = checks.distinct(attentions, "attentions")
    for name in names:
        checks.choice(name, "attentions", known=("softmax", "unnormalized"))
    beta, dim = checks.number(beta, "beta", low=0, high=100), checks.integer(dim, "dim", low=2)
    ladder = [checks.number(share, "shares", above=0, high=10) for share in checks.sequence(shares, "shares")]
    if any(b <= a for a, b in itertools.pairwise(ladder)) or not ladder or not ladder[0] < 1 < ladder[-1]:
        raise ValueError(f"shares must be increasing, from below 1 to above 1, got {ladder}")
    n_tokens, n_steps = checks.integer(n_tokens, "n_tokens", low=8), checks.integer(n_steps, "n_steps", low=2)
    periods = checks.number(periods, "periods", above=0, high=1e6)
    n_systems, n_replicas = (
        checks.integer(n_systems, "n_systems", low=1),
        checks.integer(n_replicas, "n_replicas", low=2),
    )
    n_threads = checks.threads(n_threads)
    check_size(
        n_tokens=max(n_systems, _N_SAMPLES) * n_tokens, dim=dim, n_steps=n_steps * len(ladder), n_replicas=n_replicas
    )
    branches = [
        phases.branch(attention_of(name, beta), dim, lowest=0.99 * ladder[0] * _critical(name, beta, dim))
        for name in names
    ]
    models = [
        LimitSDE(
            attention=branch.interaction,
            field=None,
            horizon=periods / ((dim - 1) * branch.critical_temperature),
            n_steps=n_steps,
            temperature=branch.critical_temperature,
        )
        for branch in branches
    ]
    sequence = root(rng)
    facts = {"models": [describe(model) for model in models], "attentions": names, "beta": beta, "dim": dim}
    facts |= {"shares": ladder, "n_tokens": n_tokens, "periods": periods, "n_systems": n_systems}
    facts |= {"n_samples": _N_SAMPLES, "hot": _HOT, "hot_periods": _HOT_PERIODS, "hot_times": list(_HOT_TIMES)}
    study = netcdf.identity(facts, sequence)

    def measure(replica: int) -> _Piece:
        orders, fluctuations = [], []
        for number, (model, branch) in enumerate(zip(models, branches, strict=True)):
            key = [*sequence.spawn_key, replica, number]
            seeds = [np.random.SeedSequence(sequence.entropy, spawn_key=(*key, k)) for k in range(3)]
            cold = _ordered(branch, ladder[0] * branch.critical_temperature)
            starts = cold.sample(n_tokens, rng=seeds[0]), sample_uniform(n_tokens, dim, rng=seeds[1])
            both = [
                _ladder(model, x, shares=ladder[::sign], seed=seed, n_threads=n_threads)[::sign]
                for x, seed, sign in zip(starts, seeds, (1, -1), strict=False)
            ]
            orders.append(both)
            fluctuations.append(_fluctuation(model, (n_systems, n_tokens, dim), seed=seeds[2], n_threads=n_threads))
        return np.array(orders), np.array(fluctuations)

    def to_dataset(pieces: Sequence[_Piece]) -> Any:
        return _to_dataset(pieces, branches, shares=ladder, identity=study)

    return grow(
        measure,
        n_pieces=n_replicas,
        identity=study,
        to_dataset=to_dataset,
        from_dataset=lambda dataset: list(zip(dataset["order"].values, dataset["fluctuation"].values, strict=True)),
        store=store,
        on_step=on_step,
        n_least=2,
    )


def claims(dataset: Any) -> list[Claim]:
    """Return order parameters beside those of stationary states, and fluctuations beside those of linear growth.

    Fluctuations are compared at the times at which they are measured. A critical temperature follows from them.

    Steps of length h widen a cluster that contracts at the rate k: its variance is greater by the fraction hk/2. So the
    intervals of order parameters m are wider than those over replicas by hk/2 (1 − m) on both sides.
    """
    rows = []
    n, dim, periods = (dataset.attrs[name] for name in ("n_tokens", "dim", "periods"))
    for name in dataset["attention"].values:
        part = dataset.sel(attention=name)
        critical, grown = float(part["critical"]), 0.0
        attention = attention_of(str(name), float(dataset.attrs["beta"]))
        measured = part["fluctuation"].values
        expected = _expected_fluctuation(attention, int(dim), critical=critical)
        rows.append(
            estimates.from_interval(
                f"{name}: N E |m|² at {_HOT:g} τ_c, over the prediction",
                stats.mean_interval(measured / expected, at_least=0),
                expected=1.0,
                relevant=0.25,
            )
        )
        for share in dataset["share"].values[::-1]:
            cell = part.sel(share=share)
            stable, unstable = float(cell["stable"]), float(cell["unstable"])
            allowance = 0.5 * float(part["step"]) * (1 - stable)
            up, down = (
                stats.mean_interval(cell["order"].sel(direction=direction).values, at_least=0, at_most=1)
                for direction in DIRECTIONS
            )
            label = f"{name}: order at {share:g} τ_c"
            time = 0.5 * periods / ((dim - 1) * critical)  # until the order parameter is taken
            is_relaxed = -float(cell["rate"]) * time >= _RELAXED
            if is_relaxed:
                rows.append(_order(f"{label}, rising", up, stable, allowance=allowance))
            growth = max(0.0, 1 - share) * periods / 2
            if growth > 0 and is_relaxed and grown + growth >= _GROWN:
                rows.append(_order(f"{label}, falling", down, stable, allowance=allowance))
            grown += 2 * growth
            if share > 1 and unstable > _FLUCTUATIONS / math.sqrt(dim * n * (1 - 1 / share)):
                rows.append(estimates.from_interval(f"{label}, falling", down, expected=unstable, is_bound=True))
    return rows


def _order(label: str, interval: stats.Interval, expected: float, *, allowance: float) -> Claim:
    mean, low, high = interval
    wide = (float(mean), float(low) - allowance, float(high) + allowance)
    return estimates.from_interval(label, wide, expected=expected, relevant=_RELEVANT)


def _expected_fluctuation(attention: Any, dim: int, *, critical: float) -> float:
    """Return N E |m|² by the theory of linear growth, as `_fluctuation` measures it."""
    times = _HOT_PERIODS / ((dim - 1) * critical) * np.array(_HOT_TIMES)
    return float(np.mean(linear_growth.fluctuation(attention, 1, dim, temperature=_HOT * critical, time=times)))


def table(dataset: Any) -> str:
    """Return what is known of the transitions, and the claims, as text."""
    lines = [dataset.attrs["title"], ""]
    for name in dataset["attention"].values:
        part = dataset.sel(attention=name)
        kind = "continuous" if float(part["coefficient"]) > 0 else "discontinuous"
        facts = [f"τ_c = {float(part['critical']):.6g}", f"{kind} (C = {float(part['coefficient']):.4g})"]
        facts += [f"{k} at {float(part[k]):.5f} τ_c" for k in ("fold", "coexistence") if float(part[k]) > 1 + 1e-9]
        lines.append(f"{name}: {', '.join(facts)}")
    return "\n".join([*lines, "", format_claims(claims(dataset))])


def _critical(name: str, beta: float, dim: int) -> float:
    return phases.transition(attention_of(name, beta), dim).temperature


def _ordered(branch: phases.Branch, temperature: float) -> Density:
    """Return the law of the ordered state at a temperature, about the first axis."""
    state = branch.states_at(temperature)[-1]
    bound = float(state.density(np.linspace(-1, 1, 1001)).max()) * 1.01
    return Density(function=lambda x: state.density(np.clip(x[:, 0], -1, 1)), dim=branch.dim, bound=bound)


def _ladder(
    model: LimitSDE, x: Tokens, *, shares: Sequence[float], seed: np.random.SeedSequence, n_threads: int
) -> list[float]:
    """Return the order parameter at each temperature, one after the other, over the second half of the time at it."""
    orders, times = [], np.linspace(0.5, 1.0, _N_SAMPLES) * model.horizon
    for number, share in enumerate(shares):
        key = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, number))
        of = replace(model, temperature=share * model.temperature)
        states = simulate(of, x, rng=key, save_at=times, n_threads=n_threads).states
        orders.append(float(np.linalg.norm(states.mean(axis=1), axis=1).mean()))
        x = states[-1]
    return orders


def _fluctuation(
    model: LimitSDE, shape: tuple[int, int, int], *, seed: np.random.SeedSequence, n_threads: int
) -> float:
    """Return N times the mean square of the order parameter above the critical temperature, from the uniform law."""
    n_systems, n_tokens, dim = shape
    share = _HOT_PERIODS / (model.horizon * (dim - 1) * model.temperature)  # of the time at a temperature
    of = replace(
        model,
        temperature=_HOT * model.temperature,
        horizon=share * model.horizon,
        n_steps=max(2, math.ceil(share * model.n_steps)),
    )
    x = sample_uniform(n_tokens, dim, rng=seed, n_replicas=n_systems)
    times = np.array(_HOT_TIMES) * of.horizon
    states = simulate(of, x, rng=seed, save_at=times, n_threads=n_threads).states
    return n_tokens * float((states.mean(axis=2) ** 2).sum(axis=-1).mean())


def _rounded(values: Any) -> Floats:
    """Return numbers to six digits: the rounding of sums in linear algebra may change from call to call."""
    return np.asarray(np.vectorize(lambda value: float(f"{value:.6g}"), otypes=[np.float64])(values))


def _to_dataset(
    pieces: Sequence[_Piece], branches: Sequence[phases.Branch], *, shares: list[float], identity: str
) -> Any:
    study = json.loads(identity)
    step_sizes = [model["horizon"] / model["n_steps"] for model in study["models"]]
    known = np.full((3, len(branches), len(shares)), np.nan)  # stable, unstable, rate
    for i, branch in enumerate(branches):
        for j, share in enumerate(shares):
            for state in branch.states_at(share * branch.critical_temperature):
                known[0 if state.is_stable else 1, i, j] = state.order_parameter
                if state.is_stable:
                    known[2, i, j] = state.growth_rate
    per_attention = {
        "critical": [branch.critical_temperature for branch in branches],
        "fold": [branch.fold.temperature / branch.critical_temperature for branch in branches],
        "coexistence": [
            math.nan if branch.coexistence is None else branch.coexistence.temperature / branch.critical_temperature
            for branch in branches
        ],
        "step": [branch.interaction.consensus_rate * h for branch, h in zip(branches, step_sizes, strict=True)],
        "coefficient": [phases.transition(branch.interaction, branch.dim).coefficient for branch in branches],
    }
    parts = [f"d = {study['dim']}", f"β = {study['beta']:g}", f"N = {study['n_tokens']}"]
    axes = ("attention", "share")
    return checks.extra("xarray", "io").Dataset(
        {
            "order": (("replica", "attention", "direction", "share"), np.stack([orders for orders, _ in pieces])),
            "fluctuation": (("replica", "attention"), np.stack([values for _, values in pieces])),
            "stable": (axes, _rounded(known[0])),
            "unstable": (axes, _rounded(known[1])),
            "rate": (axes, _rounded(known[2])),
        }
        | {name: (("attention",), _rounded(values)) for name, values in per_attention.items()},
        coords={"attention": study["attentions"], "direction": list(DIRECTIONS), "share": shares},
        attrs={
            "beta": study["beta"],
            "dim": study["dim"],
            "n_tokens": study["n_tokens"],
            "periods": study["periods"],
            "title": f"Tokens with noise of their own, {len(pieces)} replicas\n{', '.join(parts)}",
            "identity": identity,
        },
    )
