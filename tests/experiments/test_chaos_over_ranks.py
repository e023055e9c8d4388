"""Propagation of chaos with tokens that ranks share, here one rank without MPI; see tests/ensembles/test_mpi.py."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.ensembles.ranks import Ranks
from chaosphere.experiments import chaos
from chaosphere.experiments.cases import Case, rates
from chaosphere.experiments.chaos.spread import SpreadCase


class Alone:
    """A communicator of one rank."""

    def Get_rank(self):
        return 0

    def Get_size(self):
        return 1

    def bcast(self, value):
        return value

    def allgather(self, value):
        return [value]


@pytest.mark.parametrize("dim", [2, 3])
def test_against_the_run_that_has_all_tokens(dim):
    """The same tokens, layers and limit: errors differ by rounding alone, but for the transport distance."""
    model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=cs.MLP(width=8), depth=4, horizon=1.0)
    cases = rates(model, dims=[dim], tokens=[16, 32, 64], n_nodes=32)
    ranks = Ranks(comm=Alone(), n_here=1)
    over = chaos.run([SpreadCase.of(case) for case in cases], rng=0, n_replicas=2, ranks=ranks)
    alone = chaos.run(cases, rng=0, n_replicas=2)
    for name in ("mean_square", "node_mean_square"):
        rest = over[name].values[:, :3]
        np.testing.assert_allclose(rest, alone[name].values[:, :3], rtol=1e-9)
        assert np.isfinite(rest).all()
        assert np.isnan(over[name].values[:, 3]).all()


def test_cases_that_need_all_tokens():
    model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=4, horizon=1.0)
    case = Case(name="x0", model=model, x0=cs.sample_uniform(100, 3, rng=0), tokens=(16, 32))
    with pytest.raises(ValueError, match="a case over ranks must have a law"):
        SpreadCase.of(case)
    law = cs.laws.Uniform(dim=2)
    with pytest.raises(ValueError, match="n_transport = 0"):
        SpreadCase(name="a", model=model, law=law, tokens=(16, 32), n_nodes=8, n_transport=32)
