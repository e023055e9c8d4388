"""The page of the command line, from the parsers."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from chaosphere.cli import main as cli
from chaosphere.experiments import registry

READS = [*Path(cli.__file__).parent.rglob("*.py"), *Path(registry.__file__).parent.rglob("*.py")]


def markdown() -> str:
    """Return one section for each command."""
    parser = cli.make_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    summaries = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    return "\n".join(line for name, sub in commands.choices.items() for line in section(sub, summaries[name]))


def section(parser: argparse.ArgumentParser, summary: str) -> Iterator[str]:
    """Yield the lines of one command."""
    groups = {
        group.title: [action for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
        for group in parser._action_groups
    }
    positional = [
        signature(parser, action) for actions in groups.values() for action in actions if not action.option_strings
    ]
    sentence = summary[:1].upper() + summary[1:] if summary[:1].isascii() else summary  # κ stays κ
    yield f"## {parser.prog}\n\n{escaped(sentence)}.\n\n{escaped(parser.description or '')}\n"
    yield f"```text\n{' '.join([parser.prog, '[options]', *positional])}\n```\n"
    yield f"```{{program}} {parser.prog}\n```\n"
    for title, actions in groups.items():
        if actions:
            yield f"**{title[:1].upper() + title[1:]}**\n"
        for action in actions:
            yield f":::{{option}} {signature(parser, action)}\n{help_text(parser, action)}\n:::\n"


def signature(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Return an argument as the help has it: its names and its value."""
    formatter = parser._get_formatter()
    value = formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
    return " ".join(part for part in (", ".join(action.option_strings), value) if part)


def help_text(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Return the help of an argument, with its default filled in."""
    return escaped(parser._get_formatter()._expand_help(action))


def escaped(text: str) -> str:
    """Return text whose signs mean nothing to Markdown."""
    return re.sub(r"([\\`*_<>\[\]{}$])", r"\\\1", text)
