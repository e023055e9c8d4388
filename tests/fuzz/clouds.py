"""Random tokens, weights and bilinear forms that look for the edges of the kernels, as hypothesis strategies."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from support import cases

from chaosphere.kernels import abi, sphere

ISAS = [name for name in abi.compiled_isas() if abi.isa_runs(name)]
DTYPES = (np.float64, np.float32)
# Around the edges of vectors, tiles and blocks, or anything between.
SIZES = st.sampled_from([1, 2, 3, 7, 8, 9, 31, 32, 33, 63, 64, 65, 191, 192, 193, 263, 264, 265]) | st.integers(1, 300)
DIMS = st.sampled_from([2, 3, 4, 5, 8, 13, 14, 15, 27, 28, 29, 30]) | st.integers(2, 70)
REPLICAS = st.integers(1, 2)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Tokens (R, N, d) in some layout, weights or None, and what runs them."""

    x: np.ndarray
    p: np.ndarray | None
    isa: str
    n_threads: int
    seed: int

    @property
    def eps(self):
        return float(np.finfo(self.x.dtype).eps)


@st.composite
def tokens(draw, sizes=SIZES, dims=DIMS, dtypes=DTYPES, n_replicas=REPLICAS):
    """Spread, clustered, antipodal, identical or nearly identical tokens, in some memory layout."""
    n, dim, replicas = draw(sizes), draw(dims), draw(n_replicas)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["spread", "cluster", "poles", "identical", "axes", "circle"]))
    raw = rng.standard_normal((replicas, n, dim))
    if kind in ("cluster", "poles", "identical"):
        width = 0.0 if kind == "identical" else 10.0 ** draw(st.integers(-12, -1))
        raw = rng.standard_normal(dim) + width * raw
        if kind == "poles":
            raw *= rng.choice([-1, 1], (replicas, n, 1))
    elif kind == "axes":
        raw = rng.choice([-1.0, 1.0], (replicas, n, 1)) * np.eye(dim)[rng.integers(dim, size=(replicas, n))]
    elif kind == "circle":
        raw[..., 2:] *= 1e-9
    x = sphere.step(raw.astype(draw(st.sampled_from(dtypes))), None, 0.0, 1)[0]
    layouts = cases.layouts(x) | {"plain": x}
    return layouts[draw(st.sampled_from(sorted(layouts)))]


@st.composite
def probabilities(draw, n):
    """None, or weights with zeros, of a narrow or a wide range, down to subnormal numbers."""
    kind = draw(st.sampled_from(["none", "narrow", "zeros", "wide", "tiny", "one"]))
    if kind == "none":
        return None
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    p = rng.uniform(0.5, 1.5, n)
    if kind == "zeros":
        p *= rng.random(n) > 0.5
    elif kind == "wide":
        p = 10.0 ** rng.uniform(-300, 0, n)
    elif kind == "tiny":
        p = np.where(rng.random(n) > 0.3, p, rng.integers(1, 1000, n) * 5e-324)
    elif kind == "one":
        p *= 1e-200
    p[rng.integers(n)] += 1.0
    return p / p.sum()


@st.composite
def weighted(draw, **options):
    """A case: tokens with weights, an instruction set and a number of threads."""
    x = draw(tokens(**options))
    return Case(
        x=x,
        p=draw(probabilities(x.shape[1])),
        isa=draw(st.sampled_from(ISAS)),
        n_threads=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 2**32)),
    )


@st.composite
def forms(draw, dim):
    """Q, K (and V or None) of a form of some size: psd, indefinite, general, a multiple of the identity, or zero."""
    kind = draw(st.sampled_from(["psd", "indefinite", "general", "scalar", "zero", "low rank"]))
    norm, seed = 10.0 ** draw(st.floats(-3, 4.9)), draw(st.integers(0, 9))
    if kind == "scalar":
        form = norm * np.eye(dim)
    elif kind == "zero":
        form = np.zeros((dim, dim))
    elif kind == "low rank":
        form = norm * np.outer(cases.rotation(dim, seed)[0], cases.rotation(dim, seed)[1])
    else:
        form = cases.form(kind, dim, norm, seed)
    key = cases.rotation(dim, seed + 2)
    value = draw(st.none() | st.just(cases.form("general", dim, 10.0 ** draw(st.floats(-2, 2)), seed)))
    return key @ form, key, value
