"""What an experiment takes of this machine, refused before the work where it is too much."""

from __future__ import annotations

from chaosphere.common import checks


def check_memory(*, n_tokens: int, dim: int, n_layer_numbers: int = 0, n_results: int = 0, n_costs: int = 0) -> None:
    """Raise ValueError if an experiment would need more memory than this machine has.

    Parameters
    ----------
    n_tokens : int
        Tokens that move at once, over all replicas and systems; there are a dozen copies of each.
    dim : int
    n_layer_numbers : int
        Random numbers of one layer, over all replicas.
    n_results : int
        Numbers that are recorded.
    n_costs : int
        Pairs of points between which a transport plan is sought: the costs, and five times that inside POT.
    """
    n_bytes = 8.0 * (12 * n_tokens * (dim + 1) + 2 * n_layer_numbers + 2 * n_results + 6 * n_costs)
    limit = checks.machine_memory()
    if n_bytes > limit:
        raise ValueError(
            f"this would take about {n_bytes / 1e9:.3g} GB, and this machine has {limit / 1e9:.3g} GB; take fewer "
            "tokens, replicas, nodes, layers or units, or a smaller dimension"
        )
