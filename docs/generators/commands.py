"""The page of all commands and flags, from the parser that runs them."""

import argparse
from collections.abc import Iterator

from keras_experts import cli

# Of each area of flags, in the parser's order, what users it is for.
AREAS = (
    (cli.upstream, "Train upstream"),
    (cli.publishing, "Publish"),
    (cli.transfer, "Select and transfer"),
    (cli.evaluation, "Evaluate"),
)
INTRODUCTION = """# Commands

`keras-experts COMMAND --help` prints the same. Every command has `--debug`,
which shows the traceback of an error. Exit codes: 0 done, 1 failed, 2 misused.
Defaults stand in brackets. Several values stand behind their flag,
with spaces between them.
"""


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Gives the parser of each command by its name, in their order."""
    return _choices(cli.make_parser())


def page() -> str:
    """Gives the page as Markdown."""
    text = [INTRODUCTION]
    left = parsers()
    for area, title in AREAS:
        own = argparse.ArgumentParser().add_subparsers()
        for add in area.ADD:
            add(own)
        text.append(f"## {title}\n")
        text += [_command(name, left.pop(name)) for name in own.choices]
    if left:
        raise ValueError(
            "Every area of flags must be in `AREAS`. "
            f"Received: none with {', '.join(left)}."
        )
    return "\n".join(text)


def _choices(parser: argparse.ArgumentParser) -> dict:
    actions = (a for a in parser._actions if isinstance(a.choices, dict))
    return dict(next(actions).choices)


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    rows = "\n".join(_rows(parser))
    return (
        f"### {name}\n\n{parser.description}\n\n"
        f"| flag | values | |\n|---|---|---|\n{rows}\n"
    )


def _rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    shown = [
        action
        for action in parser._actions
        if action.dest not in ("help", "debug")
    ]
    # What must be given first, as it stands in a call.
    shown.sort(key=lambda a: (bool(a.option_strings), not a.required))
    for action in shown:
        name = ", ".join(action.option_strings) or action.dest.upper()
        told = (action.help or "").replace("|", "\\|")
        if action.required and action.option_strings:
            told = f"**needed**; {told}" if told else "**needed**"
        yield f"| `{name}` | {_values(action)} | {told} |"


def _values(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices:
        values = ", ".join(f"`{choice}`" for choice in action.choices)
    elif action.type in (int, float):
        values = {int: "whole number", float: "number"}[action.type]
    else:
        values = "text"
    several = action.nargs in ("+", "*")
    return f"{values}, one or more" if several else values
