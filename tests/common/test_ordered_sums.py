"""Sums along a tree: one process that plays every partition, and the bits of none."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from chaosphere.common import ordered_sums


@dataclass
class Recorded:
    """A partition whose process hands its nodes to a list and waits for nobody."""

    bounds: tuple
    rank: int
    sent: list

    @property
    def first(self):
        return self.bounds[self.rank]

    @property
    def stop(self):
        return self.bounds[self.rank + 1]

    def total(self, own, *, n_parts):
        self.sent.append(own)


def over_ranks(parts, n_tokens, *, block, cuts, order):
    """The sum where rank r has the blocks between two cuts, joined in an order of the ranks."""
    bounds, sent = (*(block * cut for cut in cuts[:-1]), n_tokens), []
    for rank in range(len(cuts) - 1):
        ordered_sums.total(parts[:, cuts[rank] : cuts[rank + 1]], Recorded(bounds, rank, sent), block=block)
    joined = {}
    for rank in order:
        joined = ordered_sums.join(joined, sent[rank], n_parts=parts.shape[1])
    return ordered_sums.root(joined), max(len(nodes) for nodes in sent)


def twin(parts):
    """The tree, part by part."""
    level = list(np.moveaxis(parts, 1, 0))
    while len(level) > 1:
        level = [sum(level[i + 1 : i + 2], level[i]) for i in range(0, len(level), 2)]
    return level[0]


@pytest.mark.parametrize("n_parts", [1, 2, 3, 5, 24, 25, 61])
def test_every_split_has_the_bits_of_one_process(n_parts):
    rng = np.random.default_rng(0)
    parts = rng.standard_normal((2, n_parts, 3)) * 10.0 ** rng.integers(-8, 8, (2, n_parts, 3))
    alone = ordered_sums.total(parts, None, block=4)
    assert np.array_equal(alone, twin(parts))
    for n_ranks in range(1, min(n_parts, 5) + 1):
        for _ in range(10):
            inner = np.sort(rng.choice(np.arange(1, n_parts), n_ranks - 1, replace=False)) if n_ranks > 1 else []
            cuts = [0, *(int(cut) for cut in inner), n_parts]
            sums, n_nodes = over_ranks(parts, 4 * n_parts - 1, block=4, cuts=cuts, order=rng.permutation(n_ranks))
            assert np.array_equal(sums, alone)
            assert n_nodes <= 2 * n_parts.bit_length()


@pytest.mark.parametrize("n_parts", [1, 2, 3, 31, 63, 64, 65, 128, 129, 4095, 4097])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
def test_a_tree_that_is_summed_at_once(n_parts, dtype):
    """Its padding changes no bit, not even the sign of a zero."""
    rng = np.random.default_rng(n_parts)
    parts = (rng.standard_normal((2, n_parts, 2)) * 10.0 ** rng.integers(-8, 8, (2, n_parts, 2))).astype(dtype)
    parts[1] = -np.zeros((), dtype)
    nodes = ordered_sums.root(ordered_sums.nodes(parts, first=0, n_parts=n_parts))
    for other in (nodes, twin(parts)):
        assert ordered_sums.fold(parts).tobytes() == np.ascontiguousarray(other).tobytes()


def test_another_order_has_other_bits():
    parts = np.array([[1.0, 1e16, -1e16, 1.0]])
    sums = {float(ordered_sums.total(parts[:, list(p)], None, block=1)[0]) for p in itertools.permutations(range(4))}
    assert len(sums) > 1


def test_bounds_within_a_block():
    over = Recorded((0, 8, 20), 0, [])
    assert [ordered_sums.is_aligned(over, block) for block in (0, 3, 4, 8, 20)] == [False, False, True, True, False]


def over_bounds(sums, bounds, *, n_parts):
    """The sum of what `sums(partition)` hands over on each rank, joined from the last."""
    sent = []
    for rank in range(len(bounds) - 1):
        sums(Recorded(bounds, rank, sent))
    joined = {}
    for nodes in reversed(sent):
        joined = ordered_sums.join(joined, nodes, n_parts=n_parts)
    return ordered_sums.root(joined)


@pytest.mark.parametrize("chunk", [4, 7, 65_536])
def test_terms_of_tokens(chunk, monkeypatch):
    """Bounds may cut anywhere, and chunks of terms change no bit."""
    x = np.random.default_rng(1).standard_normal((2, 25, 3))
    alone = ordered_sums.over_tokens(lambda first, stop: x[:, first:stop] ** 2, x)
    np.testing.assert_allclose(alone, (x**2).sum(axis=1), rtol=1e-14)
    monkeypatch.setattr(ordered_sums, "_CHUNK", chunk)
    for bounds in ((0, 25), (0, 5, 25), (0, 1, 9, 25)):

        def of_own(over):
            own = x[:, over.first : over.stop]
            ordered_sums.over_tokens(lambda first, stop: own[:, first:stop] ** 2, own, over=over)

        assert np.array_equal(over_bounds(of_own, bounds, n_parts=25), alone)


@pytest.mark.parametrize("n_tokens", [3, 16, 25])
def test_products_by_blocks(n_tokens):
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, 4, n_tokens)), rng.standard_normal((2, n_tokens))
    n_parts = -(-n_tokens // 4)
    for sums, expected in (
        (lambda at, over: ordered_sums.dot(a[..., at], b[:, at], block=4, over=over), np.einsum("rkn,rn->rk", a, b)),
        (lambda at, over: ordered_sums.dot(b[:, at], b[:, at], block=4, over=over), (b**2).sum(axis=1)),
        (lambda at, over: ordered_sums.sum_over(b[:, at], block=4, over=over), b.sum(axis=1)),
    ):
        alone = sums(slice(None), None)
        np.testing.assert_allclose(alone, expected, rtol=1e-13)
        for bounds in ((0, n_tokens), *([(0, 8, n_tokens), (0, 4, 12, n_tokens)] if n_tokens > 12 else [])):
            joined = over_bounds(lambda over, of=sums: of(slice(over.first, over.stop), over), bounds, n_parts=n_parts)
            assert np.array_equal(joined, alone)
