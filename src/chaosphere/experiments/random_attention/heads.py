"""Two tokens under random heads: the limit of many layers does not depend on the number of heads."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.streams import Seed, root
from chaosphere.experiments import estimates
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.interactions.random_attention import RandomAttention
from chaosphere.models.transformer import Transformer
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.simulation.identity import describe
from chaosphere.simulation.loop import simulate
from chaosphere.theory import two_point

_RELEVANT = 0.05  # of a mean cosine


def run(
    *,
    rng: Seed,
    heads: Sequence[int] = (1, 8),
    head_dim: int = 3,
    query_key_std: float = 1.5,
    head_tokens_dim: int = 3,
    head_horizon: float = 1.0,
    n_head_steps: int = 50,
    n_head_pairs: int = 200,
    n_head_replicas: int = 12,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Run pairs of orthogonal tokens under random heads with σ² = 1/d, and take the mean cosine over time.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Replica r has its own layers, the same for every number of replicas.
    heads : sequence of int
        Increasing numbers H of heads.
    head_dim : int
        Rows k of Q and K.
    query_key_std : float
        Standard deviation of their entries.
    head_tokens_dim : int
        d of the study of heads.
    head_horizon : float
        T of the study of heads.
    n_head_steps : int
        Layers L of the study of heads.
    n_head_pairs : int
        Pairs of a replica of the study of heads, each with layers of its own.
    n_head_replicas : int
        Replicas of the study of heads, at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the replicas; replicas of the same study in it are not computed again.
    on_step : callable, optional
        Called after every replica.

    Returns
    -------
    xarray.Dataset
        cosine (replica, heads, time), the mean over pairs; expected (time), by the equation of two tokens.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Examples
    --------
    >>> data = run(rng=0, heads=[1, 2], n_head_steps=4, n_head_pairs=5, n_head_replicas=2)
    >>> data["cosine"].dims
    ('replica', 'heads', 'time')
    """
    ladder = checks.increasing(heads, "heads", low=1)
    dim = checks.integer(head_tokens_dim, "head_tokens_dim", low=2)
    n_steps = checks.integer(n_head_steps, "n_head_steps", low=2)
    n_pairs, n_replicas = (
        checks.integer(value, name, low=low)
        for value, name, low in ((n_head_pairs, "n_head_pairs", 1), (n_head_replicas, "n_head_replicas", 2))
    )
    horizon, n_threads = checks.number(head_horizon, "head_horizon", above=0, high=1e6), checks.threads(n_threads)
    models = [
        Transformer(
            attention=RandomAttention(
                n_heads=h, head_dim=head_dim, query_key_std=query_key_std, value_std=1 / math.sqrt(dim)
            ),
            mlp=None,
            depth=n_steps,
            horizon=horizon,
        )
        for h in ladder
    ]
    steps = np.unique(np.linspace(0, n_steps, min(n_steps, 10) + 1).round())
    times = steps * horizon / n_steps
    n_layer_numbers = n_pairs * ladder[-1] * (2 * dim**2 + 2 * head_dim * dim)
    several = {"n_steps": n_steps, "n_replicas": n_replicas, "n_layer_numbers": n_layer_numbers}
    check_size(n_tokens=2 * n_pairs * len(times), dim=dim, **several)
    pair = RandomAttention(head_dim=head_dim, query_key_std=query_key_std, value_std=1 / math.sqrt(dim)).pair(dim)
    sequence = root(rng)
    facts = {"models": [describe(model) for model in models], "dim": dim, "n_pairs": n_pairs}
    study = netcdf.identity(facts, sequence)
    start = np.zeros((n_pairs, 2, dim))
    start[:, 0, 0] = start[:, 1, 1] = 1.0

    def measure(replica: int) -> Floats:
        out = np.empty((len(models), len(times)))
        for j, model in enumerate(models):
            key = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica, j))
            x = simulate(model, start, rng=key, save_at=times, n_threads=n_threads).states
            out[j] = np.einsum("trc,trc->tr", x[:, :, 0], x[:, :, 1]).mean(axis=1)
        return out

    return grow(
        measure,
        n_pieces=n_replicas,
        identity=study,
        to_dataset=lambda pieces: _to_dataset(pieces, ladder, times=times, pair=pair, identity=study),
        from_dataset=lambda dataset: list(dataset["cosine"].values),
        store=store,
        on_step=on_step,
        n_least=2,
    )


def claims(dataset: Any) -> list[Claim]:
    """Return the mean cosines at the middle and the end of the run beside the equation of two tokens."""
    rows, times = [], dataset["time"].values
    for (j, h), k in itertools.product(enumerate(dataset["heads"].values), (len(times) // 2, len(times) - 1)):
        interval = stats.mean_interval(dataset["cosine"].values[:, j, k], at_least=-1, at_most=1)
        label = f"H = {h}: mean cosine at t = {times[k]:g}"
        expected = float(dataset["expected"][k])
        rows.append(estimates.from_interval(label, interval, expected=expected, relevant=_RELEVANT))
    return rows


def table(dataset: Any) -> str:
    """Return the claims as text."""
    return "\n".join([dataset.attrs["title"], "", format_claims(claims(dataset))])


def _to_dataset(
    pieces: Sequence[Floats], heads: Sequence[int], *, times: Floats, pair: two_point.PairNoise, identity: str
) -> Any:
    attention = json.loads(identity)["models"][0]["attention"]
    parts = [f"k = {attention['head_dim']}", f"entries of Q, K: {attention['query_key_std']:g}", f"T = {times[-1]:g}"]
    return checks.extra("xarray", "io").Dataset(
        {
            "cosine": (("replica", "heads", "time"), np.stack(pieces)),
            "expected": (("time",), two_point.expectation(pair, lambda u: u, times, u0=0.0)),
        },
        coords={"heads": list(heads), "time": times},
        attrs={
            "title": f"Two tokens under random heads, {len(pieces)} replicas\n{', '.join(parts)}",
            "identity": identity,
        },
    )
