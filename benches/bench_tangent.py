"""The derivative of softmax attention, QᵀK = βI, and its transpose, the gradient in the tokens."""

import bench_attention
import pytest
import registry

from chaosphere.common import config


def powers(dtype):
    """Multiply-adds and operations of one exponential, and the operations of a term besides its products."""
    fma, operations = bench_attention.POWER[config.configuration()["instruction set in use"], dtype]
    return fma, operations + 3


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.TANGENT, ids=str)
def test_jvp(case, contender, bench):
    """Attention itself, then one pass: a score, a term of twice as many coordinates, sums of values and of changes."""
    fma, operations = powers(case.dtype)
    products = 6.5 * case.dim + 1
    bench(
        "jvp",
        case,
        contender,
        work=case.n_tokens**2,
        unit="pairs",
        fma=products + 1.5 * fma,
        operations=products + 1 + operations + 0.5 * (operations - 3),
    )


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.TANGENT, ids=str)
def test_vjp(case, contender, bench):
    """Attention itself, then a pass over rows and one over columns: a score, a term, and one or two sums."""
    fma, operations = powers(case.dtype)
    products = 8.5 * case.dim + 2
    bench(
        "vjp",
        case,
        contender,
        work=case.n_tokens**2,
        unit="pairs",
        fma=products + 2.5 * fma,
        operations=products + 1 + 2 * operations + 0.5 * (operations - 3),
    )
