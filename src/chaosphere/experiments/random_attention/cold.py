"""Random heads at low temperature: the covariance of the noise, and which heads bring close tokens together."""

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
from chaosphere.geometry import sphere
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.theory.low_temperature import low_temperature_kernel

_RELEVANT = 0.05  # of a covariance
_COSINES = (0.3, 0.6, 0.9)  # of the pairs of points at which the noise is compared
_N_ROTATIONS = 32  # of the points, for each head
_MAX_SCORE = 1e4


def run(
    *,
    rng: Seed,
    cold_dim: int = 4,
    cold_head_dims: Sequence[int] = (3, 4, 8),
    scores: Sequence[float] = (8.0, 32.0, 64.0),
    concentration: float = 1.0,
    n_cold_tokens: int = 20_000,
    n_cold_heads: int = 50,
    n_cold_replicas: int = 12,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Take the mean product ⟨m(x), m(y)⟩ of attention means over random heads, for many tokens and large scores.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Replica r has its own tokens and heads, the same for every number of replicas.
    cold_dim : int
        d of the study of low temperature, at least 3.
    cold_head_dims : sequence of int
        Increasing rows k of Q and K, at least 3.
    scores : sequence of float
        Increasing sizes of the scores, at least two: √d times the standard deviation of ⟨Qx, Ky⟩, which is the
        size of the gradient |Aᵀx|.
    concentration : float
        Of the von Mises–Fisher law of the tokens; 0 for the uniform law.
    n_cold_tokens : int
        Tokens N of the study of low temperature, at least 1 000.
    n_cold_heads : int
        Heads of a replica.
    n_cold_replicas : int
        Replicas of the study of low temperature, at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the replicas; replicas of the same study in it are not computed again.
    on_step : callable, optional
        Called after every replica.

    Returns
    -------
    xarray.Dataset
        product (replica, head_dim, score, cosine), the mean over heads; expected (head_dim, cosine), by
        `theory.low_temperature_kernel`; exponent (head_dim), λ1 of that kernel.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Examples
    --------
    >>> data = run(rng=0, cold_head_dims=[4], n_cold_tokens=1000, n_cold_heads=2, n_cold_replicas=2)
    >>> data["product"].dims
    ('replica', 'head_dim', 'score', 'cosine')
    """
    dim = checks.integer(cold_dim, "cold_dim", low=3, high=10_000)
    head_dims = checks.increasing(cold_head_dims, "cold_head_dims", low=3)
    sizes = [checks.number(score, "scores", above=0, high=_MAX_SCORE) for score in checks.sequence(scores, "scores")]
    if len(sizes) < 2 or any(b <= a for a, b in itertools.pairwise(sizes)):
        raise ValueError(f"scores must be increasing, at least two, got {sizes}")
    concentration = checks.number(concentration, "concentration", low=0, high=1e3)
    n_tokens, n_heads, n_replicas = (
        checks.integer(value, name, low=low)
        for value, name, low in (
            (n_cold_tokens, "n_cold_tokens", 1000),
            (n_cold_heads, "n_cold_heads", 1),
            (n_cold_replicas, "n_cold_replicas", 2),
        )
    )
    n_threads = checks.threads(n_threads)
    check_size(
        n_tokens=n_tokens,
        dim=dim,
        n_steps=n_heads,
        n_replicas=n_replicas,
        n_layer_numbers=2 * head_dims[-1] * dim + _N_ROTATIONS * dim**2,
    )
    sequence = root(rng)
    facts = {
        "study": "random heads at low temperature",
        "dim": dim,
        "head_dims": list(head_dims),
        "scores": sizes,
        "concentration": concentration,
        "n_tokens": n_tokens,
        "n_heads": n_heads,
        "cosines": list(_COSINES),
        "n_rotations": _N_ROTATIONS,
    }
    study = netcdf.identity(facts, sequence)
    points = np.zeros((1 + len(_COSINES), dim))
    points[:, 0] = 1.0, *_COSINES
    points[1:, 1] = np.sqrt(1.0 - np.square(_COSINES))
    points = sphere.normalize(points)

    def measure(replica: int) -> Floats:
        key = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, replica))
        generator = np.random.default_rng(key)
        pole = np.eye(dim)[0]
        tokens = sphere.sample_von_mises_fisher(
            n_tokens, mean_direction=pole, concentration=concentration, rng=generator
        )
        # The points get random rotations: the law of the tokens is not uniform.
        out = np.zeros((len(head_dims), len(sizes), len(_COSINES)))
        for _, (i, k) in itertools.product(range(n_heads), enumerate(head_dims)):
            rotations = np.linalg.qr(generator.standard_normal((_N_ROTATIONS, dim, dim)))[0]
            q, keys = generator.standard_normal((2, k, dim)) * k**-0.25
            for j, size in enumerate(sizes):
                root_size = math.sqrt(size / math.sqrt(dim))
                head = SoftmaxAttention(query=root_size * q, key=root_size * keys)
                queries = sphere.normalize(points @ rotations).reshape(-1, dim)
                means = head(queries, sources=tokens, n_threads=n_threads).reshape(_N_ROTATIONS, -1, dim)
                out[i, j] += np.einsum("rpc,rc->p", means[:, 1:], means[:, 0]) / (n_heads * _N_ROTATIONS)
        return out

    return grow(
        measure,
        n_pieces=n_replicas,
        identity=study,
        to_dataset=lambda pieces: _to_dataset(pieces, identity=study),
        from_dataset=lambda dataset: list(dataset["product"].values),
        store=store,
        on_step=on_step,
        n_least=2,
    )


def extrapolated(dataset: Any) -> Floats:
    """Return the products (replica, head_dim, cosine) for infinite scores: they have an error of the order 1/score."""
    a, b = dataset["score"].values[-2:]
    product = dataset["product"].values
    return np.asarray((b * product[:, :, -1] - a * product[:, :, -2]) / (b - a))


def claims(dataset: Any) -> list[Claim]:
    """Return the products, extrapolated to infinite scores, beside the kernel of low temperature."""
    rows, products = [], extrapolated(dataset)
    for (i, k), (j, u) in itertools.product(enumerate(dataset["head_dim"].values), enumerate(dataset["cosine"].values)):
        interval = stats.mean_interval(products[:, i, j], at_least=-2, at_most=2)
        label = f"k = {k}: mean product of attention means at cosine {u:g}"
        expected = float(dataset["expected"][i, j])
        rows.append(estimates.from_interval(label, interval, expected=expected, relevant=_RELEVANT))
    return rows


def table(dataset: Any) -> str:
    """Return the exponents of the kernels and the claims, as text."""
    lines = [dataset.attrs["title"], ""]
    for k, exponent in zip(dataset["head_dim"].values, dataset["exponent"].values, strict=True):
        is_critical = abs(exponent) < 1e-12
        effect = "critical" if is_critical else f"close tokens {'come together' if exponent < 0 else 'separate'}"
        lines.append(f"k = {k}: λ1 = {exponent:.4g} for values of variance 1, {effect}")
    return "\n".join([*lines, "", format_claims(claims(dataset))])


def _to_dataset(pieces: Sequence[Floats], *, identity: str) -> Any:
    study = json.loads(identity)
    dim, head_dims = study["dim"], study["head_dims"]
    kernels = [low_temperature_kernel(dim, k) for k in head_dims]
    parts = [
        f"d = {dim}",
        f"N = {study['n_tokens']}",
        f"{study['n_heads']} heads",
        f"concentration {study['concentration']:g}",
    ]
    return checks.extra("xarray", "io").Dataset(
        {
            "product": (("replica", "head_dim", "score", "cosine"), np.stack(pieces)),
            "expected": (("head_dim", "cosine"), [kernel(np.array(_COSINES)) for kernel in kernels]),
            "exponent": (("head_dim",), [kernel.lyapunov_exponent() for kernel in kernels]),
        },
        coords={"head_dim": head_dims, "score": study["scores"], "cosine": list(_COSINES)},
        attrs={
            "dim": dim,
            "title": f"Random heads at low temperature, {len(pieces)} replicas\n{', '.join(parts)}",
            "identity": identity,
        },
    )
