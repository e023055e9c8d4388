"""Sphinx extension: after a build, warn of links that lead nowhere and of parts of pages that come from elsewhere."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
PARTS = {("script", "src"), ("img", "src"), ("source", "src"), ("video", "src"), ("iframe", "src")}


class Page(HTMLParser):
    """The links, the parts and the anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.parts: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag refers to, and its name."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        self.parts += [value for name, value in values.items() if (tag, name) in PARTS]
        if tag == "link" and values.get("rel") in {"stylesheet", "preload", "icon"}:
            self.parts.append(values["href"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])


def problems(folder: Path) -> list[tuple[str, str]]:
    """Return pairs of a page and what is wrong in it."""
    folder = folder.resolve()
    pages = {path: Page(path) for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts}
    wrong = []
    for path, page in pages.items():
        name = str(path.relative_to(folder).with_suffix(""))
        wrong += [(name, f"comes from elsewhere: {part}") for part in page.parts if urlsplit(part).netloc]
        for link in page.links + page.parts:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                wrong.append((name, f"leads nowhere: {link}"))
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                wrong.append((name, f"no such place in the page: {link}"))
    return wrong


def check(app: Sphinx, exception: Exception | None) -> None:
    """Warn of every problem."""
    if exception is None and app.builder.name == "html":
        for name, problem in problems(Path(app.outdir)):
            logger.warning("%s", problem, location=name, type="links")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register; links to code are written late in the same event."""
    app.connect("build-finished", check, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
