"""The tournament between players: every pair once, every player once a round, and work for many cores."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs

SPEC = importlib.util.spec_from_file_location("schedule_bench", Path(__file__).parents[2] / "benches" / "schedule.py")
schedule = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(schedule)


@pytest.mark.parametrize("n_players", [1, 2, 3, 4, 7, 22, 86])
def test_every_pair_once_and_every_player_once_a_round(n_players):
    rounds = schedule.games(n_players)
    for games in rounds:
        players = [player for game in games for player in set(game)]
        assert len(players) == len(set(players))
    pairs = sorted(tuple(sorted(game)) for games in rounds for game in games if max(game) < n_players)
    assert pairs == [(i, j) for i in range(n_players) for j in range(i, n_players)]


def test_the_simulation_keeps_the_work():
    alone = schedule.makespan(22, 1)
    assert alone == 22 * 20 + 22 * 21 // 2 * 24  # 2 d + 14 and 3 d + 15 at d = 3
    assert schedule.makespan(513, 1) == 513 * 20 + 513 * 512 // 2 * 24  # players of 4 blocks, the last of 1
    for n_workers in (2, 5, 40):
        assert alone / n_workers <= schedule.makespan(22, n_workers) <= alone


def test_65536_tokens_occupy_64_cores():
    assert schedule.makespan(342, 1) / schedule.makespan(342, 64) > 60


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_some_tokens_of_many_coordinates(isa, dtype, is_symmetric):
    """Blocks with a second form, of which a part is computed: the bits of the whole."""
    n, dim = 2_000, 35
    x = cases.tokens(n, dim, dtype, n_replicas=2)
    attention = cs.SoftmaxAttention(query=cases.form("psd" if is_symmetric else "general", dim), key=np.eye(dim))
    whole = attention(x, n_threads=1)
    assert np.array_equal(attention(x, n_threads=3), whole)
    assert np.array_equal(attention.rows_of(x, first=192 * 2, stop=192 * 7, n_threads=2), whole[:, 192 * 2 : 192 * 7])


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_players_of_several_blocks(dtype, is_symmetric):
    """261 blocks, two a player, the last one alone; every block pair counts once, for all tokens and for some."""
    n = 50_000
    assert schedule.players(-(-n // 192)) == [2] * 130 + [1]
    x, p = cases.tokens(n, 2, dtype), cases.weights(n)
    query = np.array([[2.0, 0.5], [0.5 if is_symmetric else -0.5, 1.0]])
    attention = cs.SoftmaxAttention(query=query, key=np.eye(2))
    got = attention(x[0], p, n_threads=3)
    assert np.array_equal(got, attention(x[0], p, n_threads=1))
    uniform = attention(x, n_threads=3)
    part = attention.rows_of(x, first=192 * 7, stop=192 * 200, n_threads=2)
    assert np.array_equal(part, uniform[:, 192 * 7 : 192 * 200])
    some = np.random.default_rng(0).choice(n, 60, replace=False)
    exact = x[0].astype(np.longdouble)
    scores = exact[some] @ query.T.astype(np.longdouble) @ exact.T
    for weights, found in ((p, got), (None, uniform[0])):
        w = np.exp(scores) * (1 if weights is None else weights)
        want = w @ exact / w.sum(axis=1, keepdims=True)
        twins.assert_close(found[some], want, atol=twins.attention_tolerance(3.0, 2, dtype), dtype=dtype)
