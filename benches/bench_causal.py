"""Causal attention, QᵀK = βI: over pairs, and by prefix sums; bench_attention and bench_fastsum are without a mask."""

import bench_attention
import bench_fastsum
import pytest
import registry


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.CAUSAL, ids=str)
def test_causal(case, contender, bench):
    """Half of the pairs; a weight serves one side."""
    limit = bench_attention.of_pairs(case, products=2 * case.dim, sums=1, orders=1)
    bench("causal", case, contender, work=case.n_tokens * (case.n_tokens + 1) / 2, **limit)


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.PREFIX, ids=str)
def test_prefix(case, contender, bench):
    """Held against the operations without a mask."""
    bench("prefix", case, contender, work=case.n_tokens, unit="tokens", fma=bench_fastsum.operations(case))
