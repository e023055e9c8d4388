"""The tournament between blocks: every pair once, every block once a round, and work for many cores."""

import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("schedule_bench", Path(__file__).parents[2] / "benches" / "schedule.py")
schedule = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(schedule)


@pytest.mark.parametrize("n_blocks", [1, 2, 3, 4, 7, 22, 86])
def test_every_pair_once_and_every_block_once_a_round(n_blocks):
    rounds = schedule.games(n_blocks)
    for games in rounds:
        players = [player for game in games for player in set(game)]
        assert len(players) == len(set(players))
    pairs = sorted(tuple(sorted(game)) for games in rounds for game in games)
    assert pairs == [(i, j) for i in range(n_blocks) for j in range(i, n_blocks)]


def test_the_simulation_keeps_the_work():
    alone = schedule.makespan(22, 1)
    assert alone == 22 * 20 + 22 * 21 // 2 * 24  # 2 d + 14 and 3 d + 15 at d = 3
    for n_workers in (2, 5, 40):
        assert alone / n_workers <= schedule.makespan(22, n_workers) <= alone


def test_65536_tokens_occupy_64_cores():
    assert schedule.makespan(342, 1) / schedule.makespan(342, 64) > 60
