"""What an experiment tells the command line: its commands, and the studies that each runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import GenericAlias
from typing import Any, Protocol, get_args

from chaosphere.common.streams import Seed
from chaosphere.reporting.claims import Claim

Options = Mapping[str, Any]  # the options that the user gave, by the names of parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A study that a command runs: one dataset, with its picture, its table and its claims.

    Attributes
    ----------
    name : str
        Of the files, without ".nc" and ".png".
    run : callable
        Called with rng, n_threads, store (a path) and on_step; returns the dataset.
    claims : callable
        Takes the dataset.
    table : callable
        Takes the dataset, returns text.
    draw : callable
        Takes the dataset and the path of the picture, whose suffix says its kind.
    n_steps : int
        How often `run` calls on_step.
    unit : str
        What a step is, in the plural.
    identity : callable, optional
        Takes the seed, returns the identity of the study. Commands of several jobs compare it with the files before
        the first job runs.
    estimate : callable, optional
        Takes the number of threads; returns a line on the size of the study, and the seconds that it may take, or None
        where that is not known. Printed before the first job runs.
    """

    name: str
    run: Callable[..., Any]
    claims: Callable[[Any], list[Claim]]
    table: Callable[[Any], str]
    draw: Callable[[Any, Path], None]
    n_steps: int
    unit: str
    identity: Callable[[Seed], str] | None = None
    estimate: Callable[[int | None], tuple[str, float | None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command: `chaosphere NAME`.

    Attributes
    ----------
    name : str
    summary : str
        One line.
    description : str
    sources : sequence of callable
        Their parameters are the options: name, type and default from the signature, the text of the help from the
        docstring. Parameters without a default stand in the place of options. The prefix "n_" is dropped.
    jobs : callable
        Takes the options that the user gave, by the names of the parameters; returns the jobs.
    left_out : sequence of str
        Parameters of the sources that are no options. rng, n_threads, store and callbacks are none in any case.
    flags : mapping of str to str
        Names of options that are not those of their parameters.
    symbols : mapping of str to str
        What stands for the value of an option in the help.
    may_be_empty : sequence of str
        Parameters that are lists, and whose options may have no value.
    groups : mapping of str to sequence of str
        Titles in the help, with the parameters below them.
    """

    name: str
    summary: str
    description: str
    sources: Sequence[Callable[..., Any]]
    jobs: Callable[[Options], list[Job]]
    left_out: Sequence[str] = ()
    flags: Mapping[str, str] = field(default_factory=dict)
    symbols: Mapping[str, str] = field(default_factory=dict)
    may_be_empty: Sequence[str] = ()
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Study(Protocol):
    """A module with a study: `run`, whose keywords are options, and what takes its dataset."""

    @property
    def run(self) -> Callable[..., Any]:
        """Returns the dataset."""

    @property
    def claims(self) -> Callable[[Any], list[Claim]]:
        """Returns the claims."""

    @property
    def table(self) -> Callable[[Any], str]:
        """Returns text."""


def of_replicas(
    study: Study, options: Options, *, name: str, draw: Callable[[Any, Path], None], n_replicas: str = "n_replicas"
) -> Job:
    """Return the job of a study that calls on_step after each of its replicas.

    Parameters
    ----------
    study : module
    options : mapping
        That the user gave.
    name : str
        Of the files.
    draw : callable
        See `Job`.
    n_replicas : str
        The parameter of `run` that is the number of replicas.
    """

    def run(**shared: Any) -> Any:
        return call(study.run, options, **shared)

    return Job(
        name=name,
        run=run,
        claims=study.claims,
        table=study.table,
        draw=draw,
        n_steps=default(study.run, n_replicas, options),
        unit="replicas",
    )


def study_option(names: Any) -> Callable[..., Sequence[str]]:
    """Return the source of an option that chooses among several studies; by default all.

    Parameters
    ----------
    names : Literal
        Of the studies.
    """

    def studies(*, study: Sequence[str] = get_args(names)) -> Sequence[str]:
        """Return the chosen studies.

        Parameters
        ----------
        study : sequence of str
            What to run.
        """
        return study

    studies.__annotations__["study"] = GenericAlias(Sequence, (names,))
    return studies


def chosen(jobs: Mapping[str, Job], options: Options) -> list[Job]:
    """Return the jobs of the studies that the user chose, or all, in their order here."""
    names = options.get("study", jobs)
    return [job for name, job in jobs.items() if name in names]


def call(function: Callable[..., Any], options: Options, **more: Any) -> Any:
    """Call a function with those of the options that it has parameters for; its own defaults stand for the others."""
    names = inspect.signature(function).parameters
    return function(**{name: value for name, value in options.items() if name in names} | more)


def default(function: Callable[..., Any], name: str, options: Options) -> Any:
    """Return the value of an option: what the user gave, or else the function's default."""
    return options.get(name, inspect.signature(function).parameters[name].default)
