"""The command `chaosphere training`."""

from __future__ import annotations

from typing import Literal

from chaosphere.experiments.command import Command, Job, Options, chosen, of_replicas, study_option
from chaosphere.experiments.training import drawing, grid, tokens


def jobs(options: Options) -> list[Job]:
    """Return the chosen studies."""
    rows = {
        "sizes": of_replicas(grid, options, name="training-sizes", draw=drawing.draw_grid),
        "tokens": of_replicas(
            tokens, options, name="training-tokens", draw=drawing.draw_tokens, n_replicas="n_token_replicas"
        ),
    }
    return chosen(rows, options)


_TOKENS = ("token_counts", "token_steps", "network_size", "n_token_heads", "n_token_replicas")

COMMANDS = (
    Command(
        name="training",
        summary="attention-only transformers trained with AdamW, compared with the limit of many layers and heads",
        description="Training, in two studies. Sizes: networks of L layers and H heads, after some steps of AdamW, "
        "are compared with their limit: tokens and adjoints at all depths, and the loss. The exponents along L = H "
        "are compared with those of the bound 1/L + L^(-1/3) H^(-1/2) of arXiv:2605.11059. Tokens: the same errors "
        "for one network, as the number of tokens grows. With more replicas the command continues from the files it "
        "wrote.",
        sources=(study_option(Literal["sizes", "tokens"]), grid.run, tokens.run),
        jobs=jobs,
        symbols={"n_tokens": "N", "sizes": "L", "token_counts": "N", "steps": "K", "token_steps": "K"},
        groups={"options of the study of tokens": _TOKENS},
    ),
)
