"""The compiled normals against a plain twin of Philox and Box–Muller, and against published vectors."""

import numpy as np
import pytest
from scipy import stats

from chaosphere.kernels import abi
from chaosphere.kernels.normals import normals

MASK = np.uint64(0xFFFFFFFF)


def philox(counter, key):
    """Philox4x32-10 of counters (..., 4) under a key (2,)."""
    c = [counter[..., k].astype(np.uint64) for k in range(4)]
    k0, k1 = (np.uint64(word) for word in key)
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ k0, p1 & MASK, (p0 >> np.uint64(32)) ^ c[3] ^ k1, p0 & MASK]
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & MASK, (k1 + np.uint64(0xBB67AE85)) & MASK
    return np.stack(c, axis=-1)


def twin(key, step, first_group, n):
    blocks = np.arange(8 * first_group, 8 * (first_group + -(-n // 16)), dtype=np.uint64)
    counter = np.stack(
        [blocks & MASK, blocks >> np.uint64(32), blocks * 0 + step % 2**32, blocks * 0 + step // 2**32], 1
    )
    words = philox(counter, key)
    bits = words[:, ::2] | (words[:, 1::2] << np.uint64(32))
    v = 1 + (bits >> np.uint64(12)) * 2.0**-52
    radius, angle = np.sqrt(-2 * np.log(2 - v[:, 0])), 2 * np.pi * (v[:, 1] - 1.5)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.reshape(-1, 8, 2).transpose(0, 2, 1).ravel()[:n]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_the_twin_has_the_published_vectors(counter, key, expected):
    """Known answers of Philox4x32-10 (Random123, kat_vectors)."""
    assert philox(np.array(counter, dtype=np.uint64), key).tolist() == expected


@pytest.mark.parametrize("n", [1, 15, 16, 17, 5000])
@pytest.mark.parametrize(("step", "first_group"), [(0, 0), (7, 3), (2**40 + 5, 2**31)])
def test_agreement_with_the_twin(isa, n, step, first_group):
    key = np.array([[12345, 2**32 - 7], [0, 1]], dtype=np.uint32)
    rows = normals(key, step, first_group, n, 2)
    assert rows.shape == (2, n)
    for row, k in zip(rows, key, strict=True):
        np.testing.assert_allclose(row, twin(k, step, first_group, n), rtol=1e-14, atol=1e-15)


def test_bitwise_identical_for_every_instruction_set_and_number_of_threads():
    key = np.arange(14, dtype=np.uint32).reshape(7, 2)
    before, draws = abi.isa_in_use(), []
    try:
        for name in abi.compiled_isas():
            if abi.isa_runs(name):
                abi.use_isa(name)
                draws += [normals(key, 3, 0, 10_001, threads) for threads in (1, 2, 5)]
    finally:
        abi.use_isa(before)
    assert all(np.array_equal(draws[0], other) for other in draws[1:])


def test_law():
    """Null: independent standard normals. 1 000 000 numbers of each of 8 keys; 1e-6 in all, 25 comparisons."""
    keys = np.random.default_rng(0).integers(2**32, size=(8, 2), dtype=np.uint32)
    z = normals(keys, 0, 0, 1_000_000, 2)
    bound = stats.norm.isf(1e-6 / 50)
    assert (np.abs(z.mean(axis=1)) < bound / 1000).all()
    assert (np.abs((z**2).mean(axis=1) - 1) < bound * np.sqrt(2) / 1000).all()
    assert (np.abs((z[:, :-8] * z[:, 8:]).mean(axis=1)) < bound / 999).all()  # cosines against sines
    assert stats.kstest(z.ravel()[:2_000_000], "norm").pvalue > 1e-6 / 25
