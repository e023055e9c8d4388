"""What completion and a star import show of the public modules: the public names, and no others."""

import pytest
from support.programs import run

import chaosphere as cs

MODULES = {"cs": cs, **{f"cs.{name}": getattr(cs, name) for name in cs.__all__ if type(getattr(cs, name)) is type(cs)}}


def test_the_public_modules():
    assert {"cs", "cs.laws", "cs.measures", "cs.plot", "cs.two_point"} <= MODULES.keys()


@pytest.mark.parametrize("name", MODULES)
def test_dir_shows_the_public_names_only(name):
    module = MODULES[name]
    assert dir(module) == sorted(module.__all__)
    assert all(getattr(module, public).__doc__ for public in dir(module))
    assert [public for public in dir(module) if public.startswith("_")] == []


@pytest.mark.parametrize("name", MODULES)
def test_a_star_import_brings_the_public_names(name):
    module = "chaosphere" + name.removeprefix("cs")
    program = f"before = set(globals()); from {module} import *; print(*sorted(set(globals()) - before - {{'before'}}))"
    assert run(program).split() == sorted(MODULES[name].__all__)
