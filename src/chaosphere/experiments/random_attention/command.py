"""The command `chaosphere random-attention`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from chaosphere.experiments.command import Command, Job, Options, call, default
from chaosphere.experiments.random_attention import drawing, ends, heads


def _studies(*, study: Sequence[Literal["ends", "heads"]] = ("ends", "heads")) -> Sequence[str]:
    """Return the chosen studies.

    Parameters
    ----------
    study : sequence of str
        What to run.
    """
    return study


def jobs(options: Options) -> list[Job]:
    """Return the chosen studies."""
    studies = call(_studies, options)

    def run_ends(**shared: Any) -> Any:
        return call(ends.run, options, **shared)

    def run_heads(**shared: Any) -> Any:
        return call(heads.run, options, **shared)

    rows = {
        "ends": Job(
            name="random-attention",
            run=run_ends,
            claims=ends.claims,
            table=ends.table,
            draw=drawing.draw_ends,
            n_steps=default(ends.run, "n_replicas", options),
            unit="replicas",
        ),
        "heads": Job(
            name="random-heads",
            run=run_heads,
            claims=heads.claims,
            table=heads.table,
            draw=drawing.draw_heads,
            n_steps=default(heads.run, "n_head_replicas", options),
            unit="replicas",
        ),
    }
    return [rows[name] for name in rows if name in studies]


_HEADS = (
    *("heads", "head_dim", "query_key_std", "head_tokens_dim", "head_horizon"),
    *("n_head_steps", "n_head_pairs", "n_head_replicas"),
)

COMMANDS = (
    Command(
        name="random-attention",
        summary="two tokens under attention whose heads are drawn anew for every layer",
        description="Random attention, in two studies. Ends: whether two tokens under random values end in one point "
        "or opposite, over d and β, with the exponents at both ends, beside the pair equation. Heads: the mean cosine "
        "under random queries, keys and values, for several numbers of heads, beside the limit of many layers. "
        "With more replicas it continues from the files it wrote.",
        sources=(_studies, ends.run, heads.run),
        jobs=jobs,
        flags={"dims": "dim", "betas": "beta"},
        symbols={"dims": "D", "betas": "BETA", "heads": "H"},
        groups={"options of the study of heads": _HEADS},
    ),
)
