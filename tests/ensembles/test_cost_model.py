"""The model of what a step costs the ranks counts what they do."""

import importlib.util
import itertools
from pathlib import Path

import pytest

from chaosphere.kernels.blocks import block_size
from chaosphere.simulation import partition

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def model():
    spec = importlib.util.spec_from_file_location("cost_model", DOCS / "_scripts" / "cost_model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Comm:
    def __init__(self, size):
        self.size = size

    def Get_size(self):
        return self.size

    Get_rank = Allgatherv = Allreduce = Bcast = allgather = allreduce = bcast = None


def test_one_rank_has_no_speed_up_and_many_half_of_their_number(model):
    speed_ups = {int(row.split("|")[1]): float(row.split("|")[7]) for row in model.markdown().splitlines()[4:]}
    assert speed_ups[1] == 1
    assert 0.4 < speed_ups[1024] / 1024 < 0.5


@pytest.mark.parametrize("n_tokens", [1000, 16_384, 100_003])
@pytest.mark.parametrize("n_ranks", [1, 2, 3, 7])
def test_counts_are_those_of_the_pair_schedule(model, n_tokens, n_ranks):
    block = block_size(n_tokens)
    n_blocks = -(-n_tokens // block)
    bounds = partition.rows(Comm(n_ranks), n_tokens).bounds
    n_groups, most = n_blocks | 1, 0
    for first, stop in itertools.pairwise(bounds):
        low, high = first // block, -(-stop // block)
        n_pairs = 0
        for r in range(n_groups):
            for m in range((n_groups + 1) // 2):
                pair = ((r + m) % n_groups, (r - m) % n_groups)
                n_pairs += max(pair) < n_blocks and any(low <= p < high for p in pair)
        most = max(most, n_pairs)
    n_own, weights, n_bytes = model.rank_costs(n_tokens, 3, n_ranks)
    assert weights == most * block**2
    assert n_own >= max(stop - first for first, stop in itertools.pairwise(bounds))
    assert n_bytes == (n_tokens - n_own) * 24
