"""The command `chaosphere random-attention`."""

from __future__ import annotations

from typing import Literal

from chaosphere.experiments.command import Command, Job, Options, chosen, of_replicas, study_option
from chaosphere.experiments.random_attention import cold, drawing, ends, heads, splits


def jobs(options: Options) -> list[Job]:
    """Return the chosen studies."""
    rows = {
        "ends": of_replicas(ends, options, name="random-attention", draw=drawing.draw_ends),
        "splits": of_replicas(
            splits, options, name="random-splits", draw=drawing.draw_splits, n_replicas="n_split_replicas"
        ),
        "heads": of_replicas(
            heads, options, name="random-heads", draw=drawing.draw_heads, n_replicas="n_head_replicas"
        ),
        "cold": of_replicas(cold, options, name="random-cold", draw=drawing.draw_cold, n_replicas="n_cold_replicas"),
    }
    return chosen(rows, options)


_HEADS = (
    *("heads", "head_dim", "query_key_std", "head_tokens_dim", "head_horizon"),
    *("n_head_steps", "n_head_pairs", "n_head_replicas"),
)

_SPLITS = ("splits", "split_dim", "split_beta", "n_layers_per_time", "n_split_systems", "n_split_replicas")
_COLD = (
    *("cold_dim", "cold_head_dims", "scores", "concentration"),
    *("n_cold_tokens", "n_cold_heads", "n_cold_replicas"),
)

COMMANDS = (
    Command(
        name="random-attention",
        summary="two tokens under attention whose heads are drawn anew for every layer",
        description="Random attention, in four studies. Ends: whether two tokens under random values end at one point "
        "or at opposite points, over d and β, with the exponents at both ends, compared with the pair equation. "
        "Splits: how long opposite clusters of n + 1 and n tokens stay opposite. Heads: the mean cosine under random "
        "queries, keys and values, for several numbers of heads, compared with the limit of many layers. Cold: the "
        "covariance of random heads with large scores (low temperature), compared with its limit. With more replicas "
        "the command continues from the files it wrote.",
        sources=(study_option(Literal["ends", "splits", "heads", "cold"]), ends.run, splits.run, heads.run, cold.run),
        jobs=jobs,
        flags={"dims": "dim", "betas": "beta"},
        symbols={"dims": "D", "betas": "BETA", "heads": "H", "splits": "N", "cold_head_dims": "K", "scores": "S"},
        groups={
            "options of the study of splits": _SPLITS,
            "options of the study of heads": _HEADS,
            "options of the study of low temperature": _COLD,
        },
    ),
)
