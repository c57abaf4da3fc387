"""What mkdocs calls: adds the pages that are made from the source."""

import sys
from pathlib import Path

from mkdocs.structure.files import File

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from docs.generators import pages  # noqa: E402


def on_files(files, config):
    """Adds the generated pages to those of the folder docs/."""
    for path, text in pages.all_pages().items():
        files.append(File.generated(config, path, content=text))
    return files
