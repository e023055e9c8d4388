"""What an experiment takes of this machine, refused before the work where it is too much."""

from __future__ import annotations

from chaosphere.common import checks, messages

MAX_STEPS = 10**7  # of one run: ten times those of the longest here
MAX_REPLICAS = 10**6


def check_size(
    *,
    n_tokens: int,
    dim: int,
    n_steps: int,
    n_replicas: int,
    n_layer_numbers: int = 0,
    n_results: int = 0,
    n_costs: int = 0,
) -> None:
    """Raise ValueError if an experiment would need more memory than this machine has, or would hardly ever end.

    Parameters
    ----------
    n_tokens : int
        Tokens that move at once, over all replicas and systems; there are a dozen copies of each.
    dim : int
    n_steps : int
        Steps of the longest run.
    n_replicas : int
    n_layer_numbers : int
        Random numbers of one layer, over all replicas.
    n_results : int
        Numbers that are recorded.
    n_costs : int
        Pairs of points between which a transport plan is sought: the costs, and five times that inside POT.
    """
    if n_replicas > MAX_REPLICAS:
        raise ValueError(f"the number of replicas must be at most {MAX_REPLICAS}, got {messages.shown(n_replicas)}")
    if n_steps > MAX_STEPS:
        raise ValueError(
            f"this would take {messages.shown(n_steps)} steps or layers in a run, and an experiment takes at most "
            f"{MAX_STEPS}"
        )
    n_bytes = 8.0 * (12 * n_tokens * (dim + 1) + 2 * n_layer_numbers + 2 * n_results + 6 * n_costs)
    limit = checks.machine_memory()
    if n_bytes > limit:
        raise ValueError(
            f"this would take about {n_bytes / 1e9:.3g} GB, and this machine has {limit / 1e9:.3g} GB; take fewer "
            "tokens, replicas, nodes, layers or units, or a smaller dimension"
        )
