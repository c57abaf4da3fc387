"""Which names publishers, modules and experts may have."""

import re

# Of tfhub.dev (tools/validator.py of tensorflow/tfhub.dev), in ASCII.
PUBLISHER_PATTERN = re.compile(r"[a-z\d-]+", re.ASCII)
NAME_PATTERN = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
PART_PATTERN = re.compile(r"[\w.-]+", re.ASCII)
HANDLE_PATTERN = re.compile(
    rf"({PUBLISHER_PATTERN.pattern})/({NAME_PATTERN.pattern})/(\d+)", re.ASCII
)
# Training's names of experts stand in code that people copy.
EXPERT_PATTERN = re.compile(r"[\w'-][\w'. -]*")


def split_handle(handle: str) -> tuple[str, str, int]:
    """Splits a handle into publisher, name and version.

    Raises:
        ValueError: if it is none that tfhub.dev would take.
    """
    match = HANDLE_PATTERN.fullmatch(handle)
    if match is None or _leads_up(handle):
        raise ValueError(
            "A module's handle must be PUBLISHER/NAME/VERSION, of letters, "
            f"digits, '_', '-' and '.'. Received: {handle!r}."
        )
    return match[1], match[2], int(match[4])


def check_name(argument: str, name: str, pattern: re.Pattern) -> None:
    """Raises unless a name can be a part of a handle, or an expert's.

    Args:
        argument: str. What errors call the name.
        name: str.
        pattern: of the whole name, one of the above.

    Raises:
        ValueError: if it does not match, or has a part "." or "..".
    """
    if not pattern.fullmatch(name) or _leads_up(name):
        raise ValueError(
            f"`{argument}` must match {pattern.pattern} and have no part '.' "
            f"or '..'. Received: {name!r}."
        )


def clean_name(name: str) -> str:
    """Gives a name with "_" for all that the last part of a handle may not."""
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)


def _leads_up(name: str) -> bool:
    return bool({".", ".."} & set(name.split("/")))
