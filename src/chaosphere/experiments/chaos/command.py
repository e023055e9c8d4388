"""The command `chaosphere chaos`: rates, regimes, depths, the three limits, and fluctuations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from chaosphere.common import checks
from chaosphere.common.streams import Seed
from chaosphere.ensembles.ranks import Ranks
from chaosphere.experiments import cases, fluctuations, limits, models
from chaosphere.experiments import chaos as experiment
from chaosphere.experiments.cases import Case
from chaosphere.experiments.chaos import own_noise, runs, spread, token_file
from chaosphere.experiments.command import Command, Job, Options, call, default
from chaosphere.models.transformer import Transformer
from chaosphere.noise.mlp import MLP

_STUDIES = ("rates", "regimes", "depths", "limits", "fluctuations")
_UNMASKED = ("limits", "fluctuations")  # need attention without a mask
_RATES = {"dims": "dim", "tokens": "tokens", "n_nodes": "nodes", "x0": "x0", "normalize": "normalize"}  # their options


def _studies(
    *, study: Sequence[Literal["rates", "regimes", "depths", "limits", "fluctuations"]] | None = None
) -> Sequence[str] | None:
    """Return the chosen studies.

    Parameters
    ----------
    study : sequence of str, optional
        What to run; by default all, or the rates if an option of theirs is given.
    """
    return study


def _network(*, width: int = 64, depth: int = 32, horizon: float = 1.0) -> dict[str, Any]:
    """Return the size of the network.

    Parameters
    ----------
    width : int
        m, hidden units of a layer.
    depth : int
        L, number of layers.
    horizon : float
        T, time that the layers span.
    """
    return {"width": width, "depth": depth, "horizon": horizon}


def _own_tokens(*, x0: Path | None = None, normalize: bool = False) -> Any:
    """Return the user's tokens, None without a file.

    Parameters
    ----------
    x0 : path, optional
        Your tokens, an (M, d) array in .npy or .npz, instead of a law.
    normalize : bool
        Project the tokens of --x0 to the sphere.
    """
    if x0 is not None:
        return token_file.read(x0, is_normalized=normalize)
    if normalize:
        raise ValueError("--normalize needs --x0")
    return None


def _temperature(*, temperature: float = 0.0) -> float:
    """Return the temperature of the tokens' own noise.

    Parameters
    ----------
    temperature : float
        τ of the noise that each token has for itself. Above 0 the study of own noise runs, without a network, and no
        other. In this study the default of --tokens is 64 … 2048, to 1024 for d > 3, and --nodes is the number of modes
        of the density of the limit, by default 256 for d = 2 and 48 for d > 2.
    """
    return temperature


def _over_ranks(*, spread: bool = False) -> Ranks | None:
    """Return the ranks that share the tokens, None without the option.

    Parameters
    ----------
    spread : bool
        Under mpiexec: the ranks share the tokens, and each draws its own; for the study of rates, without the
        transport distance, which needs all tokens in one place.
    """
    return Ranks.of_world() if spread else None


def jobs(options: Options) -> list[Job]:
    """Return the chosen studies."""
    if (ranks := call(_over_ranks, options)) is not None:
        return _spread(options, ranks)
    if checks.number(call(_temperature, options), "--temperature", low=0, high=100) > 0:
        return [_own_noise(options)]
    if "n_steps" in options:
        raise ValueError("--steps needs --temperature: elsewhere the steps are the layers of --depth")
    size = call(_network, options)
    layers = replace(call(models.mlp, options), width=size.pop("width"))
    x0 = call(_own_tokens, options)
    chosen = {name: options[name] for name in ("interaction", "beta", "value_scale") if name in options}
    make = partial(models.interaction, **chosen)
    model = Transformer(attention=make(dim=2), mlp=layers, **size)
    for name in ("dims", "n_nodes"):
        if x0 is not None and name in options:
            raise ValueError(f"--{_RATES[name]} must be left out with --x0: its tokens are the reference")
    studies = call(_studies, options)
    if studies is None and _RATES.keys() & options.keys():
        studies = ("rates",)
    elif studies is None:
        studies = [name for name in _STUDIES if name not in _UNMASKED or not model.is_ordered]
    for name in _UNMASKED:
        if name in studies and (model.attention is None or model.is_ordered):
            raise ValueError(
                f"--study {name} needs attention without a mask: give --study rates depths, another --interaction, or "
                "a --value-scale other than 0"
            )
    rows = []
    if "rates" in studies:
        if x0 is None:
            plan = call(cases.rates, options, model=model, make=make)
        else:
            own = replace(model, attention=make(dim=x0.shape[-1]))
            plan = call(cases.own_tokens, {**options, "x0": x0}, model=own)
        rows.append(_job("chaos", plan, options))
    if "regimes" in studies:
        rows.append(_job("chaos-regimes", call(cases.regimes, options, model=model, make=make), options))
    if "depths" in studies:
        rows.append(_job("chaos-depths", call(cases.depths, options, model=model), options))
    if "limits" in studies:
        rows.append(_limits(model, options))
    if "fluctuations" in studies:
        rows.append(_fluctuations(fluctuations.cases(model, make), options))
    return rows


def _spread(options: Options, ranks: Ranks) -> list[Job]:
    for name in ("temperature", "n_steps", "x0", "normalize"):
        if name in options:
            raise ValueError(
                f"--{name.removeprefix('n_')} must be left out with --spread: it is for the study of rates"
            )
    studies = call(_studies, options) or ("rates",)
    if refused := [study for study in studies if study != "rates"]:
        raise ValueError(
            f"--study {' '.join(refused)} must be left out with --spread: it measures the transport distance or other "
            "observables that need all tokens in one place"
        )
    size = call(_network, options)
    layers = replace(call(models.mlp, options), width=size.pop("width"))
    chosen = {name: options[name] for name in ("interaction", "beta", "value_scale") if name in options}
    make = partial(models.interaction, **chosen)
    plan = call(cases.rates, options, model=Transformer(attention=make(dim=2), mlp=layers, **size), make=make)
    return [_job("chaos", [spread.SpreadCase.of(case) for case in plan], options, ranks=ranks)]


def _own_noise(options: Options) -> Job:
    for name in ("study", "width", "depth", "x0", "normalize"):
        if name in options:
            raise ValueError(f"--{name} must be left out with --temperature: own noise has a study of its own")
    chosen = {name: options[name] for name in ("interaction", "beta", "value_scale") if name in options}
    horizon = call(_network, options)["horizon"]
    model = Transformer(attention=None, mlp=call(models.mlp, options), depth=1, horizon=horizon)
    return _job(
        "chaos-own-noise",
        call(own_noise.cases, options, model=model, make=partial(models.interaction, **chosen)),
        options,
    )


def _job(name: str, plan: Sequence[Case], options: Options, *, ranks: Ranks | None = None) -> Job:
    n_replicas = default(runs.run, "n_replicas", options)
    claims = experiment.depth_claims if name == "chaos-depths" else experiment.claims

    def estimate(n_threads: int | None) -> tuple[str, float]:
        pairs = n_replicas * sum(case.pairs for case in plan)
        text = f"{len(plan)} case{'s' * (len(plan) > 1)}, {n_replicas} replicas, {pairs:.2g} pair interactions"
        return text, n_replicas * experiment.seconds(plan, n_threads=n_threads, ranks=ranks)

    def run(*, n_threads: int | None, **shared: Any) -> Any:
        threads = ranks.n_threads if ranks is not None and n_threads is None else n_threads
        return experiment.run(plan, n_replicas=n_replicas, n_threads=threads, ranks=ranks, **shared)

    return Job(
        name=name,
        run=run,
        claims=claims,
        table=lambda dataset: experiment.table(dataset, claims(dataset)),
        draw=experiment.draw if name in ("chaos", "chaos-own-noise") else experiment.draw_exponents,
        n_steps=n_replicas * sum(case.model.n_steps for case in plan),
        unit="steps" if name == "chaos-own-noise" else "layers",
        identity=lambda rng: experiment.identity(plan, rng),
        estimate=estimate,
    )


def _limits(model: Transformer, options: Options) -> Job:
    assert model.attention is not None
    assert isinstance(model.mlp, MLP)
    mlp = model.mlp
    n_replicas = 3 * default(runs.run, "n_replicas", options)  # of some tens of tokens each
    grid = {
        "attention": model.attention,
        "horizon": model.horizon,
        "concentration": default(limits.run, "concentration", options),
    }

    def identity(rng: Seed) -> str:
        return limits.identity(mlp, rng=rng, **grid)

    return Job(
        name="chaos-limits",
        run=lambda **shared: limits.run(mlp, n_replicas=n_replicas, **grid, **shared),
        claims=limits.claims,
        table=limits.table,
        draw=limits.draw,
        n_steps=n_replicas,
        unit="replicas",
        identity=identity,
        estimate=lambda n_threads: (f"{n_replicas} replicas of some tens of tokens", None),
    )


def _fluctuations(plan: list[fluctuations.Case], options: Options) -> Job:
    n_replicas = default(runs.run, "n_replicas", options)
    return Job(
        name="chaos-fluctuations",
        run=lambda **shared: fluctuations.run(plan, n_replicas=n_replicas, **shared),
        claims=fluctuations.claims,
        table=fluctuations.table,
        draw=fluctuations.draw,
        n_steps=n_replicas * len(plan),
        unit="runs",
        identity=lambda rng: fluctuations.identity(plan, rng=rng),
        estimate=lambda n_threads: (f"{len(plan)} case{'s' * (len(plan) > 1)}, {n_replicas} replicas", None),
    )


COMMANDS = (
    Command(
        name="chaos",
        summary="how far N tokens are from the mean-field limit under the same noise",
        description="How fast N tokens approach the mean-field limit under the same noise, in five studies. Rates: "
        "the exponents in N of smooth statistics, of the distance from coupled copies and of the transport distance, "
        "in several dimensions. Regimes: the same exponents on the circle with attraction, without attention and with "
        "repulsion; with noise, without noise and conditional on one noise; and for β = 4, where the flow between "
        "clusters is steep. Depths: the same exponents for several L. Limits: the limits in N, L and m, taken in "
        "different orders, without a mask. Fluctuations: the variance of the mean vector over that of the central "
        "limit theorem, without a mask. With --temperature another study runs instead: rates in N of tokens of the "
        "limiting equation that each have noise of their own, without and with a common noise. With more --replicas "
        "the command continues from the files it wrote.",
        sources=(
            *(_studies, models.interaction, models.mlp, _network, runs.run, cases.rates, _own_tokens),
            *(_temperature, own_noise.cases, _over_ranks),
        ),
        jobs=jobs,
        left_out=("cases", "model", "make", "dim", "ranks"),
        flags={"dims": "dim"},
        groups={
            "the model": ("interaction", "beta", "value_scale", "activation", "bias_std", "width", "depth", "horizon"),
            "options of the study of rates": tuple(_RATES),
            "options of the study of own noise": ("temperature", "n_steps"),
        },
        symbols={"dims": "D", "tokens": "N", "x0": "FILE"},
    ),
)
