"""The command `chaosphere metastability`."""

from __future__ import annotations

from typing import Any, Literal

from chaosphere.experiments.causal import centres
from chaosphere.experiments.causal.drawing import draw_centres
from chaosphere.experiments.command import Command, Job, Options, call, chosen, default, of_replicas, study_option
from chaosphere.experiments.metastability import counts, drawing, lifetimes, merging


def _merging(options: Options) -> Job:
    """Return the study of two tokens, whose pieces are angles."""

    def run(**shared: Any) -> Any:
        return call(merging.run, options, **shared)

    return Job(
        name="metastability-merging",
        run=run,
        claims=merging.claims,
        table=merging.table,
        draw=drawing.draw_merging,
        n_steps=len(default(merging.run, "barriers", options)),
        unit="angles",
    )


def jobs(options: Options) -> list[Job]:
    """Return the chosen studies."""
    rows = {
        "counts": of_replicas(counts, options, name="metastability-counts", draw=drawing.draw_counts),
        "lifetimes": of_replicas(
            lifetimes,
            options,
            name="metastability-lifetimes",
            draw=drawing.draw_lifetimes,
            n_replicas="n_lifetime_replicas",
        ),
        "merging": _merging(options),
        "centres": of_replicas(
            centres, options, name="metastability-centres", draw=draw_centres, n_replicas="n_centre_replicas"
        ),
    }
    return chosen(rows, options)


_LIFETIMES = ("k_clusters", "lifetime_barriers", "n_lifetime_replicas")
_CENTRES = ("betas", "n_centre_tokens", "centre_horizon", "spacing", "n_centre_replicas")

COMMANDS = (
    Command(
        name="metastability",
        summary="which clusters form first, how long they last, and when two tokens merge, over times up to 10¹²",
        description="Long times without noise, in four studies on the circle. Counts: how many clusters i.i.d. "
        "uniform tokens form, compared with the linear theory and √(2β), and how many are left later. Lifetimes: how "
        "long k clusters at equal distances last, as a function of β. Merging: the time in which two tokens merge, "
        "compared with a quadrature. Centres: the centres under a causal mask, as in `chaosphere causal`, compared "
        "with Rényi's model of cars that park at random. With more replicas the command continues from the files it "
        "wrote.",
        sources=(
            study_option(Literal["counts", "lifetimes", "merging", "centres"]),
            counts.run,
            lifetimes.run,
            merging.run,
            centres.run,
        ),
        jobs=jobs,
        flags={"betas": "centre-betas"},
        symbols={
            **dict.fromkeys(("count_betas", "betas", "merging_beta"), "BETA"),
            **dict.fromkeys(("lifetime_barriers", "barriers"), "B"),
            "k_clusters": "K",
            "n_tokens": "N",
            "n_centre_tokens": "N",
        },
        groups={
            "options of the study of lifetimes": _LIFETIMES,
            "options of the study of merging": ("merging_beta", "barriers"),
            "options of the study of centres": _CENTRES,
        },
    ),
)
