"""The files around the code name the same sessions, packages and versions."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
GROUPS = PYPROJECT["dependency-groups"]
RECIPE = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CALLERS = [ROOT / "CONTRIBUTING.md", *WORKFLOWS]
CONDA_NAMES = {"matplotlib-base": "matplotlib", "pot": "POT"}


def sessions():
    """The names of the sessions of noxfile.py."""
    return {node.name for node in ast.parse((ROOT / "noxfile.py").read_text()).body if is_session(node)}


def is_session(node):
    decorators = map(ast.unparse, getattr(node, "decorator_list", []))
    return any(decorator.partition("(")[0] == "nox.session" for decorator in decorators)


def called(text):
    """The sessions that a text asks nox for, itself or by the function of .ci/run."""
    calls = re.findall(r"(?:\bnox(?: --[\w-]+)* -s|^ *session)((?: [a-z]+)+)", text, flags=re.MULTILINE)
    return {name for call in calls for name in call.split()}


def name_of(requirement):
    return re.match(r"[\w.-]+", requirement)[0]


def extras_of(requirements):
    """The extras of chaosphere itself that some requirements name."""
    found_extras = re.findall(r"chaosphere\[([\w,]+)\]", " ".join(map(str, requirements)))
    return {extra for names in found_extras for extra in names.split(",")}


@pytest.mark.parametrize("path", CALLERS, ids=lambda path: path.name)
def test_sessions_exist(path):
    names = called(path.read_text())
    assert names
    assert names <= sessions()


def test_sessions_of_ci_exist():
    names = called((ROOT / ".ci" / "run").read_text())
    assert {"mpi", "lint", "types", "example", "benches", "wheel", "docs"} <= names <= sessions()


def test_sessions_are_documented():
    table = re.findall(r"^\| `nox -s (\w+)", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    assert set(table) == sessions()


def test_calls_are_read():
    assert called("nox --no-venv --no-install -s lint types") == {"lint", "types"}
    assert called("    session mpi\nA session of mine") == {"mpi"}
    assert called("nox -s tests -- tests/kernels") == {"tests"}


def test_groups_that_sessions_install_exist():
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "install"]
    names = {argument.value for call in calls for argument in call.args if isinstance(argument, ast.Constant)}
    assert "test" in names
    assert names <= GROUPS.keys()


def test_extras_that_are_named_exist():
    named = extras_of([*EXTRAS.values(), *GROUPS.values()])
    assert {"all", "test"} <= named
    assert named <= EXTRAS.keys()


def test_one_bound_for_each_package():
    lists = [PROJECT["dependencies"], *EXTRAS.values(), *GROUPS.values()]
    requirements = {entry for entries in lists for entry in entries if isinstance(entry, str)}
    names = [name_of(entry) for entry in requirements if "[" not in entry]
    assert "numpy" in names
    assert sorted(names) == sorted(set(names))


def test_recipe():
    requirements = RECIPE["requirements"]
    spaced = {re.sub(r"^([\w-]+)", r"\1 ", entry) for entry in PROJECT["dependencies"]}
    assert set(requirements["run"]) == {"python", *spaced}
    host = {entry for entry in requirements["host"] if isinstance(entry, str)}
    assert {re.sub(r"^([\w-]+)", r"\1 ", entry) for entry in PYPROJECT["build-system"]["requires"]} <= host
    optional = {f"{name_of(entry)} {entry[len(name_of(entry)) :]}" for entries in EXTRAS.values() for entry in entries}
    for constraint in requirements["run_constraints"]:
        name, bound = constraint.split()
        assert f"{CONDA_NAMES.get(name, name)} {bound}" in optional
    assert RECIPE["context"]["version"] == PROJECT["version"]
    assert RECIPE["context"]["python_min"] == PROJECT["requires-python"].removeprefix(">=")


def test_wheels_are_tested_with_packages_of_the_extra():
    packages = {name_of(entry) for entry in EXTRAS["test"]}
    assert set(PYPROJECT["tool"]["cibuildwheel"]["test-requires"]) <= packages
    assert set(RECIPE["tests"][1]["requirements"]["run"]) <= packages


def test_every_python_is_built_and_tested():
    built = re.findall(r"cp3(\d+)-", PYPROJECT["tool"]["cibuildwheel"]["build"])
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    oldest = jobs["run"]["steps"][1]["with"]["python-version"]
    tested = [oldest, *jobs["tests"]["strategy"]["matrix"]["python"]]
    assert [f"3.{minor}" for minor in built] == tested
    assert f">={oldest}" == PROJECT["requires-python"]


def test_pytest_has_the_options_that_are_set():
    """One minimum; faulthandler_exit_on_timeout came with 9."""
    minimum = PYPROJECT["tool"]["pytest"]["ini_options"]["minversion"]
    assert int(minimum) >= 9
    assert f"pytest>={minimum}" in EXTRAS["test"]


def test_citation_has_the_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == PROJECT["version"]
