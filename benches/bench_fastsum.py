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
    # One multiply-add for each moment, to one degree more, and d + 1 for each harmonic of the sums.
    moments, sums = (expansions.harmonics_below(n, case.dim) for n in (degree + 2, degree + 1))
    return moments + (case.dim + 1) * sums


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.FASTSUM, ids=str)
def test_fastsum(case, contender, bench):
    bench("fastsum", case, contender, work=case.n_tokens, unit="tokens", fma=operations(case))
