"""Configuration of the site: `sphinx-build -W --keep-going -b html docs build/site`. Nothing is fetched."""

import os
import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_scripts"))

project = "chaosphere"
author = "The chaosphere developers"
project_copyright = "2026, the chaosphere developers"
version = release = version_of("chaosphere")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_codeautolink",
    "generated",
    "links",
]
exclude_patterns = ["_scripts", "_templates"]
templates_path = ["_templates"]
nitpicky = True
nitpick_ignore = [("py:class", "xarray.Dataset"), ("py:class", "numpy.ndarray")]  # of other projects
nitpick_ignore_regex = [("py:obj", ".*")]  # what stands between backticks in a docstring may be an argument, too
smartquotes = False  # "--option" stays as it is

# Pages
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "substitution"]
myst_heading_anchors = 3
myst_substitutions = {"version": version}

# Code of pages. `-D nb_execution_mode=cache` runs again what has changed only, also where the library has not.
nb_execution_mode = "force"
nb_execution_timeout = 300  # seconds for a cell, where other work takes the processors; a page takes 30 at most
nb_execution_show_tb = True  # a page that fails is a warning, which -W makes an error
nb_execution_in_temp = True
nb_execution_cache_path = str(HERE.parent / "build" / "pages-cache")
nb_merge_streams = True
nb_mime_priority_overrides = [("html", "image/gif", 0)]
os.environ["MATPLOTLIBRC"] = str(HERE / "_static" / "matplotlibrc")
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # `chaosphere` in pages

# API
autosummary_generate = True
default_role = "autolink"
autodoc_typehints = "none"
numpydoc_show_class_members = False
# Code on pages links to the API, and the API to that code.
codeautolink_concat_default = True
# Sphinx takes flags of doctest out of the code, which then is not the source any more: there are no links in it.
suppress_warnings = ["codeautolink.match_block"]

# Theme
html_theme = "pydata_sphinx_theme"
html_title = "chaosphere"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "chaosphere"},
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
}
html_sidebars = {page: [] for page in ("index", "performance", "changelog", "citing")}
html_context = {"default_mode": "auto"}
copybutton_exclude = ".linenos, .gp, .go"
mathjax_path = "mathjax/tex-chtml.js"


def keep_bars(app, what, name, obj, options, lines):
    """In docstrings |x| is a norm; in reStructuredText it would be a substitution."""
    for number, line in enumerate(lines):
        if line.lstrip().startswith((">>>", "...")):
            continue
        parts = re.split(r"(``.*?``|:math:`.*?`)", line)
        parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
        lines[number] = "".join(parts)


def setup(app):
    """Connect what the pages need."""
    app.connect("autodoc-process-docstring", keep_bars, priority=900)
