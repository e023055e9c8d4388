"""Fluctuations of N tokens about their limit: the runs.

Many disjoint systems of N i.i.d. tokens run under the layers of one limit. The deviation √N (m^N − m) of their mean
vectors from that of the limit has, as N → ∞, the covariance of `chaosphere.fluctuations` and a Gaussian law,
conditional on the layers. The deviations are divided by the root of that covariance, so that their components are to be
independent standard normal variables.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy

from chaosphere import measures
from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.streams import Seed, root
from chaosphere.experiments.arguments import checked
from chaosphere.experiments.cases import CONCENTRATION, start_law
from chaosphere.experiments.models import MakeInteraction
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.geometry.laws import Law
from chaosphere.models.mean_field import MeanField
from chaosphere.models.transformer import Transformer
from chaosphere.reporting import netcdf
from chaosphere.simulation.fluctuations import fluctuations
from chaosphere.simulation.identity import describe
from chaosphere.simulation.loop import simulate

TOKENS, N_SAMPLES = (64, 256, 1024), 2**16
_NODES = {2: 128, 3: 800}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A network and the law of its tokens.

    Parameters
    ----------
    name : str
    model : Transformer
    law : Law
        Of the initial tokens, which are i.i.d.
    n_nodes : int
        Nodes of the mean-field limit, at least 8.
    """

    name: str
    model: Transformer
    law: Law
    n_nodes: int


def cases(model: Transformer, make: MakeInteraction) -> list[Case]:
    """Return the network on the circle and on the sphere S², with its layers and without."""
    rows = []
    for dim, n_nodes in _NODES.items():
        attention = make(dim=dim)
        rows.append(
            Case(
                name=f"d = {dim}",
                model=replace(model, attention=attention),
                law=start_law(dim, CONCENTRATION),
                n_nodes=n_nodes,
            )
        )
    return rows


def run(
    cases: Sequence[Case],
    *,
    rng: Seed,
    tokens: Sequence[int] = TOKENS,
    n_samples: int = N_SAMPLES,
    n_replicas: int = 12,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Take the deviations of mean vectors from the limit, over the root of their predicted covariance.

    Parameters
    ----------
    cases : sequence of Case
        With different names.
    rng : int, SeedSequence or Generator
        Replica r has its own tokens and layers, the same for every number of replicas.
    tokens : sequence of int
        Increasing numbers of tokens N.
    n_samples : int
        Tokens of all systems of one N in a replica, at least the largest N.
    n_replicas : int
        Independent draws of tokens and layers, at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the replicas; replicas of the same study in it are not computed again.
    on_step : callable, optional
        Called after every case of every replica.

    Returns
    -------
    xarray.Dataset
        deviation (case, replica, n_tokens, system, component): √N (m^N − m) in units of the prediction, not-a-number
        beyond the systems and components that there are; ratio (case, replica, n_tokens): its mean square; node_error
        (case, replica): relative error of the predicted variance, from half as many nodes under the same layers.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Notes
    -----
    n_samples times N pair interactions per layer and N, and about 4 d times the squared number of nodes for the
    prediction.

    Examples
    --------
    >>> import chaosphere as cs
    >>> model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=2, horizon=0.5)
    >>> case = Case(name="d = 2", model=model, law=cs.laws.Uniform(dim=2), n_nodes=16)
    >>> data = run([case], rng=0, tokens=[16, 32], n_samples=64, n_replicas=2)
    >>> data["deviation"].dims
    ('case', 'replica', 'n_tokens', 'system', 'component')
    """
    n_replicas = checks.integer(n_replicas, "n_replicas", low=2)
    ladder = checks.increasing(tokens, "tokens", low=2)
    n_samples = checks.integer(n_samples, "n_samples", low=ladder[-1])
    n_threads = checks.threads(n_threads)
    cases = checked(cases, Case)
    for case in cases:
        several = {"dim": case.law.dim, "n_steps": case.model.n_steps, "n_replicas": n_replicas}
        check_size(n_tokens=max(n_samples, case.n_nodes * case.law.dim), **several)  # tangents of each coordinate
    sequence = root(rng)
    study = identity(cases, rng=sequence, tokens=ladder, n_samples=n_samples)

    shape = (len(cases), len(ladder), n_samples // ladder[0], max(case.law.dim for case in cases))

    def measure(replica: int) -> tuple[Floats, Floats]:
        key = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica))
        out, node_error = np.full(shape, np.nan), np.zeros(len(cases))
        for k, (of_case, case) in enumerate(zip(out, cases, strict=True)):
            half, predicted = (
                fluctuations(MeanField(model=case.model, law=case.law, n_nodes=n_nodes), rng=key, n_threads=n_threads)
                for n_nodes in (case.n_nodes // 2, case.n_nodes)
            )
            ratios = scipy.linalg.eigh(half.covariance, predicted.covariance, eigvals_only=True)
            node_error[k] = np.abs(ratios - 1).max()
            factor = np.linalg.cholesky(predicted.covariance)
            x = case.law.sample(n_samples, rng=key)
            for of_size, n in zip(of_case, ladder, strict=True):
                systems = x[: n_samples // n * n].reshape(-1, n, case.law.dim)
                end = simulate(case.model, systems, rng=key, shared_noise=True, n_threads=n_threads).final
                gap = np.sqrt(n) * (measures.mean_vector(end) - predicted.means)
                of_size[: len(gap), : case.law.dim] = scipy.linalg.solve_triangular(factor, gap.T, lower=True).T
            if on_step is not None:
                on_step()
        return out, node_error

    return grow(
        measure,
        n_pieces=n_replicas,
        identity=study,
        to_dataset=lambda pieces: _to_dataset(pieces, cases=cases, identity=study),
        from_dataset=_from_dataset,
        store=store,
        on_step=on_step,
        n_inner_steps=len(cases),
        n_least=2,
    )


def identity(cases: Sequence[Case], *, rng: Seed, tokens: Sequence[int] = TOKENS, n_samples: int = N_SAMPLES) -> str:
    """Return what decides the numbers of a study, as JSON; parameters as those of `run`."""
    facts = {"cases": [describe(case) for case in cases], "tokens": list(tokens), "n_samples": n_samples}
    return netcdf.identity(facts, root(rng))


def _from_dataset(dataset: Any) -> list[tuple[Floats, Floats]]:
    names = ("deviation", "node_error")
    return list(zip(*(dataset[name].transpose("replica", ...).values for name in names), strict=True))


def _to_dataset(pieces: Sequence[tuple[Floats, Floats]], *, cases: Sequence[Case], identity: str) -> Any:
    deviation, node_error = (np.stack(parts, axis=1) for parts in zip(*pieces, strict=True))
    model = cases[0].model
    parts = [f"L = {model.depth}", f"T = {model.horizon:g}", type(model.attention).__name__]
    return checks.extra("xarray", "io").Dataset(
        {
            "deviation": (("case", "replica", "n_tokens", "system", "component"), deviation),
            "ratio": (("case", "replica", "n_tokens"), np.nanmean(deviation**2, axis=(3, 4))),
            "node_error": (("case", "replica"), node_error),
        },
        coords={"case": [case.name for case in cases], "n_tokens": json.loads(identity)["tokens"]},
        attrs={
            "title": f"Fluctuations about the mean-field limit, {len(pieces)} replicas\n{', '.join(parts)}",
            "identity": identity,
        },
    )
