"""Ctrl-C during a long call: KeyboardInterrupt at once, workspaces given back, and the next call works."""

import signal
import sys
import time

import pytest
from support.programs import run, started

CALLS = """
import sys
import numpy as np
from chaosphere.geometry import harmonics
from chaosphere.kernels import (
    abi, attention, causal, expansions, heads, layer, normals, pairs, prefix, rows, tangent
)

name, THREADS = sys.argv[1], int(sys.argv[2])

def tokens(n, d, n_replicas=1):
    x = np.random.default_rng(0).standard_normal((n_replicas, n, d))
    return x / np.linalg.norm(x, axis=-1, keepdims=True)

def bounded(n, d, n_replicas=1, is_symmetric=True, **several):
    x, query = tokens(n, d, n_replicas), None if is_symmetric else np.eye(d)
    return lambda: attention.attend_bounded(x, query, None, None, 1.0, 1.0, is_symmetric, THREADS, **several)

def sums(n):
    x = tokens(n, 3)
    return lambda: attention.partition_sums(x, np.ones((1, n)), 1.0, 1.0, THREADS)

def by_rows(n):
    x = tokens(n, 3)
    return lambda: rows.attend_rows(x, x, None, None, None, 1.0, THREADS)

def derivatives(n):
    x = tokens(n, 3)
    return lambda: tangent.tangent_sums(x, x, x, x, x, x, None, None, None, None, 1.0, 1.0, 0, 0.0, THREADS)

def means_of_heads(n):
    x, matrices = tokens(n, 3), np.ones((2, 9, 3))
    return lambda: heads.attend_heads(x, matrices, 3, False, THREADS)

def gradients_of_heads(n):
    x, matrices, mean, logs = tokens(n, 3), np.ones((2, 9, 3)), np.zeros((1, 2, 3, n)), np.zeros((1, 2, n))
    return lambda: heads.pull_heads(x, x, matrices, np.ones((2, 3, 3)), mean, logs, False, THREADS)

def causal_pairs(n):
    x = tokens(n, 3)
    return lambda: causal.attend_causal(x, None, None, None, 1.0, 1.0, THREADS)

def causal_rows(n):
    x = tokens(n, 3)
    return lambda: causal.attend_causal_rows(x, x, None, None, None, 1.0, 0.0, THREADS)

def prefix_on_the_circle(n, n_max):
    x, factors = tokens(n, 2), np.ones((n_max + 2, 3))
    return lambda: prefix.fourier_prefix(x, None, factors, 64, 1.0, 1.0, 0.0, THREADS)

def prefix_on_the_sphere(n, n_max):
    x, basis, by_place = tokens(n, 3), harmonics.HarmonicBasis(dim=3, n_max=n_max), np.ones(128)
    n_rows = 4 * basis.size
    matrix = np.arange(n_rows + 1), np.arange(n_rows) % basis.size, np.ones(n_rows)
    steps = n_max, basis.steps, n_max, basis.steps, basis.scratch_rows
    return lambda: prefix.harmonic_prefix(x, None, *steps, *matrix, 1.0, 128, by_place, by_place, 1.0, 0.0, THREADS)

def energy(n):
    x = tokens(n, 3)
    return lambda: pairs.pair_statistics(x, None, 1.0, 20, THREADS)

def random_layer(n, m):
    x, u, w = tokens(n, 8), np.ones((1, m, 8)), np.ones((1, 8, m))
    return lambda: layer.layer(x, u, None, w, None, 3, 1.0, 1.0, THREADS)

def basis(n, n_max, call):
    x, harmonic = tokens(n, 3), harmonics.HarmonicBasis(dim=3, n_max=n_max)
    return lambda: call(harmonic, x, np.ones((1, harmonic.size, 4)))

def circle(n, n_steps, call):
    x, a = tokens(n, 2), np.ones((1, n_steps, 3, 2, 7))
    return lambda: call(x, a)

# Each with a size that takes no time and one that takes minutes.
CALLS = {
    "attention": (lambda: bounded(2000, 3), lambda: bounded(600_000, 3)),
    "attention in many dimensions": (lambda: bounded(600, 64), lambda: bounded(150_000, 64)),
    "general attention": (
        lambda: bounded(2000, 3, is_symmetric=False), lambda: bounded(500_000, 3, is_symmetric=False)
    ),
    "attention of many systems": (lambda: bounded(200, 3, 40), lambda: bounded(15_000, 3, 200)),
    "steps of attention": (
        lambda: bounded(100, 3, 16, step=0.1, n_steps=2), lambda: bounded(100, 3, 16, step=0.1, n_steps=10**7)
    ),
    "sums of coefficients": (lambda: sums(2000), lambda: sums(700_000)),
    "attention by rows": (lambda: by_rows(2000), lambda: by_rows(400_000)),
    "derivatives": (lambda: derivatives(2000), lambda: derivatives(300_000)),
    "heads": (lambda: means_of_heads(1000), lambda: means_of_heads(300_000)),
    "gradients of heads": (lambda: gradients_of_heads(1000), lambda: gradients_of_heads(300_000)),
    "causal attention": (lambda: causal_pairs(2000), lambda: causal_pairs(600_000)),
    "causal attention by rows": (lambda: causal_rows(2000), lambda: causal_rows(500_000)),
    "prefix sums on the circle": (
        lambda: prefix_on_the_circle(5000, 3), lambda: prefix_on_the_circle(200_000, 10_000)
    ),
    "prefix sums on the sphere": (lambda: prefix_on_the_sphere(500, 5), lambda: prefix_on_the_sphere(60_000, 100)),
    "pairs": (lambda: energy(2000), lambda: energy(300_000)),
    "layer": (lambda: random_layer(300, 300), lambda: random_layer(400_000, 200_000)),
    "field": (
        lambda: basis(500, 5, lambda b, x, a: b.combine(x, a[..., :3], n_threads=THREADS)),
        lambda: basis(2_000_000, 140, lambda b, x, a: b.combine(x, a[..., :3], n_threads=THREADS)),
    ),
    "moments": (
        lambda: basis(500, 5, lambda b, x, a: b.moments(x, None, n_threads=THREADS)),
        lambda: basis(2_000_000, 140, lambda b, x, a: b.moments(x, None, n_threads=THREADS)),
    ),
    "ratios": (
        lambda: basis(500, 5, lambda b, x, a: b.ratios(x, a, n_threads=THREADS)),
        lambda: basis(2_000_000, 140, lambda b, x, a: b.ratios(x, a, n_threads=THREADS)),
    ),
    "moments on the circle": (
        lambda: circle(5000, 3, lambda x, a: expansions.fourier_moments(x, None, a.shape[1], THREADS)),
        lambda: circle(2_000_000, 10_000, lambda x, a: expansions.fourier_moments(x, None, a.shape[1], THREADS)),
    ),
    "field on the circle": (
        lambda: circle(5000, 3, lambda x, a: expansions.fourier_field(x, a, THREADS)),
        lambda: circle(2_000_000, 10_000, lambda x, a: expansions.fourier_field(x, a, THREADS)),
    ),
}
"""
PROGRAM = f"""{CALLS}
def flat(result):
    return [np.asarray(part).tobytes() for part in (result if isinstance(result, tuple) else (result,))]

short, long = CALLS[name]
want = flat(short()())
call = long()
print("ready", flush=True)
try:
    call()
    print("ended", flush=True)
except KeyboardInterrupt:
    print("stopped", flush=True)
assert flat(short()()) == want
assert abi.kept_bytes() <= 2**27
"""
LIMIT = 5.0  # seconds; a tenth of one is usual, on a busy machine two
NAMES = [
    "attention",
    "attention in many dimensions",
    "general attention",
    "attention of many systems",
    "steps of attention",
    "sums of coefficients",
    "attention by rows",
    "derivatives",
    "heads",
    "gradients of heads",
    "causal attention",
    "causal attention by rows",
    "prefix sums on the circle",
    "prefix sums on the sphere",
    "pairs",
    "layer",
    "field",
    "moments",
    "ratios",
    "moments on the circle",
    "field on the circle",
]


def interrupted(name, n_threads):
    """Seconds from SIGINT, half a second into a call that would take minutes, to its KeyboardInterrupt."""
    with started([sys.executable, "-c", PROGRAM, name, n_threads], timeout=120) as program:
        assert program.stdout.readline() == "ready\n"
        time.sleep(0.5)
        start = time.monotonic()
        program.send_signal(signal.SIGINT)
        assert program.stdout.readline() == "stopped\n"
        seconds = time.monotonic() - start
        _, errors = program.communicate()
        assert program.returncode == 0, errors
        return seconds


LIKE_OTHERS = {  # the calls of these look for signals where those of others do
    "attention in many dimensions",
    "attention of many systems",
    "sums of coefficients",
    "attention by rows",
    "causal attention by rows",
    "prefix sums on the sphere",
}


def test_the_calls_are_those_of_the_kernels():
    """The short ones, those of the slow cases among them, take the arguments that the kernels want."""
    program = f"{CALLS}\nfor short, long in CALLS.values(): short()()\nprint(*CALLS, sep='\\n')"
    assert run(program, "", 2).splitlines() == NAMES


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LIKE_OTHERS)) for name in NAMES]
)
def test_a_signal_ends_a_long_call(name):
    assert interrupted(name, 2) < LIMIT


def test_a_signal_ends_a_long_call_on_one_thread():
    assert interrupted("attention", 1) < LIMIT


def test_a_handler_that_returns_lets_the_call_end():
    """Handlers run during the call, in the main thread; without an exception the result is what it is without them."""
    code = """
import signal, threading, time
import numpy as np
import chaosphere as cs
from chaosphere.kernels import pairs
x = cs.sample_uniform(20_000, 3, rng=0)[None]
seen = []
want = pairs.pair_statistics(x, None, 1.0, 10, 2)
signal.signal(signal.SIGINT, lambda *_: seen.append((threading.current_thread(), time.monotonic())))
start = time.monotonic()
threading.Timer(0.02, lambda: signal.raise_signal(signal.SIGINT)).start()
while not seen and time.monotonic() - start < 60:
    got = pairs.pair_statistics(x, None, 1.0, 10, 2)
assert seen[0][0] is threading.main_thread()
assert all(np.array_equal(p, q) for p, q in zip(got, want, strict=True))
"""
    run(code)
