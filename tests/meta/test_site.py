"""What the scripts of the site make of the source and of the results of the benches."""

import importlib
import json
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "_scripts")
    return importlib.import_module


def test_every_case_of_the_benches_is_on_the_page(script):
    performance = script("performance")
    for path in performance.RESULTS:
        results = json.loads(path.read_text())
        if "benchmarks" in results:
            cases = {entry["group"] for entry in results["benchmarks"]}
            page = "\n".join(performance.of_kernels("test", results))
            rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| case")]
            n_rates = len({name.split()[0] for name in results["machine_info"]["peaks"]})
            n_tables = page.count("| case")
            assert len(rows) == len(cases) + (n_rates + 2) + n_tables  # and a line under each head


def test_cases_in_words(script):
    label = script("performance").label
    assert label("attention[N16384-d3-float64]", {"attention": ""}) == "N = 16\u202f384, d = 3, float64"
    assert label("layer[N64-d3-m128-relu-float32]", {"layer": ""}) == "N = 64, d = 3, m = 128, relu, float32"
    assert label("general[N600-d3-float64]", {"general": "not symmetric"}) == "not symmetric, N = 600, d = 3, float64"


def test_implied_imports_are_left_out(script):
    edges = {"a": {"b", "c", "d"}, "b": {"c"}, "c": set(), "d": set()}
    assert script("architecture").without_implied(edges) == {"a": {"b", "d"}, "b": {"c"}, "c": set(), "d": set()}


def test_arrows_go_down(script):
    architecture = script("architecture")
    edges = architecture.imports()
    rows = {package: row for row, level in enumerate(architecture.rows(edges)) for package in level}
    assert all(rows[other] > rows[package] for package, targets in edges.items() for other in targets)


def test_every_command_is_on_its_page(script):
    page = script("command_line").markdown()
    assert "## chaosphere chaos\n" in page
    assert ":::{option} --seed SEED\n" in page


def test_links_that_lead_nowhere(script, tmp_path):
    pytest.importorskip("sphinx")
    links = script("links")
    (tmp_path / "a.html").write_text('<h1 id="top">A</h1> <a href="b.html#end">b</a> <a href="#top">up</a>')
    (tmp_path / "b.html").write_text('<a href="c.html">c</a> <img src="https://elsewhere.example/x.png">')
    assert links.problems(tmp_path) == [
        ("a", "no such place in the page: b.html#end"),
        ("b", "comes from elsewhere: https://elsewhere.example/x.png"),
        ("b", "leads nowhere: c.html"),
    ]


def test_the_design_of_the_kernels_is_a_page():
    lines = (DOCS / "developers" / "kernels.md").read_text().splitlines()
    assert len(" ".join(line for line in lines if not line.startswith("%")).split()) <= 1500
