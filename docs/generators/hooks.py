"""What mkdocs calls: adds the pages that are made from the source."""

import sys
from pathlib import Path

from mkdocs.structure.files import File

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from docs.generators import pages  # noqa: E402

# Tabs of one page, which have nothing to list beside it.
ALONE = ("index.md", "alternatives.md")


def on_files(files, config):
    """Adds the generated pages to those of the folder docs/."""
    for path, text in pages.all_pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Gives pages that stand alone all of the width."""
    if page.file.src_uri in ALONE:
        page.meta["hide"] = ["navigation"]
    return markdown
