"""The command `chaosphere run FILE`."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from dataclasses import replace
from typing import Any

from chaosphere.cli import options, ranks
from chaosphere.cli.progress import say
from chaosphere.cli.report import outputs, print_claims
from chaosphere.common import files
from chaosphere.ensembles import study, study_file
from chaosphere.ensembles.ranks import Ranks
from chaosphere.reporting import netcdf


def add(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "run",
        help="run the study that a TOML file describes",
        description="Run the study that a TOML file describes: a model, a law of the tokens, a sweep over parameters, "
        "observables, and an executor. Finished runs are kept in DIR/NAME.zarr, and the same command continues from "
        "there.",
    )
    parser.add_argument("file", metavar="FILE", help="the study, a TOML file")
    parser.add_argument(
        "--executor", choices=["none", "processes", "dask", "mpi"], help="where to run (default: as the file says)"
    )
    parser.add_argument(
        "--workers", type=int, help="number of workers, with --executor processes or dask (default: one per processor)"
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="with --executor dask: address of a running Dask cluster"
    )
    parser.add_argument(
        ranks.FLAG,
        action="store_true",
        help="under mpiexec: the ranks share the tokens of each run, and each draws its own; for observables that "
        "are sums over tokens (energy, order_parameter, mean_cosine, radius_moment)",
    )
    parser.add_argument("--dry-run", action="store_true", help="check the file and print the plan; run nothing")
    options.add_shared(parser, seed=None)
    parser.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> None:
    options.check_shared(parsed)
    options.check_count(parsed.workers, "workers")
    path = files.local(parsed.file, "FILE")
    try:
        plan = study_file.read(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error
    if parsed.seed is not None:
        plan = replace(plan, first_seed=parsed.seed)
    if parsed.threads is not None:
        plan = replace(plan, threads=parsed.threads)
    if parsed.executor is not None:
        plan = replace(plan, executor=parsed.executor, workers=parsed.workers, scheduler=parsed.scheduler)
    elif parsed.workers is not None or parsed.scheduler is not None:
        raise ValueError("--workers and --scheduler need --executor")
    if parsed.spread:
        if parsed.executor is not None:
            raise ValueError("--spread must be given without --executor: all ranks share each run")
        plan = replace(plan, executor="none", workers=None, scheduler=None, ranks=Ranks.of_world())
    if parsed.dry_run:
        print(study.dry_run(plan))
        return
    if plan.ranks is None or plan.ranks.is_first:
        out = outputs(parsed.out, plan.name, kind=parsed.format)
    dataset = study.run(plan, store=parsed.out / f"{plan.name}.zarr", progress=_has_bar())
    if dataset is None:  # the first rank has it
        return
    # The store says whose study it is; these are made from it.
    netcdf.save(dataset, out.data)
    if plan.picture is not None:
        study.draw(plan, dataset, out.picture)
    if parsed.json:
        print_claims(study.claims(dataset))
    else:
        print(study.table(dataset))
    say(f"wrote {out.data}{'' if plan.picture is None else f' and {out.picture}'}")


def _has_bar() -> bool:
    return sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None
