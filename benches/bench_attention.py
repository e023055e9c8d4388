"""Softmax attention, QᵀK = βI."""

import pytest
import registry

# Multiply-adds of an exponential: the degree of a polynomial after a table, plus its reduction.
EXP = {"float64": 7, "float32": 3}


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.ATTENTION, ids=str)
def test_attention(case, contender, bench):
    pairs = case.n_replicas * case.n_tokens**2
    # (i, j) and (j, i) share a dot product and an exponential; each adds its own d products.
    bench("attention", case, contender, work=pairs, unit="pairs", fma=(3 * case.dim + EXP[case.dtype]) / 2)
