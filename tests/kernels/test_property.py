"""Attention against its twin on inputs that hypothesis makes up."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import twins

from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.kernels import sphere


@st.composite
def inputs(draw):
    """Tokens (some of them repeated or antipodal), β over ten decades, weights with zeros and tiny values."""
    n, dim = draw(st.integers(1, 80)), draw(st.integers(2, 12))
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([1.0, 1e-2, 1e-6]))
    raw = rng.standard_normal(dim) / spread + rng.standard_normal((1, n, dim))
    x = sphere.step(raw.astype(dtype), None, 0.0, 1)[0][0]
    for target, source, sign in draw(
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.sampled_from([-1, 1])), max_size=6)
    ):
        x[target] = sign * x[source]
    beta = draw(st.just(0.0) | st.floats(-6, 4).map(lambda e: 10.0**e))
    p = None
    if draw(st.booleans()):
        small = st.sampled_from([0.0, 1e-300, 1e-40, 1e-12])
        p = np.array(draw(st.lists(small | st.floats(0.01, 1), min_size=n, max_size=n)))
        p[draw(st.integers(0, n - 1))] = 1.0
        p /= p.sum()
    return x, beta, p, draw(st.integers(1, 4))


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(inputs())
def test_attention_agrees_with_its_twin(case):
    x, beta, p, n_threads = case
    result = SoftmaxAttention(beta=beta).evaluate(x, p, n_threads=n_threads)
    mean, log_partition = twins.attention(x, beta, weights=p)
    # Weights down to 1e-300 enter single precision as logarithms of size 1000: as if the form were that much larger.
    size = beta + (0 if p is None else 700)
    atol = twins.attention_tolerance(size, x.shape[1], x.dtype)
    twins.assert_close(result.value, mean, atol=atol, dtype=x.dtype)
    twins.assert_close(result.log_partition, log_partition, atol=atol)
    assert (np.linalg.norm(result.value.astype(float), axis=1) <= 1 + 16 * np.finfo(x.dtype).eps).all()
