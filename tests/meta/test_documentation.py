"""Code in the README and in docstrings runs."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import chaosphere

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(chaosphere.__path__, "chaosphere.")
    if ".kernels" not in name and name != "chaosphere.__main__"
]
ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]  # their executed cells run with the site
PAGES = [page for page in PAGES if "```python\n" in page.read_text()]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_docstring_examples_were_found():
    finder = doctest.DocTestFinder(exclude_empty=True)
    tests = [test for name in MODULES for test in finder.find(importlib.import_module(name))]
    assert sum(bool(test.examples) for test in tests) >= 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_of_pages_runs(tmp_path, monkeypatch, page):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    for block in blocks:
        exec(compile(block, page.name, "exec"), {})


def test_the_readme_shows_what_its_code_prints(capsys):
    text = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (shown,) = re.findall(r"```text\n(.*?)```", text, flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == shown


COMMANDS = [page for page in (ROOT / "docs").rglob("*.md") if "\ncommand = " in page.read_text()]


@pytest.mark.parametrize("page", COMMANDS, ids=lambda page: page.stem)
def test_hidden_cells_run_the_command_above_them(page):
    text = page.read_text()
    for command in re.findall(r'^command = "(.*)"$', text, flags=re.MULTILINE):
        assert f"```sh\n{command}\n```" in text


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_links_to_files(page):
    """Those of pages outside the site, which its own check of links does not see."""
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_is_a_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
