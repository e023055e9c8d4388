"""The order of work on pairs of blocks: every pair once, every group once a round, sums in one order, many workers."""

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.kernels import blocks, schedule

SPEC = importlib.util.spec_from_file_location("schedule_bench", Path(__file__).parents[2] / "benches" / "schedule.py")
bench = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(bench)

N_BLOCKS = [1, 2, 3, 4, 7, 22, 127, 261, 513]


def symmetric_pairs(n_blocks):
    return [item for item in schedule.items(n_blocks, True) if item.kind == "pair"]


@pytest.mark.parametrize("n_blocks", N_BLOCKS)
def test_groups_are_all_blocks_in_order(n_blocks):
    groups = schedule.groups(n_blocks)
    assert [block for group in groups for block in group] == list(range(n_blocks))
    assert len(groups) % 2 == 1
    assert len({len(group) for group in groups[:-2]}) <= 1  # all but the last and an empty one after it
    assert len(groups[0]) == (1 if n_blocks < 256 else 2 if n_blocks < 384 else 4)


@pytest.mark.parametrize("n_blocks", N_BLOCKS)
def test_every_pair_of_groups_is_in_one_round(n_blocks):
    n_groups = len(schedule.groups(n_blocks))
    pairs = sorted((min(item.i, item.j), max(item.i, item.j)) for item in symmetric_pairs(n_blocks))
    assert pairs == list(itertools.combinations_with_replacement(range(n_groups), 2))


@pytest.mark.parametrize("n_blocks", N_BLOCKS)
def test_every_group_is_once_in_a_round(n_blocks):
    n_groups = len(schedule.groups(n_blocks))
    rounds = [list(items) for _, items in itertools.groupby(symmetric_pairs(n_blocks), key=lambda item: item.round)]
    assert [items[0].round for items in rounds] == list(range(n_groups))
    for items in rounds:
        assert sorted(group for item in items for group in {item.i, item.j}) == list(range(n_groups))


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_groups_are_packed_before_and_finished_after_all_pairs(is_symmetric):
    items = schedule.items(22, is_symmetric)
    n = len(schedule.groups(22))
    assert [(item.kind, item.i) for item in items[:n]] == [("pack", i) for i in range(n)]
    assert [(item.kind, item.i) for item in items[-n:]] == [("finish", i) for i in range(n)]
    middle = items[n:-n]
    assert {item.kind for item in middle} == {"pair" if is_symmetric else "rows"}
    assert is_symmetric or [item.i for item in middle] == list(range(n))


def played(n_blocks, is_symmetric, n_workers, n_systems, seed):
    """Items in the order in which workers take them, which finish theirs in random order."""
    rng = np.random.default_rng(seed)
    simulation = schedule.Simulation(n_blocks, is_symmetric, n_workers, n_systems)
    taken, at_work, idle = [], [], set(range(n_workers))
    while True:
        for worker in rng.permutation(sorted(idle)):
            item = simulation.take(int(worker))
            if item is not None:
                # No two at the same time add to the sums of one group.
                busy = {(other.system, group) for _, other in at_work for group in (other.i, other.j)}
                assert busy.isdisjoint({(item.system, item.i), (item.system, item.j)})
                taken.append(item)
                at_work.append((worker, item))
                idle.remove(worker)
        if not at_work:
            return taken
        worker, item = at_work.pop(rng.integers(len(at_work)))
        simulation.finish(item)
        idle.add(worker)


@pytest.mark.parametrize("is_symmetric", [True, False])
@pytest.mark.parametrize("n_workers", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("n_blocks", [1, 2, 7, 22])
def test_sums_have_one_order(n_blocks, n_workers, is_symmetric):
    """Whoever takes items, and whenever they end, each group goes through its items in the order of the list."""
    items = schedule.items(n_blocks, is_symmetric)
    n_groups = len(schedule.groups(n_blocks))
    want = [[item[:4] for item in items if group in {item.i, item.j}] for group in range(n_groups)]
    for seed in range(5):
        taken = played(n_blocks, is_symmetric, n_workers, 2, seed)
        assert len(taken) == len(set(taken)) == 2 * len(items)
        for system, group in itertools.product(range(2), range(n_groups)):
            assert [i[:4] for i in taken if i.system == system and group in {i.i, i.j}] == want[group]


def test_rows_wait_until_all_groups_are_packed():
    simulation = schedule.Simulation(3, False)
    packs = [simulation.take(0) for _ in range(3)]
    for item in packs:
        assert item.kind == "pack"
        assert simulation.take(0) is None
        simulation.finish(item)
    assert simulation.take(0).kind == "rows"


def test_the_end_of_a_schedule():
    simulation = schedule.Simulation(1, True, 2)
    for kind in ("pack", "pair", "finish"):
        item = simulation.take(1)
        assert (item.kind, item.i, item.j) == (kind, 0, 0)
        assert simulation.take(0) is None
        simulation.finish(item)
    assert simulation.take(0) is None


def test_the_simulation_keeps_the_work():
    alone = bench.makespan(22, 1)
    assert alone == 22 * 12 + 22 * 21 // 2 * 24  # half of 3 d + 15, and 3 d + 15, at d = 3
    assert bench.makespan(513, 1) == 513 * 12 + 513 * 512 // 2 * 24  # groups of 4 blocks, the last of 1
    assert bench.makespan(22, 1, dim=16) == 22 * 46 + 22 * 21 // 2 * 63  # 2 d + 14 and 3 d + 15
    for n_workers in (2, 5, 40):
        assert alone / n_workers <= bench.makespan(22, n_workers) <= alone


def test_65536_tokens_occupy_64_cores():
    assert bench.makespan(342, 1) / bench.makespan(342, 64) > 60


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_some_tokens_of_many_coordinates(isa, dtype, is_symmetric):
    """Blocks with panels, of which only some are computed: bitwise identical to those of all."""
    n, dim = 2_000, 35
    x = cases.tokens(n, dim, dtype, n_replicas=2)
    attention = cs.SoftmaxAttention(query=cases.form("psd" if is_symmetric else "general", dim), key=np.eye(dim))
    means = attention(x, n_threads=1)
    assert np.array_equal(attention(x, n_threads=3), means)
    part = attention.plan(Shape.of(x)).rows(x, first=192 * 2, stop=192 * 7, n_threads=2)
    assert np.array_equal(part, means[:, 192 * 2 : 192 * 7])


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("is_symmetric", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_groups_of_several_blocks(dtype, is_symmetric):
    """261 blocks, two a group, the last one alone; every block pair counts once, for all tokens and for some."""
    n = 50_000
    assert [len(group) for group in schedule.groups(-(-n // blocks.block_size(n)))] == [2] * 130 + [1]
    x, p = cases.tokens(n, 2, dtype), cases.weights(n)
    query = np.array([[2.0, 0.5], [0.5 if is_symmetric else -0.5, 1.0]])
    attention = cs.SoftmaxAttention(query=query, key=np.eye(2))
    got = attention(x[0], p, n_threads=3)
    assert np.array_equal(got, attention(x[0], p, n_threads=1))
    uniform = attention(x, n_threads=3)
    part = attention.plan(Shape.of(x)).rows(x, first=192 * 7, stop=192 * 200, n_threads=2)
    assert np.array_equal(part, uniform[:, 192 * 7 : 192 * 200])
    some = np.random.default_rng(0).choice(n, 60, replace=False)
    exact = x[0].astype(np.longdouble)
    scores = exact[some] @ query.T.astype(np.longdouble) @ exact.T
    for weights, means in ((p, got), (None, uniform[0])):
        w = np.exp(scores) * (1 if weights is None else weights)
        want = w @ exact / w.sum(axis=1, keepdims=True)
        twins.assert_close(means[some], want, atol=twins.attention_tolerance(3.0, 2, dtype), dtype=dtype)
