"""Sphinx extension: what pages get from the code.

A line `% generated: NAME` in a page becomes what NAME.markdown() in this folder returns. The directive `used-in` lists
the pages whose code uses an object.
"""

import importlib
import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import import_object
from sphinx_codeautolink.extension.directive import Examples

LINE = re.compile(r"^% generated: (\w+)$", flags=re.MULTILINE)


def fill(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the lines of a page, and make it depend on the scripts and on what these read."""

    def text(match: re.Match[str]) -> str:
        module = importlib.import_module(match[1])
        for path in [Path(module.__file__), *getattr(module, "READS", [])]:
            app.env.note_dependency(str(path), docname=page)
        return module.markdown()

    source[0] = LINE.sub(text, source[0])


class UsedIn(Examples):
    """The list of code that uses an object."""

    def run(self) -> list[nodes.Node]:
        """Links know a class by the module that defines it."""
        thing = import_object(self.arguments[0])
        if isinstance(thing, type):
            self.arguments[0] = f"{thing.__module__}.{thing.__qualname__}"
        return super().run()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register."""
    app.connect("source-read", fill)
    app.add_directive("used-in", UsedIn)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
