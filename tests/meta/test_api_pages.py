"""Every public name has its page in the API reference, and every page is of something that exists."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import chaosphere

PAGES = sorted((Path(__file__).parents[2] / "docs" / "api").glob("*.md"))
TABLE = re.compile(r"^\.\. currentmodule:: (\S+)\n\.\. autosummary::\n(?:   :.*\n)+\n((?:   \w+\n)+)", re.MULTILINE)
MODULE = re.compile(r"^\.\. py:module:: (\S+)$", re.MULTILINE)


def listed(text):
    """The names in the tables of a page, and the modules that it is about."""
    names = [f"{module}.{name}" for module, rows in TABLE.findall(text) for name in rows.split()]
    return names + MODULE.findall(text)


LISTED = [name for page in PAGES for name in listed(page.read_text())]


def public():
    """All that `chaosphere` and its public modules offer."""
    for name in chaosphere.__all__:
        yield f"chaosphere.{name}"
        module = getattr(chaosphere, name)
        if inspect.ismodule(module):
            yield from (f"chaosphere.{name}.{member}" for member in module.__all__)


@pytest.mark.parametrize("name", list(public()))
def test_public_names_have_a_page(name):
    assert LISTED.count(name) == 1


@pytest.mark.parametrize("name", LISTED)
def test_pages_are_of_something(name):
    module, _, member = name.rpartition(".")
    assert hasattr(importlib.import_module(module), member)


def test_every_page_is_in_the_index():
    index = (PAGES[0].parent / "index.md").read_text().split()
    assert {page.stem for page in PAGES} - {"index"} <= set(index)


def test_tables_are_read():
    table = "```{eval-rst}\n.. currentmodule:: a.b\n.. autosummary::\n   :toctree: generated\n\n   f\n   G\n```\n"
    assert listed(table + ".. py:module:: c\n") == ["a.b.f", "a.b.G", "c"]
