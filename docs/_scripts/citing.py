"""The entries to cite, from CITATION.cff."""

from typing import Any

import drawing
import yaml

FILE = drawing.ROOT / "CITATION.cff"
READS = [FILE]


def markdown() -> str:
    """Return a sentence and BibTeX entries for the software and the paper."""
    facts = yaml.safe_load(FILE.read_text())
    (paper,) = facts["references"]
    number = next(place["value"] for place in paper["identifiers"]).removeprefix("arXiv:")
    software = [("title", facts["title"]), ("author", names(facts)), ("version", facts["version"])]
    article = [("title", paper["title"]), ("author", names(paper)), ("year", paper["year"])]
    article += [("eprint", number), ("archiveprefix", "arXiv")]
    entries = [entry("software", "chaosphere", fields=software), entry("misc", f"arXiv:{number}", fields=article)]
    return f"{facts['message']}\n\n```bibtex\n{chr(10).join(entries)}\n```\n\nLicence: {facts['license']}."


def names(work: dict[str, Any]) -> str:
    """Return the authors as BibTeX wants them; braces keep a name of several words whole."""
    words = [author.get("family-names") or f"{{{author['name']}}}" for author in work["authors"]]
    return " and ".join(f"{{{word}}}" if " " in word and "{" not in word else word for word in words)


def entry(kind: str, key: str, *, fields: list[tuple[str, Any]]) -> str:
    """Return one entry."""
    width = max(len(name) for name, _ in fields)
    return "\n".join([f"@{kind}{{{key},", *(f"  {name:<{width}} = {{{value}}}," for name, value in fields), "}"])
