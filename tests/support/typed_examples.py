"""The examples of pages and docstrings as modules of a user, for a type checker."""

import ast
import builtins
import doctest
import importlib
import inspect
import pkgutil
import re
import textwrap
from pathlib import Path

import chaosphere as cs

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def of_pages():
    """Yield a name and the source of every block of Python code of a page."""
    for page in PAGES:
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)):
            yield f"{page.stem.lower()}_{number}", block


def of_docstrings():
    """Yield a name and the source of the examples of every docstring, with imports of what they take for granted."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for _, name, _ in pkgutil.walk_packages(cs.__path__, "chaosphere."):
        if name == "chaosphere.__main__" or ".kernels" in name:
            continue
        module = importlib.import_module(name)
        for test in finder.find(module, globs={}):
            source = "".join(example.source for example in test.examples)
            if source:
                yield re.sub(r"\W", "_", test.name), "".join(imports(source, module)) + source


def imports(source, module):
    """Yield imports of the names that examples of a docstring use and its module has."""
    used = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    for name in sorted(used & vars(module).keys() - vars(builtins).keys()):
        value = vars(module)[name]
        if inspect.ismodule(value):
            yield f"import {value.__name__} as {name}\n"
        else:
            yield f"from {getattr(value, '__module__', module.__name__)} import {name}\n"


def write(folder):
    """Write every example as a module of its own; return their paths."""
    paths = []
    for name, source in [*of_pages(), *of_docstrings()]:
        path = folder / f"{name}.py"
        path.write_text(textwrap.dedent(source))
        paths.append(path)
    return paths
