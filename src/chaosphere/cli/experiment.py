"""The commands of the experiments: `chaosphere chaos`, `depth-width`, `mean-field`, `sync`, `figure N`, `table 1`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from chaosphere.cli import options
from chaosphere.cli.progress import Progress, say
from chaosphere.cli.report import outputs, print_claims
from chaosphere.common.reprs import duration
from chaosphere.ensembles.ranks import Ranks
from chaosphere.experiments import pieces
from chaosphere.experiments.command import Command, Job
from chaosphere.reporting import claims, netcdf
from chaosphere.reporting.claims import Claim


def add(subparsers: Any, command: Command) -> None:
    """Add the command of an experiment."""
    parser = subparsers.add_parser(command.name, help=command.summary, description=command.description)
    options.add(parser, command)
    options.add_shared(parser)
    parser.set_defaults(run=lambda parsed: _run(parsed, command))


def _run(parsed: argparse.Namespace, command: Command) -> None:
    """Check everything, then run every job of the command and report."""
    options.check_shared(parsed)
    jobs = command.jobs(options.values(parsed, command))
    is_spread = vars(parsed).get("spread")
    if is_spread and not Ranks.of_world().is_first:
        for job in jobs:
            job.run(rng=parsed.seed, n_threads=parsed.threads, store=None, on_step=None)
        return
    places = [outputs(parsed.out, job.name, kind=parsed.format) for job in jobs]
    # Before identities, which take a while for large sizes. A job without one that is alone begins with its checks.
    for job in jobs:
        if not is_spread and (len(jobs) > 1 or job.identity is not None):
            pieces.check(partial(job.run, rng=parsed.seed, n_threads=parsed.threads, store=None, on_step=None))
    for job, out in zip(jobs, places, strict=True):
        if job.identity is not None:
            netcdf.resume(out.data, job.identity(parsed.seed))
    _say_estimate(jobs, parsed.threads)
    rows: list[Claim] = []
    for job, out in zip(jobs, places, strict=True):
        with Progress(job.n_steps, name=job.name, unit=job.unit) as bar:
            dataset = job.run(rng=parsed.seed, n_threads=parsed.threads, store=out.data, on_step=bar.step)
        rows += job.claims(dataset)
        job.draw(dataset, out.picture)
        if not parsed.json:
            print(job.table(dataset), end="\n" if len(jobs) == 1 else "\n\n")
        say(f"wrote {out.data} and {out.picture}")
    if parsed.json:
        print_claims(rows)
    elif len(jobs) > 1:
        print(f"Summary\n{claims.summary(rows)}")


def _say_estimate(jobs: Sequence[Job], n_threads: int | None) -> None:
    """Say what each job will do, and how long all may take, where the jobs know it."""
    lines, total, unknown = [], 0.0, ""
    for job in jobs:
        if job.estimate is None:
            continue
        text, seconds = job.estimate(n_threads)
        if seconds is None:
            unknown += f" and {job.name}"
        else:
            total += seconds
            text += f", about {duration(seconds)}"
        lines.append(f"{job.name:>18}  {text}")
    if lines:
        say("\n".join([*lines, f"{'estimated time':>18}  {duration(total)}{unknown}"]))
