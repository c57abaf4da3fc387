"""Pages that show a collection to people.

The same pages are served and written as files: their links are relative, so
that they work below any address.
"""

import base64
import dataclasses
import hashlib
import os
import re
import shutil
from pathlib import Path

from markdown_it import MarkdownIt

from keras_experts import files
from keras_experts import templates
from keras_experts.exporting import cards
from keras_experts.saved_models import handles
from keras_experts.saved_models import naming

INDEX = "index.html"
COMMENT = re.compile(r"^<!--.*-->$", re.MULTILINE)
# Lists a site's files: only a folder of these is replaced.
SITE_FILE = ".keras_experts_site"


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
        ValueError: if collection.json is not one of ours, or a file of the
            collection is a link out of the folder.
    """
    rows = handles.read_rows(folder)
    return [_entry(Path(folder).resolve(), row) for row in rows]


def _entry(folder: Path, row: dict) -> Entry:
    where = cards.card_path(*naming.split_handle(row["handle"]))
    archive = _inside(folder, row["archive"])
    card = _inside(folder, where)
    samples = _inside(folder, Path(row["path"]) / handles.SAMPLES_FILE)
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


def _inside(folder: Path, path: str | Path) -> Path:
    whole = (folder / path).resolve()
    if not whole.is_relative_to(folder):
        raise ValueError(
            "A collection's files must lie in its folder. "
            f"Received: {path} in {folder}."
        )
    return whole


def pages(entries: list[Entry]) -> dict[str, str]:
    """Renders the pages of a collection, by their paths from its root."""
    rows = _shown(entries)
    contents = {
        INDEX: templates.render(
            "site_index.html.j2",
            digest=_digest,
            root="",
            rows=rows,
            tree=_tree(rows),
            collections=list(dict.fromkeys(row["collection"] for row in rows)),
        )
    }
    for entry, row in zip(entries, rows, strict=True):
        path = page_path(entry.row["handle"])
        contents[path] = templates.render(
            "site_module.html.j2",
            digest=_digest,
            root="../" * path.count("/"),
            row=row,
            card=_html(entry.card),
        )
    return contents


def missing_page(path: str, root: str) -> str:
    """Renders the page for an address that leads nowhere.

    Args:
        path: str. Path of the address, below the root of the site.
        root: str. Address of the root, ending in "/".
    """
    return templates.render(
        "site_missing.html.j2", digest=_digest, path=path, root=root
    )


def page_path(handle: str) -> str:
    """Returns the path of a module's page."""
    return f"{handle}.html"


def samples_path(handle: str) -> str:
    """Returns the path of the strip of a module's images."""
    return f"samples/{handle}.jpg"


def write_site(collection: str | Path, output: str | Path) -> int:
    """Writes a collection as files for any web server or bucket.

    A handle with its version is the archive itself, so that hub.load finds it
    where a server leaves out the query.

    Args:
        collection: folder that `export` wrote.
        output: folder to make, or one that this made before, which is then
            replaced, whole or not at all.

    Returns:
        int. Number of modules.

    Raises:
        FileExistsError: if the folder holds anything else.
        FileNotFoundError: if there is no whole collection.
        ValueError: if the collection is not one of ours.
    """
    entries = read_collection(collection)
    output = Path(output).resolve()
    check_output(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with files.temporary_folder(output.parent) as made:
        new, old = made / "new", made / "old"
        _fill(new, entries, Path(collection))
        try:
            if output.exists():
                output.rename(old)
            new.rename(output)
        finally:
            if old.exists() and not output.exists():
                old.rename(output)
    return len(entries)


def check_output(output: str | Path) -> None:
    """Raises unless a site can be written to a folder.

    Raises:
        FileExistsError: if it holds what `write_site` did not write.
    """
    output = Path(output)
    listed = output / SITE_FILE
    ours = listed.read_text().splitlines() if listed.is_file() else []
    strange = set(_files_in(output)) - {*ours, SITE_FILE}
    if output.is_file() or strange:
        what = f"which holds {min(strange)}" if strange else "which is a file"
        raise FileExistsError(
            "The folder of a site must be new, empty or an older site. "
            f"Received: {output}, {what}."
        )


def _files_in(folder: Path) -> list[str]:
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    ]


def _fill(folder: Path, entries: list[Entry], collection: Path) -> None:
    for path, text in pages(entries).items():
        files.write_text(folder / path, text)
    for entry in entries:
        target = folder / entry.row["handle"]
        shutil.copyfile(entry.archive, target)
        _link(target, folder / entry.row["archive"])
        if entry.samples is not None:
            target = folder / samples_path(entry.row["handle"])
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(entry.samples, target)
    listed = collection / handles.COLLECTION_FILE
    shutil.copyfile(listed, folder / handles.COLLECTION_FILE)
    files.write_text(folder / SITE_FILE, "\n".join(_files_in(folder)))


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a disk without links
        shutil.copyfile(source, target)


def _shown(entries: list[Entry]) -> list[dict]:
    """Lists what the pages show of each module."""
    latest = handles.latest_rows(entry.row for entry in entries)
    latest = {row["handle"].rpartition("/")[0]: row["handle"] for row in latest}
    return [_shown_row(entry, latest) for entry in entries]


def _shown_row(entry: Entry, latest: dict[str, str]) -> dict:
    row = entry.row
    publisher, name, version = naming.split_handle(row["handle"])
    newest = latest[f"{publisher}/{name}"]
    return {
        **row,
        "page": page_path(row["handle"]),
        "samples": samples_path(row["handle"]) if entry.samples else None,
        "title": (row["domain"] or row["name"]).replace("_", " "),
        "description": cards.description(row),
        "publisher": publisher,
        "collection": f"{publisher}/{name.rpartition('/')[0]}".rstrip("/"),
        "version": version,
        "latest_version": naming.split_handle(newest)[2],
        "latest_page": page_path(newest),
        "license": row["publication"]["license"],
        "size": f"{row['num_bytes'] / 1e6:,.1f} MB",
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


def _digest(script: str) -> str:
    """Gives that by which a page's policy knows its own script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
