"""Results that tests of several files compare with."""

import pytest
from support.members import LAW, STUDY, digest, transformer
from support.stores import QUICK, free

import chaosphere as cs


@pytest.fixture(scope="module")
def expected():
    return digest(cs.ensemble(transformer, LAW, n_threads=1, **STUDY))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A store, and the dataset in it."""
    store = tmp_path_factory.mktemp("quick") / "study.zarr"
    return store, cs.ensemble(free, LAW, store=store, **QUICK)
