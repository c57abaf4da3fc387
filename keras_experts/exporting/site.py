"""Pages that show a collection to people.

The same pages are served and written as files: their links are relative, so
that they work below any address.
"""

import dataclasses
import re
import shutil
from pathlib import Path

from markdown_it import MarkdownIt

from keras_experts import files
from keras_experts import templates
from keras_experts.exporting import cards
from keras_experts.saved_models import handles

INDEX = "index.html"
COMMENT = re.compile(r"^<!--.*-->$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A module of a collection, with its files.

    Attributes:
        row: dict. Its row of `collection.json`.
        archive: Path.
        card: str. Its card, markdown.
        samples: Path. A strip of its images, or None.
    """

    row: dict
    archive: Path
    card: str
    samples: Path | None


def read_collection(folder: str | Path) -> list[Entry]:
    """Reads what there is to show of a collection.

    Args:
        folder: of the collection, as `export` writes it.

    Raises:
        FileNotFoundError: if it is none, or an archive is missing.
        ValueError: if collection.json leads out of the folder.
    """
    folder = Path(folder).resolve()
    listed = folder / handles.COLLECTION_FILE
    if not listed.exists():
        raise FileNotFoundError(
            f"A collection must have a {handles.COLLECTION_FILE}. "
            f"Received: {folder}, which has none."
        )
    return [_entry(folder, row) for row in files.read_json(listed)["modules"]]


def _entry(folder: Path, row: dict) -> Entry:
    publisher, _, rest = row["handle"].partition("/")
    name, _, version = rest.rpartition("/")
    archive = _inside(folder, row["archive"])
    card = _inside(folder, str(cards.card_path(publisher, name, int(version))))
    samples = _inside(folder, str(Path(row["path"]) / handles.SAMPLES_FILE))
    for path in (archive, card):
        if not path.is_file():
            raise FileNotFoundError(
                "A module of a collection must have its archive and its card. "
                f"Received: {row['handle']} without {path}."
            )
    return Entry(
        row,
        archive,
        card.read_text(encoding="utf-8"),
        samples if samples.is_file() else None,
    )


def _inside(folder: Path, path: str) -> Path:
    whole = (folder / path).resolve()
    if not whole.is_relative_to(folder):
        raise ValueError(
            "A collection's files must lie in its folder. "
            f"Received: {path!r} in {folder}."
        )
    return whole


def pages(entries: list[Entry]) -> dict[str, str]:
    """Makes the pages of a collection, by their paths from its root."""
    rows = [_shown(entry) for entry in entries]
    made = {
        INDEX: templates.render(
            "site_index.html.j2", root="", rows=rows, tree=_tree(rows)
        )
    }
    for entry, row in zip(entries, rows, strict=True):
        path = page_path(entry.row["handle"])
        made[path] = templates.render(
            "site_module.html.j2",
            root="../" * path.count("/"),
            row=row,
            card=_html(entry.card),
        )
    return made


def page_path(handle: str) -> str:
    """Gives where a module's page is."""
    return f"{handle}.html"


def samples_path(handle: str) -> str:
    """Gives where the strip of a module's images is."""
    return f"samples/{handle}.jpg"


def write_site(collection: str | Path, output: str | Path) -> int:
    """Writes a collection as files for any web server or bucket.

    A handle with its version is the archive itself, so that hub.load finds it
    where a server leaves out the query.

    Args:
        collection: folder that `export` wrote.
        output: folder to make; must be new or empty.

    Returns:
        int. Number of modules.
    """
    entries = read_collection(collection)
    with files.whole_folder(output) as folder:
        for path, text in pages(entries).items():
            files.write_text(folder / path, text)
        for entry in entries:
            handle = entry.row["handle"]
            shutil.copyfile(entry.archive, folder / handle)
            if entry.samples is not None:
                target = folder / samples_path(handle)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(entry.samples, target)
        shutil.copyfile(
            Path(collection) / handles.COLLECTION_FILE,
            folder / handles.COLLECTION_FILE,
        )
    return len(entries)


def _shown(entry: Entry) -> dict:
    row = entry.row
    return {
        **row,
        "page": page_path(row["handle"]),
        "samples": samples_path(row["handle"]) if entry.samples else None,
        "title": (row["domain"] or row["name"]).replace("_", " "),
        "description": cards.description(row),
        "version": row["handle"].rpartition("/")[2],
    }


def _tree(rows: list[dict]) -> list[dict]:
    """Puts experts below the first of their parents; others are roots."""
    latest = {}
    for row in rows:  # rising versions
        if row["domain"]:
            latest[row["domain"], row["kind"]] = row
    nodes: dict[str, dict] = {}
    for (domain, _), row in latest.items():
        node = nodes.setdefault(
            domain, {"title": row["title"], "rows": [], "children": []}
        )
        node["rows"].append(row)
        node["parent"] = row["parents"][0] if row["parents"] else None
    roots = []
    for node in nodes.values():
        above = nodes.get(node["parent"])
        (roots if above is None else above["children"]).append(node)
    return roots


def _html(card: str) -> str:
    """Renders a card; what is no markdown in it is shown as it is."""
    text = COMMENT.sub("", card.partition("\n")[2])
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    return markdown.render(text)
