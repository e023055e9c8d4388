"""The command line: `chaosphere chaos | depth-width | sync | run FILE | figure N | table 1 | info`."""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import MLP, SoftmaxAttention, Transformer, normalize, plotting, results, show_config
from chaosphere.checks import Tokens
from chaosphere.results import Claim


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code, 0 when it ran and 2 for bad arguments."""
    parser = argparse.ArgumentParser(prog="chaosphere", description="Interacting particles on the unit sphere.")
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (_add_chaos, _add_depth_width, _add_sync, _add_run, _add_figure, _add_table):
        add(commands)
    info = commands.add_parser("info", help="print version, instruction sets, threads, compiler")
    info.set_defaults(run=lambda options: show_config())
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"chaosphere {options.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"chaosphere {options.command}: {str(error) or 'interrupted'}", file=sys.stderr)
        return 130
    return 0


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], None], text: str, more: str) -> Any:
    """Add a subcommand with the options that all experiments share."""
    parser = commands.add_parser(
        name, help=text, description=more, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.set_defaults(run=run)
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same numbers")
    parser.add_argument("--threads", type=int, help="number of threads (default all; never changes a result)")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="folder of the files written")
    parser.add_argument("--json", action="store_true", help="print the claims on stdout as JSON instead of the table")
    return parser


def _add_model_options(parser: Any, *, bias_std: float, value_scale: float) -> None:
    parser.add_argument("--beta", type=float, default=1.0, help="QᵀK = βI, and β of the energy (1 there if 0)")
    parser.add_argument(
        "--value-scale", type=float, default=value_scale, help="V = δI: 1 attracts, 0 is off, -1 repels"
    )
    parser.add_argument("--bias-std", type=float, default=bias_std, help="σ_U, standard deviation of the inner biases")


_NAMES = "relu, silu, gelu, tanh, sigmoid, erf, sin, cos, linear"


def _add_chaos(commands: Any) -> None:
    parser = _command(
        commands,
        "chaos",
        _chaos,
        "errors of N tokens against a large reference under the same layers",
        "Propagation of chaos: root-mean-square errors of the energy, the mean direction and the coupled path of N "
        "tokens against one large reference system under the same layers, and their slopes in N. Run again with more "
        "--replicas it goes on from the file it wrote.",
    )
    _add_model_options(parser, bias_std=0.3, value_scale=1.0)
    parser.add_argument("--dim", type=int, help="dimension d of the tokens (default 3, or that of --x0)")
    parser.add_argument("--activation", default="tanh", help=_NAMES)
    parser.add_argument("--width", type=int, default=64, help="m, hidden units of a layer")
    parser.add_argument("--depth", type=int, default=32, help="L, number of layers")
    parser.add_argument("--horizon", type=float, default=1.0, help="T, time that the layers span")
    parser.add_argument("--tokens", type=int, nargs="+", metavar="N", help="ladder of N (default 64 … 8192)")
    parser.add_argument("--replicas", type=int, default=16, help="independent draws of tokens and layers")
    parser.add_argument(
        "--nodes", type=int, default=0, help="compare with the mean-field limit on this many nodes (0: a finite system)"
    )
    parser.add_argument("--x0", type=Path, metavar="FILE", help="your tokens, an (M, d) array in .npy or .npz")
    parser.add_argument("--normalize", action="store_true", help="project the tokens of --x0 to the sphere")


def _chaos(options: argparse.Namespace) -> None:
    from chaosphere.experiments import chaos

    _require()
    x0 = None if options.x0 is None else _read_tokens(options.x0, is_normalized=options.normalize)
    if x0 is None and options.normalize:
        raise ValueError("--normalize needs --x0")
    if x0 is not None and options.dim not in (None, x0.shape[1]):
        raise ValueError(f"--dim must be {x0.shape[1]}, that of --x0, or be left out; got {options.dim}")
    model = Transformer(
        attention=SoftmaxAttention(beta=options.beta, value_scale=options.value_scale),
        mlp=MLP(width=options.width, activation=options.activation, bias_std=options.bias_std),
        depth=options.depth,
        horizon=options.horizon,
    )
    sizes = chaos.plan(model, options.tokens, x0=x0, n_replicas=options.replicas, n_nodes=options.nodes)
    kind = f"mean field on {sizes.n_nodes} nodes" if sizes.n_nodes else f"reference of {sizes.n_reference} tokens"
    print(
        f"{options.replicas} replicas, {kind}, {sizes.pairs:.2g} pair interactions",
        file=sys.stderr,
    )
    with _Progress(options.replicas * options.depth, "layer") as bar:
        dataset = chaos.run(
            model,
            rng=options.seed,
            dim=3 if options.dim is None else options.dim,
            tokens=options.tokens,
            x0=x0,
            beta=options.beta if options.beta > 0 else 1.0,
            n_nodes=options.nodes,
            n_replicas=options.replicas,
            n_threads=options.threads,
            store=_file(options, "chaos.nc"),
            on_step=bar.step,
        )
    _report(options, "chaos", dataset, plotting.chaos, chaos.table(dataset), chaos.claims(dataset))


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

    _require()
    attention = None
    if options.value_scale != 0:
        attention = SoftmaxAttention(beta=options.beta, value_scale=options.value_scale)
    with _Progress(options.replicas, "replica") as bar:
        dataset = depth_width.run(
            MLP(width=1, activation=options.activation, bias_std=options.bias_std),
            rng=options.seed,
            attention=attention,
            dim=options.dim,
            n_tokens=options.tokens,
            horizon=options.horizon,
            depths=options.depths,
            widths=options.widths,
            refinement=options.refinement,
            n_replicas=options.replicas,
            n_threads=options.threads,
            store=_file(options, "depth-width.nc"),
            on_step=bar.step,
        )
    _report(
        options,
        "depth-width",
        dataset,
        plotting.depth_width,
        depth_width.table(dataset),
        depth_width.claims(dataset),
    )


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

    _require()
    with _Progress(len(options.activations), "activation") as bar:
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
            on_run=bar.step,
        )
    results.save(dataset, _file(options, "sync.nc"))
    _report(
        options,
        "sync",
        dataset,
        plotting.synchronization,
        synchronization.table(dataset),
        synchronization.claims(dataset),
    )


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

    _require()
    if options.number == 1 and options.replicas != 1:
        raise ValueError("--replicas is for figures 2 to 6")
    name = f"figure-{options.number}"
    with _Progress({1: 2, 6: 9}.get(options.number, 18), "run") as bar:
        if options.number == 1:
            dataset = paper.figure_1(rng=options.seed, n_threads=options.threads, on_run=bar.step)
        else:
            dataset = paper.figure(
                options.number,
                rng=options.seed,
                n_replicas=options.replicas,
                n_threads=options.threads,
                on_run=bar.step,
            )
    results.save(dataset, _file(options, f"{name}.nc"))
    draw = plotting.tokens if options.number == 1 else plotting.cosines_and_energy
    _report(options, name, dataset, draw, dataset.attrs["title"], [])


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

    _require()
    dataset = paper.table(dims=options.dims, bias_stds=options.bias_std, activations=options.activations)
    results.save(dataset, _file(options, "table-1.nc"))
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
    curves = paper.table(dims=between, bias_stds=options.bias_std, activations=options.activations)

    def draw(_: Any, path: Path) -> None:
        plotting.exponents(curves, path)

    _report(options, "table-1", dataset, draw, paper.format_table(dataset), claims)


def _add_run(commands: Any) -> None:
    parser = _command(
        commands,
        "run",
        _run,
        "run the study that a TOML file describes",
        "A study: a model, a law of the tokens, a sweep over parameters, observables, and where to run. It grows in "
        "DIR/NAME.zarr, and started again it continues from there.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the study, a TOML file")
    parser.add_argument("--executor", choices=["none", "processes", "dask", "mpi"], help="instead of the file's")
    parser.add_argument("--workers", type=int, help="with --executor processes or dask (default one per processor)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="with --executor dask: a cluster that is there already")
    parser.add_argument("--dry-run", action="store_true", help="check the file and print the plan; run nothing")
    parser.set_defaults(seed=None)


def _run(options: argparse.Namespace) -> None:
    from chaosphere import study

    asked = study.read(options.file)
    if options.seed is not None:
        asked = replace(asked, first_seed=options.seed)
    if options.threads is not None:
        asked = replace(asked, threads=options.threads)
    if options.executor is not None:
        asked = replace(asked, executor=options.executor, workers=options.workers, scheduler=options.scheduler)
    elif options.workers is not None or options.scheduler is not None:
        raise ValueError("--workers and --scheduler need --executor")
    if options.dry_run:
        print(study.dry_run(asked))
        return
    _require()
    dataset = study.run(asked, store=_file(options, f"{asked.name}.zarr"), progress=sys.stderr.isatty())
    file, picture = _file(options, f"{asked.name}.nc"), _file(options, f"{asked.name}.png")
    results.save(dataset, file)
    if asked.picture is not None:
        study.draw(asked, dataset, picture)
    claims = [claim.as_dict() for claim in study.claims(dataset)]
    print(json.dumps(claims, indent=2) if options.json else study.table(dataset))
    print(f"wrote {file}{'' if asked.picture is None else f' and {picture}'}", file=sys.stderr)


def _require() -> None:
    """Refuse to start work whose results could not be written."""
    results.require()
    plotting.require()


def _file(options: argparse.Namespace, name: str) -> Path:
    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def _report(
    options: argparse.Namespace,
    name: str,
    dataset: Any,
    draw: Callable[[Any, Path], None],
    text: str,
    claims: Sequence[Claim],
) -> None:
    """Draw the picture, print the table or the claims, and say what was written."""
    picture = _file(options, f"{name}.png")
    draw(dataset, picture)
    print(json.dumps([claim.as_dict() for claim in claims], indent=2) if options.json else text)
    print(f"wrote {_file(options, f'{name}.nc')} and {picture}", file=sys.stderr)


def _read_tokens(path: Path, *, is_normalized: bool) -> Tokens:
    """Return the one 2-D array of a .npy or .npz file."""
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"--x0 {path} must be a .npy or .npz file of numbers: {error}") from error
    if not isinstance(loaded, np.ndarray):
        with loaded:
            if len(loaded.files) != 1:
                raise ValueError(f"--x0 {path} must hold one array, found {loaded.files}")
            loaded = loaded[loaded.files[0]]
    if loaded.ndim != 2 or loaded.dtype not in (np.float64, np.float32):
        raise ValueError(
            f"--x0 {path} must be a float64 or float32 array of shape (M, d), got {loaded.dtype} {loaded.shape}"
        )
    return normalize(loaded) if is_normalized else loaded


class _Progress:
    """A bar on stderr when that is a terminal and tqdm is there; silent otherwise."""

    def __init__(self, n_steps: int, unit: str) -> None:
        self._bar: Any = None
        if sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self._bar = tqdm(total=n_steps, unit=unit)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *unused: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self) -> None:
        """Count one."""
        if self._bar is not None:
            self._bar.update()


if __name__ == "__main__":
    sys.exit(main())
