"""The sanitized programs are compiled and run in the background while other tests run; their own tests come last.

Where workers of pytest-xdist share the tests, the one that gets these compiles the programs itself.
"""

import tempfile
from pathlib import Path

from test_sanitizers import PROGRAMS, Programs, builds_of

HERE = Path(__file__).parent


def is_shared(config):
    """Whether this process is one of several that share the tests, or the one that hands them out."""
    return hasattr(config, "workerinput") or bool(config.getoption("numprocesses", None))


def pytest_collection_modifyitems(config, items):
    if not is_shared(config):
        items.sort(key=lambda item: HERE in item.path.parents)  # keeps the order otherwise


def pytest_collection_finish(session):
    builds = builds_of(session.items)
    if builds and not session.config.option.collectonly and not is_shared(session.config):
        session.config.stash[PROGRAMS] = Programs(Path(tempfile.mkdtemp()), builds)


def pytest_unconfigure(config):
    programs = config.stash.get(PROGRAMS, None)
    if programs is not None:
        programs.close()
