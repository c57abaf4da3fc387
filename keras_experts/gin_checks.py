"""Checks of gin bindings, and one-line reasons for gin's own errors."""

import collections.abc
import difflib
import inspect
import math
import re
import types
import typing
from collections.abc import Iterable
from pathlib import Path

import gin

MACRO = "gin.macro"
LOCATION = re.compile(r'In (?:file "(.+?)",|bindings string) line (\d+)')
UNKNOWN_FUNCTION = re.compile(
    r"No configurable matching (?:reference )?'@?(.+?)(?:\(\))?'"
)
UNKNOWN_ARGUMENT = re.compile(r"'(.+)' doesn't have a parameter named '(.+)'")
UNKNOWN_MACRO = re.compile(r"No bindings specified for '(.+?)(?:/gin\.macro)?'")
PARAMETERS = "--gin_param"


def explain(error: Exception, sources: Iterable[tuple[str, str]]) -> str:
    """Returns what an error of gin says, where, and the likely spelling.

    Args:
        error: what gin raised.
        sources: name and text of each file that was read, in this order.
    """
    if isinstance(error, SyntaxError):
        file, number, _, line = error.args[1][:4]
        place = f"{file or PARAMETERS}, line {number}"
        return f"{error.args[0]} In {place}: {(line or '').strip()!r}"
    text = str(error)
    reason = text.partition("\n")[0]
    reason = reason.partition(" in config string")[0].rstrip(".")
    if location := LOCATION.search(text):
        place = f"{location[1] or PARAMETERS}, line {location[2]}"
    else:
        macro = UNKNOWN_MACRO.search(reason)
        place = find(rf"%{macro[1]}\b", sources) if macro else None
    place = f", in {place}" if place else ""
    return f"{reason}{place}{suggest(reason)}."


def suggest(reason: str) -> str:
    """Returns the likely spelling of the name that an error complains of."""
    known: Iterable[str] = ()
    name = ""
    if match := UNKNOWN_ARGUMENT.search(reason):
        name = match[2]
        known = _parameters(gin.config._REGISTRY.get_match(match[1]).wrapped)
    elif match := UNKNOWN_FUNCTION.search(reason):
        name = match[1].rpartition(".")[2]
        selectors = (selector for selector, _ in gin.config._REGISTRY.items())
        known = {selector.rpartition(".")[2] for selector in selectors}
    elif match := UNKNOWN_MACRO.search(reason):
        name = match[1]
        known = macros()
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def macros() -> list[str]:
    """Returns the names to which gin files give values."""
    config = gin.config._CONFIG
    return [scope for scope, selector in config if selector == MACRO]


def find(pattern: str, sources: Iterable[tuple[str, str]]) -> str | None:
    """Returns the last file, and line, that a regular expression matches."""
    found = None
    for name, content in sources:
        for number, line in enumerate(content.splitlines(), start=1):
            if re.search(pattern, line.partition("#")[0]):
                found = f"{name}, line {number}"
    return found


def expand_home() -> None:
    """Replaces "~" at the start of paths among the values."""
    for parameters in gin.config._CONFIG.values():
        for name, value in parameters.items():
            parameters[name] = _expand(value)


def _expand(value: object) -> object:
    if isinstance(value, str):
        mark, path = re.match("((?:wordnet:)?)(.*)", value, re.S).groups()
        is_home = path.startswith("~/")
        return f"{mark}{Path(path).expanduser()}" if is_home else value
    if isinstance(value, list | tuple):
        return type(value)(map(_expand, value))
    return value


def check_types(sources: Iterable[tuple[str, str]]) -> None:
    """Raises unless each value has a type that its parameter takes.

    Args:
        sources: as in `explain`.

    Raises:
        ValueError: if one has not, or is a number that is not finite.
    """
    sources = list(sources)
    for (scope, selector), parameters in gin.config._CONFIG.items():
        if selector == MACRO:
            continue
        function = gin.config._REGISTRY[selector].wrapped
        hints = _hints(function)
        for name, value in parameters.items():
            own = f"{selector.rpartition('.')[2]}.{name}"
            bound, value = _value_of(value, own)
            if fits(value, hints.get(name, typing.Any)):
                continue
            given = f"{scope}/{own}" if scope and bound == own else bound
            # In a block of bindings the name of the parameter stands alone.
            place = _find_binding(bound, sources) or _find_binding(
                name, sources
            )
            kind = inspect.formatannotation(hints[name])
            raise ValueError(
                f"`{own}` must be of type {kind}. Received: {given} = "
                f"{value!r}{f' in {place}' if place else ''}."
            )


def _find_binding(name: str, sources: list[tuple[str, str]]) -> str | None:
    return find(rf"(?:^|[./\s]){re.escape(name)}\s*=", sources)


def _value_of(value: object, binding: str) -> tuple[str, object]:
    """Returns the name that a value was given to, and that value."""
    config = gin.config._CONFIG
    while getattr(value, "selector", None) in ("macro", MACRO):
        binding = "/".join(value.scopes)
        if (binding, MACRO) not in config:
            break  # gin complains of it
        value = config[binding, MACRO]["value"]
    return binding, value


def fits(value: object, hint: object) -> bool:
    """Returns whether a value of a gin file can be of a type.

    References to functions fit everything: their results are not known yet.
    """
    if hint is typing.Any or isinstance(
        value, gin.config.ConfigurableReference
    ):
        return True
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, kind) for kind in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    kind = origin or hint
    if kind in (int, float):
        numbers = int if kind is int else (int, float)
        is_number = isinstance(value, numbers) and not isinstance(value, bool)
        return is_number and math.isfinite(value)
    if kind is Path:
        kind = str
    if kind in (tuple, collections.abc.Sequence):
        return isinstance(value, list | tuple)
    return not isinstance(kind, type) or isinstance(value, kind)


def _hints(function) -> dict[str, object]:
    if inspect.isclass(function):
        function = function.__init__
    try:
        return typing.get_type_hints(function)
    except NameError:  # names that are imported for type checkers alone
        return {}


def _parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)
