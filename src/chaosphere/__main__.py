"""The command line: `chaosphere chaos | depth-width | mean-field | sync | run FILE | figure N | table 1 | info`."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import (
    MLP,
    SimulationError,
    SoftmaxAttention,
    Transformer,
    checks,
    files,
    normalize,
    plotting,
    results,
    show_config,
)
from chaosphere.activations import ACTIVATIONS
from chaosphere.checks import Tokens
from chaosphere.results import Claim
from chaosphere.study import duration

_LARGEST = 10**9  # of every count
_LARGEST_DIM = 10**6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0 when it ran, 1 when it failed on the way, 2 for bad arguments."""
    _open_streams()
    try:
        try:
            return _main(arguments)
        finally:
            sys.stdout.flush()
    except OSError as error:  # of standard output alone: the rest is handled
        # What is left to write would fail again as Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            return 128 + signal.SIGPIPE
        _say(f"chaosphere: error: standard output: {error.strerror}")
        return 1


def _open_streams() -> None:
    """Give closed streams a place to write to, and encodings an escape for the letters that they lack."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # else the first file that is opened takes the number, and messages are written into it
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _main(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="chaosphere", description="Interacting particles on the unit sphere.")
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (_add_chaos, _add_depth_width, _add_mean_field, _add_sync, _add_run, _add_figure, _add_table):
        add(commands)
    info = commands.add_parser("info", help="print version, instruction sets, threads, compiler")
    info.set_defaults(run=lambda options: show_config())
    options = parser.parse_args(arguments)
    try:
        _check(options)
        options.run(options)
    except BrokenPipeError:  # the reader of standard output left
        raise
    except (ValueError, TypeError, OverflowError, ImportError) as error:
        return _fail(options, error, code=2)
    except (OSError, MemoryError, SimulationError, ArithmeticError) as error:
        return _fail(options, error, code=1)
    except KeyboardInterrupt as error:
        more = "; the same command continues from the files it wrote" if options.command in _GROWING else ""
        _say(f"chaosphere {options.command}: {str(error) or 'interrupted'}{more}")
        return 130
    return 0


def _say(text: str, *, end: str = "\n") -> None:
    """Write to standard error; nobody may be there to read it, and that stops no work."""
    with contextlib.suppress(OSError):
        print(text, end=end, file=sys.stderr, flush=True)


def _fail(options: argparse.Namespace, error: Exception, *, code: int) -> int:
    text = " ".join(str(error).split()) or type(error).__name__
    _say(f"chaosphere {options.command}: error: {text}")
    return code


def _check(options: argparse.Namespace) -> None:
    """Resolve the paths among the options, and check the numbers that no experiment can take."""
    for name, value in vars(options).items():
        option = "FILE" if name == "file" else f"--{name.replace('_', '-')}"
        if name in _PATHS and value is not None:
            setattr(options, name, files.local(value, option))
        for number in value if isinstance(value, list) else [value]:
            if name == "threads" and number is not None:
                checks.integer(number, option, low=1)
            if name == "seed" and number is not None:
                checks.integer(number, option, low=0)
            elif type(number) is int and number > (largest := _LARGEST_DIM if name == "dim" else _LARGEST):
                raise ValueError(f"{option} must be at most {largest}, got {number}")


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], None], text: str, more: str) -> Any:
    """Add a subcommand with the options that all experiments share."""
    parser = commands.add_parser(
        name, help=text, description=more, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.set_defaults(run=run)
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same numbers")
    parser.add_argument("--threads", type=int, help="number of threads (default all; never changes a result)")
    parser.add_argument("--out", default="out", metavar="DIR", help="folder of the files written")
    parser.add_argument("--json", action="store_true", help="print the claims on stdout as JSON instead of the table")
    return parser


def _add_model_options(parser: Any, *, bias_std: float, value_scale: float) -> None:
    parser.add_argument("--beta", type=float, default=1.0, help="QᵀK = βI, and β of the energy (1 there if 0)")
    parser.add_argument(
        "--value-scale", type=float, default=value_scale, help="V = δI: 1 attracts, 0 is off, -1 repels"
    )
    parser.add_argument("--bias-std", type=float, default=bias_std, help="σ_U, standard deviation of the inner biases")


def _attention(options: argparse.Namespace) -> SoftmaxAttention | None:
    """Return the attention of the options, nothing if it is switched off."""
    if options.value_scale == 0:
        return None
    return SoftmaxAttention(beta=options.beta, value_scale=options.value_scale)


_PATHS = ("out", "x0", "file")
_GROWING = ("chaos", "depth-width")  # commands that write after every replica
_NAMES = ", ".join(ACTIVATIONS)


_STUDIES = ("rates", "regimes", "depths", "limits")


def _add_chaos(commands: Any) -> None:
    parser = _command(
        commands,
        "chaos",
        _chaos,
        "errors of N tokens against the mean-field limit under the same noise",
        "Propagation of chaos. Studies: rates in N of smooth statistics, coupled particles and the transport distance, "
        "for several dimensions; regimes (attraction, none, repulsion; with, without and given the noise; a steep "
        "one); depths (the same over L); limits (N, L and m in either order). Run again with more --replicas it "
        "continues from the files it wrote.",
    )
    _add_model_options(parser, bias_std=0.3, value_scale=1.0)
    parser.add_argument(
        "--study", nargs="+", choices=_STUDIES, help="(default: all; the rates if an option of theirs is given)"
    )
    parser.add_argument("--activation", default="tanh", help=_NAMES)
    parser.add_argument("--width", type=int, default=64, help="m, hidden units of a layer")
    parser.add_argument("--depth", type=int, default=32, help="L, number of layers")
    parser.add_argument("--horizon", type=float, default=1.0, help="T, time that the layers span")
    parser.add_argument("--replicas", type=int, default=12, help="independent draws of tokens and layers")
    parser.add_argument(
        "--concentration", type=float, default=1.0, help="of the initial von Mises-Fisher law; 0: the uniform law"
    )
    rates = parser.add_argument_group("options of the rates")
    rates.add_argument("--dim", type=int, nargs="+", metavar="D", help="dimensions (default: 2 3 4 5)")
    rates.add_argument(
        "--tokens", type=int, nargs="+", metavar="N", help="ladder of N (default: 64 … 32768, to 4096 for d > 3)"
    )
    rates.add_argument(
        "--nodes", type=int, help="nodes of the mean-field limit (default: 256, 3200, 8192 for d = 2, 3, more)"
    )
    rates.add_argument("--x0", metavar="FILE", help="your tokens, an (M, d) array in .npy or .npz, instead of a law")
    rates.add_argument("--normalize", action="store_true", help="project the tokens of --x0 to the sphere")


def _chaos(options: argparse.Namespace) -> None:
    from chaosphere.experiments import chaos, limits

    attention = _attention(options)
    mlp = MLP(width=options.width, activation=options.activation, bias_std=options.bias_std)
    model = Transformer(attention=attention, mlp=mlp, depth=options.depth, horizon=options.horizon)
    # Everything is checked before anything runs.
    plans, has_limits = _chaos_plans(options, model)
    outputs = {name: _outputs(options, name) for name in [*plans, *["chaos-limits"] * has_limits]}
    shared = {"rng": options.seed, "n_replicas": options.replicas, "n_threads": options.threads}
    n_limits = 3 * options.replicas  # of some tens of tokens each
    for name, cases in plans.items():
        results.resume(outputs[name].data, chaos.identity(cases, options.seed))
    if has_limits:
        assert attention is not None
        grid = {"attention": attention, "horizon": options.horizon, "concentration": options.concentration}
        results.resume(outputs["chaos-limits"].data, limits.identity(mlp, rng=options.seed, **grid))
    _say(_chaos_plan(options, plans, n_limits if has_limits else 0))
    found: list[Claim] = []
    for name, cases in plans.items():
        with _Progress(options.replicas * sum(case.model.depth for case in cases), name, "layers") as bar:
            dataset = chaos.run(cases, store=outputs[name].data, on_step=bar.step, **shared)
        claims = chaos.depth_claims(dataset) if name == "chaos-depths" else chaos.claims(dataset)
        draw = plotting.chaos if name == "chaos" else plotting.chaos_exponents
        _report(options, outputs[name], dataset, draw, chaos.table(dataset, claims), claims, is_last=False)
        found += claims
    if has_limits:
        with _Progress(n_limits, "chaos-limits", "replicas") as bar:
            dataset = limits.run(
                mlp,
                **grid,
                store=outputs["chaos-limits"].data,
                on_step=bar.step,
                **{**shared, "n_replicas": n_limits},
            )
        claims = limits.claims(dataset)
        out = outputs["chaos-limits"]
        _report(options, out, dataset, plotting.limits, limits.table(dataset), claims, is_last=False)
        found += claims
    if options.json:
        _print_claims(found)
    elif len(outputs) > 1:
        print(f"Summary\n{results.summary(found)}")


def _chaos_plan(options: argparse.Namespace, plans: dict[str, Any], n_limits: int) -> str:
    """Return what each study will do, and an estimate of the time, as text."""
    from chaosphere.experiments import chaos

    lines, total = [], 0.0
    for name, cases in plans.items():
        pairs = options.replicas * sum(case.pairs for case in cases)
        seconds = options.replicas * chaos.seconds(cases, n_threads=options.threads)
        total += seconds
        lines.append(
            f"{name:>18}  {len(cases)} cases, {options.replicas} replicas, {pairs:.2g} pair interactions, "
            f"about {duration(seconds)}"
        )
    if n_limits:
        lines.append(f"{'chaos-limits':>18}  {n_limits} replicas of some tens of tokens")
    return "\n".join([*lines, f"{'estimated time':>18}  {duration(total)}{' and the limits' if n_limits else ''}"])


def _chaos_plans(options: argparse.Namespace, model: Transformer) -> tuple[dict[str, Any], bool]:
    """Return the cases of each study by the name of its files, and whether the limits are a study."""
    from chaosphere.experiments import cases

    x0 = None if options.x0 is None else _read_tokens(options.x0, is_normalized=options.normalize)
    if x0 is None and options.normalize:
        raise ValueError("--normalize needs --x0")
    for name in ("dim", "nodes"):
        if x0 is not None and getattr(options, name) is not None:
            raise ValueError(f"--{name} must be left out with --x0: its tokens are the reference")
    has_own = any(getattr(options, name) is not None for name in ("dim", "tokens", "nodes", "x0"))
    studies = options.study or (("rates",) if has_own else _STUDIES)
    if "limits" in studies and model.attention is None:
        raise ValueError("--study limits needs attention: give --study rates depths, or a --value-scale other than 0")
    plans = {}
    if "rates" in studies and x0 is not None:
        plans["chaos"] = cases.own_tokens(model, x0, tokens=options.tokens)
    elif "rates" in studies:
        plans["chaos"] = cases.rates(
            model,
            dims=options.dim or (2, 3, 4, 5),
            tokens=options.tokens,
            n_nodes=options.nodes,
            concentration=options.concentration,
        )
    if "regimes" in studies:
        plans["chaos-regimes"] = cases.regimes(model, concentration=options.concentration)
    if "depths" in studies:
        plans["chaos-depths"] = cases.depths(model, concentration=options.concentration)
    return plans, "limits" in studies


def _add_depth_width(commands: Any) -> None:
    parser = _command(
        commands,
        "depth-width",
        _depth_width,
        "distance of networks of depth L and width m from their limit under the paper's coupling",
        "The deep-and-wide limit: mean-square distance, uniform in time, of networks of several depths and widths from "
        "the limiting equation driven by the same noise, the exponents in L and in m, and whether the limits commute.",
    )
    _add_model_options(parser, bias_std=0.3, value_scale=1.0)
    parser.add_argument("--activation", default="tanh", help=_NAMES)
    parser.add_argument("--dim", type=int, default=3, help="dimension d of the tokens")
    parser.add_argument(
        "--tokens", type=int, default=32, metavar="N", help="some hundreds, or thousands without --widths"
    )
    parser.add_argument("--horizon", type=float, default=1.0, help="T")
    parser.add_argument("--depths", type=int, nargs="+", default=[8, 16, 32, 64, 128], metavar="L")
    parser.add_argument("--widths", type=int, nargs="*", default=[16, 32, 64, 128, 256], metavar="M")
    parser.add_argument("--refinement", type=int, default=4, help="steps of the limit per layer of the deepest network")
    parser.add_argument("--replicas", type=int, default=16, help="independent draws of tokens and noise")


def _depth_width(options: argparse.Namespace) -> None:
    from chaosphere.experiments import depth_width

    out = _outputs(options, "depth-width")
    with _Progress(options.replicas, "depth-width", "replicas") as bar:
        dataset = depth_width.run(
            MLP(width=1, activation=options.activation, bias_std=options.bias_std),
            rng=options.seed,
            attention=_attention(options),
            dim=options.dim,
            n_tokens=options.tokens,
            horizon=options.horizon,
            depths=options.depths,
            widths=options.widths,
            refinement=options.refinement,
            n_replicas=options.replicas,
            n_threads=options.threads,
            store=out.data,
            on_step=bar.step,
        )
    _report(options, out, dataset, plotting.depth_width, depth_width.table(dataset), depth_width.claims(dataset))


def _add_mean_field(commands: Any) -> None:
    parser = _command(
        commands,
        "mean-field",
        _mean_field,
        "the limit of infinitely many tokens on the circle: its density, its nodes, its pairs",
        "The mean-field limit on the circle, solved for its density and by nodes under the same noise: their "
        "difference and its orders, the mass, the convergence of the nodes for the activation and for relu, and pairs "
        "averaged over the noise beside the pair equation.",
    )
    _add_model_options(parser, bias_std=0.3, value_scale=1.0)
    parser.add_argument("--activation", default="tanh", help=_NAMES)
    parser.add_argument("--horizon", type=float, default=0.5, help="T; the picture shows 3 T")
    parser.add_argument("--steps", type=int, nargs="+", default=[16, 32, 64, 128], metavar="L")
    parser.add_argument("--refinement", type=int, default=8, help="finest steps of the nodes per smallest of --steps")
    parser.add_argument(
        "--modes", type=int, default=256, help="Fourier modes of the density; more where they are needed"
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[16, 32, 64, 128, 256, 512], metavar="N")
    parser.add_argument("--width", type=int, default=32, help="m, hidden units of a layer in the test of the nodes")
    parser.add_argument("--depth", type=int, default=20, help="L, layers in the test of the nodes")
    parser.add_argument("--replicas", type=int, default=16, help="independent noises")
    parser.add_argument("--pair-replicas", type=int, default=1000, help="independent noises of the pairs")


def _mean_field(options: argparse.Namespace) -> None:
    from chaosphere.experiments import mean_field

    out = _outputs(options, "mean-field")
    with _Progress(mean_field.N_PARTS, "mean-field", "parts") as bar:
        dataset = mean_field.run(
            rng=options.seed,
            activation=options.activation,
            bias_std=options.bias_std,
            beta=options.beta,
            value_scale=options.value_scale,
            horizon=options.horizon,
            n_steps=options.steps,
            refinement=options.refinement,
            n_modes=options.modes,
            n_nodes=options.nodes,
            width=options.width,
            depth=options.depth,
            n_replicas=options.replicas,
            n_pair_replicas=options.pair_replicas,
            n_threads=options.threads,
            store=out.data,
            on_part=bar.step,
        )
    _report(options, out, dataset, plotting.mean_field, mean_field.table(dataset), mean_field.claims(dataset))


def _add_sync(commands: Any) -> None:
    parser = _command(
        commands,
        "sync",
        _sync,
        "decay of the energy beside the theorem's bound, the pair equation and the linear theory",
        "Synchronization by noise: the mean energy over time for several activations, beside the exact expectation "
        "(without attention), the bound of the theorem where it applies, and the exponent λ1 − δ of a cluster.",
    )
    _add_model_options(parser, bias_std=0.1, value_scale=0.0)
    parser.add_argument("--activations", nargs="+", default=["relu", "sigmoid", "tanh"], metavar="φ", help=_NAMES)
    parser.add_argument(
        "--output-bias-std", type=float, default=0.1, help="σ_W, standard deviation of the outer biases"
    )
    parser.add_argument("--dim", type=int, default=5, help="dimension d of the tokens")
    parser.add_argument("--tokens", type=int, default=64, metavar="N", help="number of tokens")
    parser.add_argument("--width", type=int, default=256, help="m, hidden units of a layer")
    parser.add_argument("--depth", type=int, default=1000, help="L, number of layers")
    parser.add_argument("--horizon", type=float, default=50.0, help="T, time that the layers span")
    parser.add_argument("--replicas", type=int, default=32, help="independent draws of tokens and layers")


def _sync(options: argparse.Namespace) -> None:
    from chaosphere.experiments import synchronization

    out = _outputs(options, "sync")
    with _Progress(len(options.activations), "sync", "activations") as bar:
        dataset = synchronization.run(
            options.activations,
            rng=options.seed,
            dim=options.dim,
            n_tokens=options.tokens,
            beta=options.beta,
            value_scale=options.value_scale,
            bias_std=options.bias_std,
            output_bias_std=options.output_bias_std,
            width=options.width,
            depth=options.depth,
            horizon=options.horizon,
            n_replicas=options.replicas,
            n_threads=options.threads,
            store=out.data,
            on_run=bar.step,
        )
    draw, claims = plotting.synchronization, synchronization.claims(dataset)
    _report(options, out, dataset, draw, synchronization.table(dataset), claims)


def _add_figure(commands: Any) -> None:
    parser = _command(
        commands,
        "figure",
        _figure,
        "redraw a figure of arXiv:2604.26898",
        "Figures 1 to 6: noise alone (1); cosines and energies for relu, silu, sigmoid, tanh and no MLP (2 to 6).",
    )
    parser.add_argument("number", type=int, choices=range(1, 7), help="number of the figure")
    parser.add_argument("--replicas", type=int, default=1, help="runs averaged in the energies (figures 2 to 6)")


def _figure(options: argparse.Namespace) -> None:
    from chaosphere.experiments import paper

    if options.number == 1 and options.replicas != 1:
        raise ValueError("--replicas is for figures 2 to 6")
    name = f"figure-{options.number}"
    out = _outputs(options, name)
    shared = {"rng": options.seed, "n_threads": options.threads, "store": out.data}
    with _Progress({1: 2, 6: 9}.get(options.number, 18), name, "runs") as bar:
        if options.number == 1:
            dataset = paper.figure_1(on_run=bar.step, **shared)
        else:
            dataset = paper.figure(options.number, n_replicas=options.replicas, on_run=bar.step, **shared)
    draw = plotting.tokens if options.number == 1 else plotting.cosines_and_energy
    _report(options, out, dataset, draw, dataset.attrs["title"], [])


def _add_table(commands: Any) -> None:
    parser = _command(
        commands,
        "table",
        _table,
        "κ(1), κ′(1), λ1 and λ̄: Table 1 of arXiv:2604.26898, or another",
        "Covariance kernel and exponents for activations, dimensions and bias σ = σ_U = σ_W.",
    )
    parser.add_argument("number", type=int, choices=[1], help="number of the table")
    parser.add_argument(
        "--activations", nargs="+", default=["relu", "sigmoid", "tanh", "silu"], metavar="φ", help=_NAMES
    )
    parser.add_argument("--dims", type=int, nargs="+", default=[5, 64, 128], metavar="D")
    parser.add_argument("--bias-std", type=float, nargs="+", default=[0.0, 0.1], metavar="σ")


def _table(options: argparse.Namespace) -> None:
    from chaosphere.experiments import paper

    out = _outputs(options, "table-1")
    shared = {"bias_stds": options.bias_std, "activations": options.activations}
    dataset = paper.table(dims=options.dims, store=out.data, **shared)
    claims = [
        Claim(quantity=f"{name} {activation} d={dim} σ={bias:g}", measured=value, low=value, high=value, expected=None)
        for name in ("lyapunov_exponent", "lambda_bar")
        for activation in options.activations
        for dim in options.dims
        for bias in options.bias_std
        for value in [float(dataset[name].sel(activation=activation, dim=dim, bias_std=bias))]
    ]
    # The picture shows how the exponents pass from one of the dimensions to the next.
    between = sorted({int(d) for d in np.geomspace(min(options.dims), max(options.dims), 12)} | set(options.dims))
    curves = paper.table(dims=between, **shared)

    def draw(_: Any, path: Path) -> None:
        plotting.exponents(curves, path)

    _report(options, out, dataset, draw, paper.format_table(dataset), claims)


def _add_run(commands: Any) -> None:
    parser = _command(
        commands,
        "run",
        _run,
        "run the study that a TOML file describes",
        "A study: a model, a law of the tokens, a sweep over parameters, observables, and where to run. It grows in "
        "DIR/NAME.zarr, and started again it continues from there.",
    )
    parser.add_argument("file", metavar="FILE", help="the study, a TOML file")
    parser.add_argument("--executor", choices=["none", "processes", "dask", "mpi"], help="instead of the file's")
    parser.add_argument("--workers", type=int, help="with --executor processes or dask (default one per processor)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="with --executor dask: a cluster that is there already")
    parser.add_argument("--dry-run", action="store_true", help="check the file and print the plan; run nothing")
    parser.set_defaults(seed=None)


def _run(options: argparse.Namespace) -> None:
    from chaosphere import study, study_file

    try:
        plan = study_file.read(options.file)
    except OSError as error:
        raise ValueError(f"{options.file} cannot be read ({error.strerror})") from error
    if options.seed is not None:
        plan = replace(plan, first_seed=options.seed)
    if options.threads is not None:
        plan = replace(plan, threads=options.threads)
    if options.executor is not None:
        plan = replace(plan, executor=options.executor, workers=options.workers, scheduler=options.scheduler)
    elif options.workers is not None or options.scheduler is not None:
        raise ValueError("--workers and --scheduler need --executor")
    if options.dry_run:
        print(study.dry_run(plan))
        return
    out = _outputs(options, plan.name)
    dataset = study.run(plan, store=options.out / f"{plan.name}.zarr", progress=_has_bar())
    # The store says whose study it is; these are made from it.
    results.save(dataset, out.data)
    if plan.picture is not None:
        study.draw(plan, dataset, out.picture)
    if options.json:
        _print_claims(study.claims(dataset))
    else:
        print(study.table(dataset))
    _say(f"wrote {out.data}{'' if plan.picture is None else f' and {out.picture}'}")


def _has_bar() -> bool:
    return sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None


@dataclass(frozen=True, slots=True)
class _Outputs:
    data: Path
    picture: Path


def _outputs(options: argparse.Namespace, name: str) -> _Outputs:
    """Return the names of the files of a study; refuse to start work whose results could not be written."""
    results.require()
    plotting.require()
    out = _Outputs(options.out / f"{name}.nc", options.out / f"{name}.png")
    for path in (out.data, out.picture):
        files.check_writable(path, "--out")
    return out


def _report(
    options: argparse.Namespace,
    out: _Outputs,
    dataset: Any,
    draw: Callable[[Any, Path], None],
    text: str,
    claims: Sequence[Claim],
    *,
    is_last: bool = True,
) -> None:
    """Draw the picture, print the table or, from the last report of a command, the claims; say what was written."""
    draw(dataset, out.picture)
    if not options.json:
        print(text, end="\n" if is_last else "\n\n")
    elif is_last:
        _print_claims(claims)
    _say(f"wrote {out.data} and {out.picture}")


def _print_claims(claims: Sequence[Claim]) -> None:
    print(json.dumps([claim.as_dict() for claim in claims], indent=2, allow_nan=False))


def _read_tokens(path: Path, *, is_normalized: bool) -> Tokens:
    """Return the one 2-D array of a .npy or .npz file."""
    try:
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if not isinstance(loaded, np.ndarray):
                for part in loaded.zip.infolist():
                    if part.file_size > 20 * part.compress_size + 2**20:  # tokens do not shrink like that
                        raise ValueError(f"it would unpack to {part.file_size / 1e9:.3g} GB")
                arrays = [loaded[name] for name in loaded.files[:2]]
                if len(arrays) != 1:
                    raise ValueError(f"it must hold one array, found {loaded.files}")
                loaded = arrays[0]
    except Exception as error:  # whatever a reader of a broken file may raise
        raise ValueError(
            f"--x0 {path} must be a .npy or .npz file of numbers: {error or type(error).__name__}"
        ) from error
    if loaded.ndim != 2 or loaded.dtype not in (np.float64, np.float32):
        raise ValueError(
            f"--x0 {path} must be a float64 or float32 array of shape (M, d), got {loaded.dtype} {loaded.shape}"
        )
    return normalize(loaded) if is_normalized else loaded


class _Progress:
    """A line on standard error that counts, from the start, where that is a terminal; silent otherwise."""

    def __init__(self, total: int, name: str, unit: str) -> None:
        self.total, self.name, self.unit, self.done = total, name, unit, 0
        self._is_shown = sys.stderr.isatty()
        self._start = self._last = time.monotonic()

    def __enter__(self) -> _Progress:
        self._show()
        return self

    def __exit__(self, *unused: object) -> None:
        self._show()
        if self._is_shown:
            _say("")

    def step(self) -> None:
        """Count one."""
        self.done += 1
        if time.monotonic() - self._last > 0.2:
            self._show()

    def _show(self) -> None:
        if not self._is_shown:
            return
        self._last = time.monotonic()
        elapsed = self._last - self._start
        left = (
            f", {duration(elapsed / self.done * (self.total - self.done))} left" if 0 < self.done < self.total else ""
        )
        text = f"{self.name}: {self.done} of {self.total} {self.unit}, {duration(elapsed)}{left}"
        _say(f"\r{text:<78}", end="")


if __name__ == "__main__":
    sys.exit(main())
