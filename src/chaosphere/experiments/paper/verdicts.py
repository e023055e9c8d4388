"""The table and the figures of arXiv:2604.26898: rows as text, and what they show as claims."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy

from chaosphere import stats
from chaosphere.common.checks import Floats
from chaosphere.experiments import estimates
from chaosphere.experiments.paper.exponents import EXPONENTS
from chaosphere.experiments.paper.runs import BETA, MOMENTS, N_TOKENS
from chaosphere.experiments.synchronization import rate_claim
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.reporting.claims import Claim, format_claims

_LARGEST_VARIANCE = 0.05  # of a layer: beyond, layers and the limit in L differ visibly
_RATE_UNTIL = 2.0  # time of the claims on rates


def format_table(dataset: Any) -> str:
    """Return the rows of `table` as text, three digits each."""
    lines = [f"{'φ':>8}{'d':>5}{'σ':>6}{'κ(1)':>12}{'κ′(1)':>12}{'λ1':>12}{'λ̄':>13}"]
    for activation in dataset["activation"].values:
        for dim in dataset["dim"].values:
            for bias in dataset["bias_std"].values:
                row = dataset.sel(activation=activation, dim=dim, bias_std=bias)
                numbers = "".join(f"{float(row[name]):12.2e}" for name in EXPONENTS)
                lines.append(f"{activation:>8}{dim:>5}{bias:>6g}{numbers}")
    return "\n".join(lines)


def claims(dataset: Any) -> list[Claim]:
    """Return λ1 and λ̄ of every row of `table`; nothing is expected of them."""
    return [
        estimates.exact(f"{name} {row} d={dim} σ={bias:g}", value, expected=None)
        for name in EXPONENTS[2:]
        for row in dataset["activation"].values
        for dim in dataset["dim"].values
        for bias in dataset["bias_std"].values
        for value in [float(dataset[name].sel(activation=row, dim=dim, bias_std=bias))]
    ]


def format_figure(dataset: Any, claims: list[Claim]) -> str:
    """Return the title of a figure and its claims as text."""
    return f"{dataset.attrs['title']}\n\n{format_claims(claims)}"


def figure_1_claims(dataset: Any) -> list[Claim]:
    """Return the moments of the cosines of pairs at the last layer, and how the tokens share two clusters.

    relu ends in one cluster (both moments grow to 1). tanh without bias is odd: it ends in two antipodal clusters, with
    mean cosine 0 at every time, and every token is in either with probability ½, whatever the layers.
    """
    rows = []
    for name in dataset["activation"].values:
        row = dataset.sel(activation=name)
        for moment, lowest, relevant in zip(MOMENTS, (-1.0, 0.0), (1 / 2, 3 / 8), strict=True):
            # Half of the way from the uniform law (0 and 1/4) to clusters (1).
            interval = _mean(row["sample"].sel(moment=moment).values, at_least=lowest, at_most=1.0)
            expected = float(row["pair_equation"].sel(moment=moment))
            quantity = f"{name}: {moment} of pairs at the last layer"
            rows.append(estimates.from_interval(quantity, interval, expected=expected, relevant=relevant))
    first, *others = dataset["x"].sel(activation="tanh").isel(layer=-1).values
    # Given the layers and the first token, the others are independent of each other.
    is_near = (np.array(others) @ first > 0).astype(np.float64)
    share = _mean(is_near, at_least=0.0, at_most=1.0)
    quantity = "tanh: share of the tokens in the cluster of the first"
    # The interval must tell two clusters from one.
    return [*rows, estimates.from_interval(quantity, share, expected=0.5, relevant=0.5)]


def _mean(values: Floats, **ends: float) -> tuple[float, float, float]:
    mean, low, high = (float(value) for value in stats.mean_interval(values, **ends))
    return mean, low, high


def figure_claims(dataset: Any) -> list[Claim]:
    """Return what the theory says of the energies of figures 2 to 6, for every d and σ.

    With layers: the mean energy without attention beside the pair equation, and its rate beside λ̄′ where the theorem of
    synchronization applies; with attraction too, and with repulsion where λ̄′ + 2 is negative, if the figure has
    replicas. Left out where a layer moves tokens too far for the limit of many layers. Without layers: the mean energy
    of the start, and bounds that hold for all tokens: attention changes the energy at most at the rate 2, attraction
    never raises it, and no energy is above that of the uniform law.
    """
    has_layers = bool(np.isfinite(dataset["pair_equation"].values).any())
    rows: list[Claim] = []
    for dim in dataset["dim"].values:
        for bias in dataset["bias_std"].values:
            row = dataset.sel(dim=dim, bias_std=bias)
            rows += _of_layers(row, f"d = {dim}, σ = {bias:g}") if has_layers else _of_attention(row, f"d = {dim}")
    return rows


def _of_layers(row: Any, name: str) -> Iterator[Claim]:
    if float(row["layer_variance"]) > _LARGEST_VARIANCE:
        return
    times, expected, bound = (row[key].values for key in ("time", "pair_equation", "bound"))
    band = stats.mean_interval(row["sample_energy"].values.T, at_least=0.0)
    at = _last_with_band(band, len(times) - 1)
    yield estimates.from_interval(
        f"{name}, δ = 0: mean energy at time {times[at]:g}",
        (band[0][at], band[1][at], band[2][at]),
        expected=float(expected[at]),
        # An interval must tell the change since the start from none.
        relevant=abs(float(expected[at] - expected[0])),
    )
    if not np.isfinite(bound).all():
        return
    rate = float(np.log(bound[-1] / bound[0]) / times[-1])
    until = int(np.searchsorted(times, _RATE_UNTIL * (1 + 1e-12), side="right")) - 1
    bands = {0.0: band}
    if row.sizes["replica"] > 1:
        for scale in (1.0, -1.0):
            bands[scale] = stats.mean_interval(row["energy"].sel(value_scale=scale).values.T, at_least=0.0)
    for scale, own in bands.items():
        most = rate + SoftmaxAttention(beta=BETA, value_scale=scale).energy_growth(BETA).growth
        at = _last_with_band(own, until)
        if at > 0 and most < 0:
            yield rate_claim(own, at=at, times=times, name=f"{name}, δ = {scale:g}", expected=most)


def _last_with_band(band: Any, until: int) -> int:
    """Return the place of the last time, up to one, before which the mean has an interval throughout; 0 if none has."""
    has_band = np.logical_and.accumulate(np.isfinite(band[1][: until + 1]))
    return max(int(has_band.sum()) - 1, 0)


def _of_attention(row: Any, name: str) -> Iterator[Claim]:
    dim, step = float(row["dim"]), float(np.diff(row["time"].values[:2])[0])
    uniform = 0.5 * float(np.exp(BETA) - scipy.special.hyp0f1(dim / 2, BETA**2 / 4))
    yield estimates.from_interval(
        f"{name}, δ = 0: mean energy",
        _mean(row["sample_energy"].values[0], at_least=0.0),
        expected=(1 - 1 / N_TOKENS) * uniform,
    )
    rates = {scale: np.diff(np.log(row["energy"].sel(value_scale=scale).values), axis=0) / step for scale in (1, -1)}
    final = float(row["energy"].sel(value_scale=-1.0).values[-1].max())
    for text, value, most in (
        ("δ = 1: largest rate at which the energy falls, at most", -rates[1].min(), 2.0),
        ("δ = 1: largest rate at which the energy grows, at most", rates[1].max(), 0.0),
        ("δ = -1: largest rate at which the energy grows, at most", rates[-1].max(), 2.0),
        ("δ = -1: last energy, at most that of the uniform law", final, uniform),
    ):
        yield estimates.from_interval(f"{name}, {text}", (value, value, value), expected=most, is_bound=True)
