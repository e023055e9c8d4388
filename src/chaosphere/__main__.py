"""The command line: `chaosphere chaos` and `chaosphere info`."""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import MLP, SoftmaxAttention, Transformer, normalize, show_config
from chaosphere.checks import Tokens


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code, 0 when it ran and 2 for bad arguments."""
    parser = argparse.ArgumentParser(prog="chaosphere", description="Interacting particles on the unit sphere.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_chaos(commands)
    commands.add_parser("info", help="print version, instruction sets, threads, compiler")
    options = parser.parse_args(arguments)
    try:
        if options.command == "info":
            show_config()
        else:
            _chaos(options)
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"chaosphere {options.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"chaosphere {options.command}: interrupted; run it again to go on from there", file=sys.stderr)
        return 130
    return 0


def _add_chaos(commands: Any) -> None:
    parser = commands.add_parser(
        "chaos",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        help="errors of N tokens against a large reference under the same layers",
        description="Propagation of chaos: root-mean-square errors of the energy, the mean direction and the coupled "
        "path of N tokens against one large reference system under the same layers, and their slopes in N.",
    )
    parser.add_argument("--dim", type=int, help="dimension d of the tokens (default 3, or that of --x0)")
    parser.add_argument("--beta", type=float, default=1.0, help="QᵀK = βI")
    parser.add_argument("--value-scale", type=float, default=1.0, help="V = δI: 1 attracts, 0 is off, -1 repels")
    parser.add_argument("--activation", default="tanh", help="relu, silu, gelu, tanh, sigmoid, erf, sin, cos, linear")
    parser.add_argument("--bias-std", type=float, default=0.3, help="σ_U, standard deviation of the inner biases")
    parser.add_argument("--width", type=int, default=64, help="m, hidden units of a layer")
    parser.add_argument("--depth", type=int, default=32, help="L, number of layers")
    parser.add_argument("--horizon", type=float, default=1.0, help="T, time that the layers span")
    parser.add_argument("--tokens", type=int, nargs="+", metavar="N", help="ladder of N (default 64 … 8192)")
    parser.add_argument("--replicas", type=int, default=16, help="independent draws of tokens and layers")
    parser.add_argument("--x0", type=Path, metavar="FILE", help="your tokens, an (M, d) array in .npy or .npz")
    parser.add_argument("--normalize", action="store_true", help="project the tokens of --x0 to the sphere")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same numbers")
    parser.add_argument("--threads", type=int, help="number of threads (default all; never changes a result)")
    parser.add_argument(
        "--out", type=Path, default=Path("out"), metavar="DIR", help="folder for chaos.nc and chaos.png"
    )
    parser.add_argument("--json", action="store_true", help="print the slopes on stdout as JSON instead of the table")


def _chaos(options: argparse.Namespace) -> None:
    from chaosphere import plotting
    from chaosphere.experiments import chaos

    plotting.require()
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
    sizes = chaos.plan(model, options.tokens, x0=x0, n_replicas=options.replicas)
    print(
        f"{options.replicas} replicas, reference of {sizes.n_reference} tokens, {sizes.pairs:.2g} pair interactions",
        file=sys.stderr,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    store = options.out / "chaos.nc"
    with _Progress(options.replicas * options.depth) as bar:
        dataset = chaos.run(
            model,
            rng=options.seed,
            dim=3 if options.dim is None else options.dim,
            tokens=options.tokens,
            x0=x0,
            beta=options.beta if options.beta > 0 else 1.0,
            n_replicas=options.replicas,
            n_threads=options.threads,
            store=store,
            on_step=bar.step,
        )
    plotting.chaos(dataset, options.out / "chaos.png")
    if options.json:
        print(json.dumps([claim.as_dict() for claim in chaos.claims(dataset)], indent=2))
    else:
        print(chaos.table(dataset))
    print(f"wrote {store} and {options.out / 'chaos.png'}", file=sys.stderr)


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

    def __init__(self, n_steps: int) -> None:
        self._bar: Any = None
        if sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self._bar = tqdm(total=n_steps, unit="layer")

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *unused: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self) -> None:
        """Count one layer."""
        if self._bar is not None:
            self._bar.update()


if __name__ == "__main__":
    sys.exit(main())
