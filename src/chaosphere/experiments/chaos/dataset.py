"""The dataset of the chaos experiment: what was measured, labelled, with the errors and exponents that follow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.experiments.cases import POWERS, QUANTITIES, Case
from chaosphere.experiments.chaos.replica import Measured


def from_dataset(dataset: Any) -> list[list[Measured]]:
    """Return the cases of every replica in a dataset that `to_dataset` made."""
    pieces = []
    study = json.loads(dataset.attrs["identity"])
    ladders = [np.isin(dataset["n_tokens"].values, case["tokens"]) for case in study["cases"]]
    for replica in range(dataset.sizes["replica"]):
        row = dataset.isel(replica=replica)
        pieces.append(
            [
                Measured(
                    squares=row["mean_square"].values[k][:, ladder],
                    node_squares=row["node_mean_square"].values[k],
                    seconds=float(row["seconds"].values[k]),
                )
                for k, ladder in enumerate(ladders)
            ]
        )
    return pieces


def to_dataset(pieces: Sequence[Sequence[Measured]], *, cases: Sequence[Case], identity: str) -> Any:
    """Label the replicas and add what follows from them."""
    ladder = sorted({n for case in cases for n in case.tokens})
    shape = (len(cases), len(QUANTITIES))
    squares = np.full((*shape, len(pieces), len(ladder)), np.nan)
    error = np.full((3, *shape, len(ladder)), np.nan)
    exponent, centre = np.full((3, *shape), np.nan), np.full((2, *shape), np.nan)
    bound = np.full((3, len(cases)), np.nan)
    n_fitted = np.full((*shape, len(ladder)), np.nan)
    n_effective, theorem_rate = np.full((2, len(cases), len(ladder)), np.nan)
    for c, case in enumerate(cases):
        columns = np.searchsorted(ladder, case.tokens)
        rows = np.stack([replica[c].squares for replica in pieces])
        squares[c][:, :, columns] = rows.transpose(1, 0, 2)
        n_effective[c, columns] = case.n_effective
        theorem_rate[c, columns] = case.theorem_rate()
        for q, (quantity, power) in enumerate(POWERS.items()):
            n_fitted[c, q, columns] = case.n_fitted(quantity)
            is_taken = np.isfinite(rows[:, q]).all(axis=0)
            values, at = rows[:, q][:, is_taken], columns[is_taken]
            if not values.any():
                error[:, c, q, at] = 0  # without attention tokens and their copies are one
                continue
            error[:, c, q, at] = np.stack(stats.root_mean_square_interval(values)) ** power
            if is_taken.sum() < 2:
                continue
            x, n_systems = (
                case.n_fitted(quantity)[is_taken],
                np.array(case.n_systems(quantity), dtype=np.float64)[is_taken],
            )
            log_factor = case.log_factor(quantity)[is_taken]
            fitted = np.array(stats.exponent_interval(x, values / log_factor ** (2 / power), weights=n_systems))
            exponent[:, c, q] = power * fitted
            level = np.average(np.log(error[0, c, q, at] / log_factor), weights=n_systems)
            centre[:, c, q] = np.average(np.log(x), weights=n_systems), level
            if quantity == "transport" and not case.model.is_ordered:
                scaled = values / case.theorem_rate()[is_taken]
                bound[:, c] = power * np.array(stats.exponent_interval(x, scaled, weights=n_systems))
    node_squares = np.stack([[m.node_squares for m in replica] for replica in pieces], axis=2)
    per_case, by = ("case", "quantity"), ("case", "quantity", "n_tokens")
    powers = np.array(list(POWERS.values()))
    return checks.extra("xarray", "io").Dataset(
        {
            "mean_square": (("case", "quantity", "replica", "n_tokens"), squares),
            "node_mean_square": (("case", "quantity", "replica"), node_squares),
            "seconds": (("case", "replica"), np.array([[m.seconds for m in replica] for replica in pieces]).T),
            **{f"error{end}": (by, error[k]) for k, end in enumerate(("", "_low", "_high"))},
            **{f"exponent{end}": (per_case, exponent[k]) for k, end in enumerate(("", "_low", "_high"))},
            **{f"over_theorem{end}": (("case",), bound[k]) for k, end in enumerate(("", "_low", "_high"))},
            "node_error": (per_case, node_squares.mean(axis=2) ** (powers / 2)),
            "centre": (("end", *per_case), centre),
            "n_effective": (("case", "n_tokens"), n_effective),
            "n_fitted": (by, n_fitted),
            "expected": (
                per_case,
                [[case.expected(q) if case.is_asymptotic else np.nan for q in QUANTITIES] for case in cases],
            ),
            "has_log": (per_case, [[case.has_log(q) for q in QUANTITIES] for case in cases]),
            "theorem_rate": (("case", "n_tokens"), theorem_rate),
            "pairs": (("case",), [case.pairs * len(pieces) for case in cases]),
        },
        coords={
            "case": [case.name for case in cases],
            "dim": ("case", [case.dim for case in cases]),
            "n_label": ("case", [case.n_label for case in cases]),
            "quantity": list(QUANTITIES),
            "power": ("quantity", powers),
            "n_tokens": ladder,
            "end": ["log n_effective", "log error"],
        },
        attrs={
            "title": _title(cases, len(pieces)),
            "identity": identity,
            "is_limit": int(cases[0].law is not None),
            "check": cases[0].check,
        },
    )


def _title(cases: Sequence[Case], n_replicas: int) -> str:
    """Say what the cases share."""
    case, model = cases[0], cases[0].model
    against = "the mean-field limit" if case.law is not None else f"M = {case.n_reference} tokens"
    facts = case.facts(
        with_steps=len({c.model.n_steps for c in cases}) == 1,
        with_rate=all(c.model.attention == model.attention for c in cases),
    )
    return f"Propagation of chaos against {against}, {n_replicas} replicas\n{', '.join(facts)}"
