"""Systems of few tokens on every instruction set: against long double, and alone against in a batch, bit by bit."""

import numpy as np
from clouds import DTYPES, ISAS, tokens
from hypothesis import strategies as st
from long_double import LONG, NEEDS_LONG_DOUBLE, instruction_set
from support import twins

import chaosphere as cs

pytestmark = NEEDS_LONG_DOUBLE


@st.composite
def systems(draw):
    x = draw(tokens(sizes=st.integers(1, 130), dims=st.integers(2, 40), dtypes=DTYPES, n_replicas=st.integers(1, 20)))
    dim, rng = x.shape[2], np.random.default_rng(draw(st.integers(0, 2**32)))
    k = draw(st.integers(1, dim))
    query, key, value = (m / np.linalg.norm(m, 2) for m in (rng.standard_normal((n, dim)) for n in (k, k, dim)))
    p = rng.uniform(0.5, 1.5, x.shape[1]) if draw(st.booleans()) else np.ones(x.shape[1])
    kind, size = (
        draw(st.sampled_from(["full", "causal", "general", "causal general", "narrow causal", "distance"])),
        draw(st.floats(0.01, 8)),
    )
    decay = draw(st.sampled_from([0.0, 1.0, 30.0, 90.0, 740.0, 1e4]) | st.floats(0, 1e5))
    return (
        x,
        p / p.sum(),
        kind,
        size,
        decay,
        (size * query, key, value),
        draw(st.sampled_from(ISAS)),
        draw(st.integers(1, 3)),
    )


def check_few(value):
    x, p, kind, size, decay, (query, key, v), isa, n_threads = value
    attention = {
        "full": cs.SoftmaxAttention(beta=size, method="direct"),
        "causal": cs.SoftmaxAttention(beta=size, mask="causal", decay=decay, method="direct"),
        "general": cs.SoftmaxAttention(query=query, key=key, value=v),
        "causal general": cs.SoftmaxAttention(query=query, key=key, value=v, mask="causal", decay=decay),
        "narrow causal": cs.SoftmaxAttention(beta=size, value=key, output=key.T, mask="causal", decay=decay),
        "distance": cs.L2Attention(query=query, key=key, value=v),
    }[kind]
    with instruction_set(isa):
        together = attention(x, p, n_threads=n_threads)
        last = len(x) - 1
        assert np.array_equal(attention(x[last], p, n_threads=1), together[last])
    own = x[last].astype(LONG)
    if kind == "causal":
        want, _ = twins.causal_attention(own, size, weights=p, decay=decay, dtype=LONG)
    elif kind == "full":
        want, _ = twins.attention(own, size, weights=p, dtype=LONG)
    elif kind == "causal general":
        form = (query.T @ key).astype(LONG)
        want, _ = twins.causal_attention(own, form, weights=p, value=v, decay=decay, dtype=LONG)
    elif kind == "narrow causal":
        want, _ = twins.causal_attention(own, size, weights=p, value=key.T @ key, decay=decay, dtype=LONG)
    else:
        factor, bias = (2, -((own @ key.T) ** 2).sum(axis=1)) if kind == "distance" else (1, 0.0)
        form = (factor * query.T @ key).astype(LONG)
        want, _ = twins.attention(own, form, weights=p, bias=bias, value=v, dtype=LONG)
    # A score of a head is a sum over d, then one over k.
    atol = 2 * twins.attention_tolerance(2 * size + 1, 2 * x.shape[2], x.dtype)
    twins.assert_close(together[last], want, atol=atol, dtype=x.dtype)


def test_few_tokens(effort):
    effort.explore(check_few, systems(), n_fixed=60)
