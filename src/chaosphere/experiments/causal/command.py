"""The command `chaosphere causal`."""

from __future__ import annotations

from typing import Literal

from chaosphere.experiments.causal import centres, correlation, drawing
from chaosphere.experiments.command import Command, Job, Options, chosen, of_replicas, study_option


def jobs(options: Options) -> list[Job]:
    """Return the chosen studies."""
    rows = {
        "correlation": of_replicas(correlation, options, name="causal-correlation", draw=drawing.draw_correlation),
        "centres": of_replicas(
            centres, options, name="causal-centres", draw=drawing.draw_centres, n_replicas="n_centre_replicas"
        ),
    }
    return chosen(rows, options)


_CENTRES = ("betas", "n_centre_tokens", "centre_horizon", "spacing", "n_centre_replicas")

COMMANDS = (
    Command(
        name="causal",
        summary="correlation of tokens at two positions, and centres of clusters, under causal attention",
        description="Causal attention, in two studies. Correlation: the covariance of tokens at two positions, at "
        "order 1/N, compared with its closed form. It is measured by drawing an earlier token anew in a coupled run. "
        "Centres: tokens on the circle that start far from all earlier ones, whether they stay, and how the number of "
        "clusters grows with β. With more replicas the command continues from the files it wrote.",
        sources=(study_option(Literal["correlation", "centres"]), correlation.run, centres.run),
        jobs=jobs,
        symbols={"n_tokens": "N", "earlier": "SIGMA", "betas": "BETA", "n_centre_tokens": "N"},
        groups={"options of the study of centres": _CENTRES},
    ),
)
