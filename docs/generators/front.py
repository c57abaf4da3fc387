"""Pages that are files at the top of the checkout, with one source each."""

import re
from pathlib import Path

from docs.generators import api

ROOT = api.ROOT
# Of each file its page.
FILES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
# A link of Markdown or of HTML, to a place in the checkout.
LINK = re.compile(r'(\]\(|src="|srcset="|href=")(?!https?:|#)([^)"#\s]+)')


def pages() -> dict[str, str]:
    """Gives the pages as Markdown by their path."""
    return {
        page: moved((ROOT / file).read_text(encoding="utf-8"))
        for file, page in FILES.items()
    }


def moved(text: str) -> str:
    """Gives a text at the top of the checkout as one of the folder docs/."""
    return LINK.sub(lambda m: m[1] + _place(m[2]), text)


def _place(path: str) -> str:
    if path in FILES:
        return FILES[path]
    inside = Path(path).parts[0] == "docs"
    return str(Path(*Path(path).parts[1:])) if inside else f"../{path}"
