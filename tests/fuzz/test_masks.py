"""Causal attention on every instruction set against long double, over pairs and by prefix sums."""

import numpy as np
from clouds import forms, weighted
from hypothesis import strategies as st
from long_double import LONG, NEEDS_LONG_DOUBLE, instruction_set, on_the_sphere
from support import twins

import chaosphere as cs

pytestmark = NEEDS_LONG_DOUBLE
DECAYS = st.just(0.0) | st.floats(-3, 15).map(lambda e: 10.0**e)


def weights_of(case):
    """The weights with a first one that counts."""
    if case.p is None:
        return None
    p = case.p.copy()
    p[0] += p.max()
    return p / p.sum()


def check(case, attention, form, norm, value=None, *, rtol=0.0):
    p = weights_of(case)
    with instruction_set(case.isa):
        result = attention.evaluate(case.x, p, n_threads=case.n_threads)
    dim, dtype = case.x.shape[2], case.x.dtype
    # Scores that compete with each other differ by no more than all of them; in single precision weights down to 1e-323
    # and decays enter as logarithms.
    size = 3 * norm + (745 if p is not None and dtype == np.float32 else 0)
    off = twins.attention_tolerance(size, dim, dtype)
    if off > 0.25:  # the weights are not known to a quarter: nothing is claimed but a mean of tokens
        assert np.isfinite(result.value).all()
        return
    factor = 1.0 if value is None else float(np.linalg.norm(np.atleast_2d(value), 2))
    for r in range(len(case.x)):
        x = case.x[r] if rtol == 0 else on_the_sphere(case.x[r])
        mean, log_z = twins.causal_attention(x, form, weights=p, decay=attention.decay, value=value, dtype=LONG)
        atol = factor * (rtol + 2 * off + 4 * dim * case.eps)
        twins.assert_close(result.value[r], mean, atol=atol, dtype=dtype)
        twins.assert_close(result.log_partition[r], log_z, atol=rtol + off + 1e-15, rtol=4 * case.eps)


@st.composite
def over_pairs(draw):
    case = draw(weighted())
    return case, 10.0 ** draw(st.floats(-6, 3)), draw(DECAYS), draw(forms(case.x.shape[2])), draw(st.booleans())


def check_pairs(value):
    case, beta, decay, (query, key, v), is_scalar = value
    if is_scalar:
        attention = cs.SoftmaxAttention(beta=beta, mask="causal", decay=decay, method="direct")
        check(case, attention, beta, beta)
        return
    form = (key.T @ query).T  # the twin's rows: ⟨x_i, A y_j⟩ with ⟨Qx, Ky⟩ = x Qᵀ K y
    attention = cs.SoftmaxAttention(query=query, key=key, value=v, mask="causal", decay=decay)
    check(case, attention, form, float(np.linalg.norm(form, 2)), v)


def test_causal_attention_over_pairs(effort):
    effort.explore(check_pairs, over_pairs(), n_fixed=40)


@st.composite
def by_prefix_sums(draw):
    case = draw(weighted(dims=st.integers(2, 4)))
    beta = 10.0 ** draw(st.floats(-4, [3.0, 1.5, 0.5][case.x.shape[2] - 2]))
    rtol = draw(st.none() | st.floats(-13, -1).map(lambda e: 10.0**e))
    return case, beta, draw(DECAYS) if case.x.shape[2] == 2 else 0.0, rtol


def check_prefix(value):
    case, beta, decay, rtol = value
    n, dim = case.x.shape[1:]
    method = "fourier" if dim == 2 else "harmonic"
    attention = cs.SoftmaxAttention(beta=beta, mask="causal", decay=decay, method=method, rtol=rtol)
    off = float(np.abs(np.sqrt((case.x.astype(LONG) ** 2).sum(axis=2)) - 1).max())
    # Tokens that are summed directly are not projected: 2βη of their weights.
    check(case, attention, beta, beta, rtol=attention.resolve(n, dim, case.x.dtype).rtol + 4 * beta * off + 2 * off)


def test_causal_attention_by_prefix_sums(effort):
    effort.explore(check_prefix, by_prefix_sums(), n_fixed=40)
