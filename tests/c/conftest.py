"""The sanitized programs are compiled and run in the background while other tests run; their own tests come last."""

import tempfile
from pathlib import Path

from test_sanitizers import PROGRAMS, Programs

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: HERE in item.path.parents)  # keeps the order otherwise


def pytest_collection_finish(session):
    if (
        any("programs" in getattr(item, "fixturenames", ()) for item in session.items)
        and not session.config.option.collectonly
    ):
        session.config.stash[PROGRAMS] = Programs(Path(tempfile.mkdtemp()))


def pytest_unconfigure(config):
    programs = config.stash.get(PROGRAMS, None)
    if programs is not None:
        programs.close()
