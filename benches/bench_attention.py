"""Softmax attention, QᵀK = βI."""

from typing import Any

import numpy as np
import pytest
import reference
import registry

import chaosphere as cs
from chaosphere.common import config
from chaosphere.interactions.polynomials import KernelPolynomial

# Operations of one exponential, by instruction set and type: multiply-adds, and all (docs/developers/kernels.md).
POWER = {
    ("avx512", "float64"): (7, 13),
    ("avx512", "float32"): (3, 9),
    ("avx2", "float64"): (12, 17),
    ("avx2", "float32"): (4, 10),
    ("baseline", "float64"): (12, 17),
    ("baseline", "float32"): (7, 12),
}


def of_pairs(case: registry.Case, *, products: int, sums: int, orders: int, n_heads: int = 1) -> dict[str, Any]:
    """Return the operations of an ordered pair: a power of two and `products`, multiply-adds, shared by so many orders.

    `sums` of coefficients alone are additions, where tokens count 1 each.
    """
    fma, operations = POWER[config.configuration()["instruction set in use"], case.dtype]
    every = n_heads * (products + sums + operations) / orders
    return {"unit": "pairs", "fma": n_heads * (products + fma) / orders, "operations": every}


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.ATTENTION, ids=str)
def test_attention(case, contender, bench):
    """(i, j) and (j, i) share a dot product and an exponential; each adds its own d products and its weight."""
    limit = of_pairs(case, products=3 * case.dim, sums=2, orders=2)
    bench("attention", case, contender, work=case.n_replicas * case.n_tokens**2, **limit)


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("kind", ["weighted", "general", "by_product", "unnormalized"])
@pytest.mark.parametrize("case", registry.FORMS, ids=str)
def test_forms(case, kind, contender, bench):
    """Weighted tokens, a QᵀK that is not symmetric (nothing is shared), the energy in the same pass, no division."""
    limit = of_pairs(case, products=3 * case.dim, sums=2, orders=2)
    if kind == "general":
        limit = of_pairs(case, products=2 * case.dim, sums=1, orders=1)
    elif kind == "weighted":
        limit = of_pairs(case, products=3 * case.dim + 2, sums=0, orders=2)
    bench(kind, case, contender, work=case.n_tokens**2, **limit)


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.FORMS, ids=str)
def test_hardmax(case, contender, bench):
    """A product and a sum for each coordinate, rounded one by one, and the maximum."""
    operations = 2 * case.dim + 1
    bench("hardmax", case, contender, work=case.n_tokens**2, unit="pairs", fma=2 * case.dim, operations=operations)


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.FORMS, ids=str)
def test_random_values(case, contender, bench):
    """A whole layer of random values, drawn, applied and normalised: attention, and little beside it."""
    limit = of_pairs(case, products=3 * case.dim, sums=2, orders=2)
    bench("random_values", case, contender, work=case.n_tokens**2, **limit)


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.POTENTIAL, ids=str)
def test_potential(case, contender, bench):
    """A polynomial in powers: a multiply-add a degree, shared by (i, j) and (j, i); no sum of the coefficients.

    For float32 the kernel leaves out degrees that do not count.
    """
    chebyshev = np.polynomial.chebyshev.poly2cheb(reference.powers(case))
    degree = len(KernelPolynomial.of(chebyshev, dtype=np.dtype(case.dtype)).coefficients) - 1
    products = (3 * case.dim + degree) / 2
    bench(
        "potential",
        case,
        contender,
        work=case.n_tokens**2,
        unit="pairs",
        fma=products,
        operations=products,
    )


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.HEADS, ids=str)
def test_heads(case, contender, bench):
    """H heads of k rows each: k products of a score and k + 1 of the sums; small scores have no running maximum."""
    limit = of_pairs(case, products=2 * case.head_dim, sums=1, orders=1, n_heads=case.n_heads)
    bench("head", case, contender, work=case.n_tokens**2, **limit)


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.HEADS, ids=str)
def test_symmetric_heads(case, contender, bench):
    """The same with a symmetric QᵀK: k products of a score and an exponential serve both orders of a pair."""
    limit = of_pairs(case, products=3 * case.head_dim, sums=2, orders=2, n_heads=case.n_heads)
    bench("symmetric_head", case, contender, work=case.n_tokens**2, **limit)


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.SINKHORN, ids=str)
def test_partition(case, contender, bench):
    """The sums of the coefficients without those of values: what an iteration of `sinkhorn` takes, with its weights."""
    limit = of_pairs(case, products=case.dim + 2, sums=0, orders=2)
    bench("partition", case, contender, work=case.n_tokens**2, **limit)


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.SINKHORN, ids=str)
def test_sinkhorn(case, contender, bench, benchmark):
    """Doubly stochastic attention to its default tolerance; `iterations` are the sums that it takes."""
    bench("sinkhorn", case, contender, work=case.n_tokens**2, unit="pairs")
    if contender == "chaosphere":
        result = cs.SinkhornAttention(beta=case.beta, method="direct").evaluate(reference.tokens(case))
        benchmark.extra_info["iterations"] = int(result.n_iterations[0])
