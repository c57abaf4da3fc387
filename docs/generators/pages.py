"""All pages that are made from the source, not typed by hand."""

from docs.generators import api
from docs.generators import commands
from docs.generators import front
from docs.generators import gin_files


def all_pages() -> dict[str, str]:
    """Gives the generated pages as Markdown, by their path below docs/."""
    return {
        **front.pages(),
        **api.pages(),
        "commands.md": commands.page(),
        "gin.md": gin_files.page(),
    }
