"""What one step by moments on the circle costs each rank, on the page about many machines: a model."""

# benches/many_ranks.py, `mpiexec -n 2 python -m mpi4py benches/many_ranks.py 1e8 4` on two cores of one machine.
SECONDS_PER_TOKEN, BYTES_PER_TOKEN = 48e-9, 56
SECONDS_PER_LEVEL = 100e-6


def step_seconds(n_tokens: float, n_ranks: int) -> float:
    """Return the time of a step: own tokens, and a reduction of as many levels as ranks halve."""
    return SECONDS_PER_TOKEN * n_tokens / n_ranks + SECONDS_PER_LEVEL * (n_ranks - 1).bit_length()


def markdown() -> str:
    """Return the table, and what it stands on."""
    lines = [
        "This table is a model, not a measurement, of one step of attention with β = 4 on the circle in double",
        f"precision. A token takes {1e9 * SECONDS_PER_TOKEN:.0f} ns of its rank, and each of the log₂ P levels of a",
        f"reduction {1e6 * SECONDS_PER_LEVEL:.0f} µs. Both times were measured with two ranks on one machine by",
        f"`benches/many_ranks.py`. The memory is {BYTES_PER_TOKEN} bytes for each token of a rank. A network may take",
        "longer for a level. No run had more than three ranks.",
    ]
    rows = ["| tokens | ranks (one core each) | memory of a rank | step | of it reduction |", "|---|---|---|---|---|"]
    for power, n_ranks in ((8, 2), (8, 64), (8, 1024), (10, 64), (10, 256), (10, 1024)):
        step = step_seconds(10**power, n_ranks)
        share = SECONDS_PER_LEVEL * (n_ranks - 1).bit_length() / step
        memory = BYTES_PER_TOKEN * 10**power / n_ranks / 1e9
        superscript = "10⁸" if power == 8 else "10¹⁰"
        rows.append(f"| {superscript} | {n_ranks} | {memory:.2g} GB | {step:.2g} s | {100 * share:.2g} % |")
    return " ".join(lines) + "\n\n" + "\n".join(rows)
