"""Two tokens under random values: whether they end in one point or opposite, over d and β."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.streams import Seed, root
from chaosphere.experiments import estimates
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.geometry import sphere
from chaosphere.interactions.random_attention import RandomAttention
from chaosphere.models.transformer import Transformer
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.reporting.digits import significant
from chaosphere.simulation.identity import describe
from chaosphere.simulation.loop import simulate
from chaosphere.theory import two_point

_NEAR = 1e-6  # distance of pairs whose exponent is measured
_MAX_SHARE, _MAX_GROWTH = 1 / 16, 5.0  # of the time that they are followed, and of the logarithm of their distance
_SETTLED = 1.0  # mean of the logarithm of a distance, in standard deviations, from which on pairs count as settled
_MAX_LARGE = 0.2  # half-width of an interval that says something about a probability


def run(
    *,
    rng: Seed,
    dims: Sequence[int] = (2, 3, 4, 6),
    betas: Sequence[float] = (0.5, 1.0, 2.0, 4.0),
    cosine: float = 0.0,
    n_pairs: int = 400,
    horizon: float = 16.0,
    n_steps: int = 320,
    n_replicas: int = 12,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Run pairs of tokens under random values, with σ = 1, and count those that end opposite.

    Close and nearly opposite pairs, at the distance 1e-6 of either end, give the exponents of |X − Y| and |X + Y| in as
    many layers and at most a sixteenth of the time: steps shift exponents in proportion to their size.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Replica r has its own layers, the same for every number of replicas.
    dims : sequence of int
        Dimensions d.
    betas : sequence of float
        Increasing values of β.
    cosine : float
        Cosine u of the two tokens at the start, in (−1, 1).
    n_pairs : int
        Pairs of a replica, each with layers of its own.
    horizon : float
        Time T that the layers span.
    n_steps : int
        Layers L.
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
        share (replica, dim, beta), of the pairs with a negative cosine at time T; exponent (replica, dim, beta, end),
        of the distance from either end; probability (dim, beta) and exponent_expected (dim, beta, end) of
        `RandomAttention.pair`.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Examples
    --------
    >>> data = run(rng=0, dims=[3], betas=[1.0], n_pairs=20, n_steps=20, n_replicas=2)
    >>> data["share"].dims
    ('replica', 'dim', 'beta')
    """
    dims = checks.increasing(dims, "dims", low=2)
    betas = [checks.number(beta, "betas", low=0, high=1e6) for beta in checks.sequence(betas, "betas")]
    if not betas or any(b <= a for a, b in itertools.pairwise(betas)):
        raise ValueError(f"betas must be increasing, at least one, got {betas}")
    cosine = checks.number(cosine, "cosine", above=-1)
    if not cosine < 1:
        raise ValueError(f"cosine must be < 1, got {cosine:g}")
    n_pairs, n_steps = checks.integer(n_pairs, "n_pairs", low=1), checks.integer(n_steps, "n_steps", low=4)
    horizon = checks.number(horizon, "horizon", above=0, high=1e6)
    n_replicas, n_threads = checks.integer(n_replicas, "n_replicas", low=2), checks.threads(n_threads)
    check_size(
        n_tokens=2 * n_pairs,
        dim=dims[-1],
        n_steps=n_steps,
        n_replicas=n_replicas,
        n_layer_numbers=n_pairs * dims[-1] ** 2,
        n_results=3 * n_replicas * len(dims) * len(betas),
    )
    models = [
        Transformer(attention=RandomAttention(beta=beta), mlp=None, depth=n_steps, horizon=horizon) for beta in betas
    ]
    sequence = root(rng)
    facts = {"models": [describe(m) for m in models], "dims": list(dims), "cosine": cosine, "n_pairs": n_pairs}
    facts |= {"near": _NEAR, "max_share": _MAX_SHARE, "max_growth": _MAX_GROWTH}
    study = netcdf.identity(facts, sequence)

    def measure(replica: int) -> Floats:
        out = np.empty((len(dims), len(betas), 3))
        for (i, dim), (j, model) in itertools.product(enumerate(dims), enumerate(models)):
            key = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica, i, j))
            largest = float(np.abs(RandomAttention(beta=betas[j]).pair(dim).exponents()).max())
            out[i, j] = _measured(
                model, dim, largest=largest, cosine=cosine, n_pairs=n_pairs, key=key, n_threads=n_threads
            )
        return out

    return grow(
        measure,
        n_pieces=n_replicas,
        identity=study,
        to_dataset=lambda pieces: _to_dataset(pieces, dims=dims, betas=betas, horizon=horizon, identity=study),
        from_dataset=_from_dataset,
        store=store,
        on_step=on_step,
        n_least=2,
    )


def claims(dataset: Any) -> list[Claim]:
    """Return probabilities and exponents beside those of the pair equation, from the dataset of `run`.

    There is no claim on a probability where an exponent is so small that pairs have not settled by time T.
    """
    rows = []
    for i, dim in enumerate(dataset["dim"].values):
        for j, beta in enumerate(dataset["beta"].values):
            name, cell = f"d = {dim}, β = {beta:g}", dataset.isel(dim=i, beta=j)
            exponents = cell["exponent_expected"].values
            spread = math.sqrt(1 + math.tanh(beta) ** 2)  # per unit of √T, of pairs that are nearly opposite
            is_settled = np.abs(exponents).min() * math.sqrt(dataset.attrs["horizon"]) >= _SETTLED * spread
            expected = float(cell["probability"]) if is_settled else None
            label = f"{name}: probability to end opposite"
            rows.append(estimates.from_interval(label, interval(cell), expected=expected, relevant=_MAX_LARGE))
            for k, end in enumerate(dataset["end"].values):
                measured = stats.mean_interval(cell["exponent"].values[:, k])
                label = f"{name}: exponent of {end}"
                rows.append(estimates.from_interval(label, measured, expected=float(exponents[k]), relevant=0.2))
    return rows


def table(dataset: Any) -> str:
    """Return the measured and the exact probabilities, and the claims, as text."""
    lines = [dataset.attrs["title"], "", "probability to end opposite: measured, and by the pair equation"]
    betas = dataset["beta"].values
    lines.append(" " * 10 + "".join(f"{f'β = {beta:g}':>20}" for beta in betas))
    share, exact = dataset["share"].mean("replica").values, dataset["probability"].values
    for i, dim in enumerate(dataset["dim"].values):
        pairs = zip(share[i], exact[i], strict=True)
        cells = (", ".join(significant(value, n_digits=4) for value in pair) for pair in pairs)
        lines.append(f"{f'd = {dim}':>10}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join([*lines, "", format_claims(claims(dataset))])


def interval(cell: Any) -> stats.Interval:
    """Return the share of all pairs of one d and β that end opposite, with its interval: pairs are independent."""
    n_pairs = int(cell.attrs["n_pairs"])
    hits = int(np.rint(cell["share"].values * n_pairs).sum())
    return stats.probability_interval(np.arange(n_pairs * cell.sizes["replica"]) < hits)


def threshold(dim: float) -> float:
    """Return the β above which opposite tokens attract: tanh²β = (d − 3)/(d − 1), 0 for d <= 3."""
    return math.atanh(math.sqrt(max(dim - 3.0, 0.0) / (dim - 1.0)))


def _measured(
    model: Transformer,
    dim: int,
    *,
    largest: float,
    cosine: float,
    n_pairs: int,
    key: np.random.SeedSequence,
    n_threads: int,
) -> tuple[float, float, float]:
    """Return the share of pairs that end opposite, and exponents at the ends, in size up to `largest`."""

    def final(u: float, distance: float, share: float) -> Floats:
        x = np.zeros((n_pairs, 2, dim))
        x[:, 0, 0], x[:, 1, 0] = 1.0, u
        x[:, 1, 1] = distance
        part = replace(model, horizon=model.horizon * share)
        return np.asarray(simulate(part, sphere.normalize(x), rng=key, n_threads=n_threads).final)

    x = final(cosine, math.sqrt(1 - cosine**2), 1.0)
    share = float(np.mean(np.einsum("rc,rc->r", x[:, 0], x[:, 1]) < 0))
    exponents = []
    short = min(_MAX_SHARE, _MAX_GROWTH / (largest * model.horizon))
    for sign in (1.0, -1.0):
        x = final(sign, _NEAR, short)
        growth = np.log(np.linalg.norm(x[:, 0] - sign * x[:, 1], axis=1) / _NEAR)
        exponents.append(float(growth.mean()) / (short * model.horizon))
    return share, exponents[0], exponents[1]


def _from_dataset(dataset: Any) -> list[Floats]:
    return list(np.concatenate([dataset["share"].values[..., None], dataset["exponent"].values], axis=3))


def _to_dataset(
    pieces: Sequence[Floats], *, dims: Sequence[int], betas: list[float], horizon: float, identity: str
) -> Any:
    study, rows = json.loads(identity), np.stack(pieces)
    probability, exponents = np.empty((len(dims), len(betas))), np.empty((len(dims), len(betas), 2))
    for (i, dim), (j, beta) in itertools.product(enumerate(dims), enumerate(betas)):
        pair = RandomAttention(beta=beta).pair(dim)
        exponents[i, j] = pair.exponents()
        probability[i, j] = two_point.hitting_probabilities(pair, study["cosine"]).minus
    parts = [f"u = {study['cosine']:g}", f"{study['n_pairs']} pairs", f"T = {horizon:g}"]
    per_cell = ("dim", "beta")
    return checks.extra("xarray", "io").Dataset(
        {
            "share": (("replica", *per_cell), rows[..., 0]),
            "exponent": (("replica", *per_cell, "end"), rows[..., 1:]),
            "probability": (per_cell, probability),
            "exponent_expected": ((*per_cell, "end"), exponents),
        },
        coords={"dim": list(dims), "beta": betas, "end": ["|X − Y|", "|X + Y|"]},
        attrs={
            "horizon": horizon,
            "cosine": study["cosine"],
            "n_pairs": study["n_pairs"],
            "title": f"Two tokens under random values, {len(pieces)} replicas\n{', '.join(parts)}",
            "identity": identity,
        },
    )
