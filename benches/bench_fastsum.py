"""Softmax attention through expansions, QᵀK = βI; benches/crossover.py has its time against N and the direct sum's.

Peers sit it out: at these sizes they take minutes (their time for 16 384 tokens is in bench_attention).
"""

import pytest
import registry


def operations(case: registry.Case) -> float:
    """Multiply-adds (or products, or sums) per token, of both passes, with the padding of the degree."""
    from chaosphere.geometry import expansions

    degree = expansions.degree(case.beta, case.dim, (1e-12 if case.dtype == "float64" else 1e-7) * (1 + case.beta / 8))
    if case.dim == 2:
        # Counts of docs/developers/kernels.md, with steps of seven powers beyond the first: of moments to one degree
        # more, and of sums.
        more, steps = (degree + 4) // 7, (degree + 3) // 7
        return 87 + 14 * more + 4 * max(more - 1, 0) + 42 * steps + 4 * max(steps - 1, 0)
    if case.dim == 3:
        # Each (l, m): a recurrence of 2, then sums with cos mφ and sin mφ, of one moment and of four results.
        return (degree + 2) * (degree + 3) / 2 * (2 + 2) + (degree + 1) * (degree + 2) / 2 * (2 + 8)
    return 2 * (case.dim + 1) * expansions.harmonics_below(degree + 1, case.dim)


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.FASTSUM, ids=str)
def test_fastsum(case, contender, bench):
    bench("fastsum", case, contender, work=case.n_tokens, unit="tokens", fma=operations(case))
