"""The table of arXiv:2604.26898: its rows as text, and its exponents as claims."""

from __future__ import annotations

from typing import Any

from chaosphere.experiments import estimates
from chaosphere.experiments.paper.runs import EXPONENTS
from chaosphere.reporting.claims import Claim


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
