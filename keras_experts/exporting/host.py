"""A host of a collection: TensorFlow Hub's protocol, and pages for people.

The protocol is that of TensorFlow Hub's documentation (hosting.md): a client
asks for a handle with `tf-hub-format=compressed` and gets the archive.
"""

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.responses import HTMLResponse
from starlette.responses import PlainTextResponse
from starlette.responses import RedirectResponse
from starlette.responses import Response
from starlette.routing import Route

from keras_experts.exporting import site
from keras_experts.saved_models import handles
from keras_experts.saved_models.download import DIGEST_HEADER

ARCHIVE_TYPE = "application/gzip"
# A version never changes.
FOREVER = "public, max-age=31536000, immutable"


def make_app(collection: str | Path, gcs_mirror: str | None = None):
    """Makes the web application of a collection.

    All that it gives is listed when it starts; no path of a request is looked
    up on the disk.

    Args:
        collection: folder that `export` wrote.
        gcs_mirror: str. A `gs://` folder with the modules unpacked, for
            clients that ask for them so, or None.

    Raises:
        FileNotFoundError: if there is no collection.
        ValueError: if the mirror is no `gs://` address.
    """
    if gcs_mirror is not None and not gcs_mirror.startswith("gs://"):
        raise ValueError(
            f"`gcs_mirror` must start with gs://. Received: {gcs_mirror!r}."
        )
    host = Host(site.read_collection(collection), Path(collection), gcs_mirror)
    route = Route("/{path:path}", host.answer, methods=["GET", "HEAD"])
    return Starlette(routes=[route])


class Host:
    """Answers requests for one collection.

    Args:
        entries: of `read_collection`.
        folder: Path of the collection.
        gcs_mirror: str. As in `make_app`.
    """

    def __init__(
        self,
        entries: list[site.Entry],
        folder: Path,
        gcs_mirror: str | None,
    ):
        self._pages = site.pages(entries)
        self._mirror = gcs_mirror
        self._files = {
            handles.COLLECTION_FILE: folder / handles.COLLECTION_FILE
        }
        self._entries = {entry.row["handle"]: entry for entry in entries}
        for row in handles.latest_rows(entry.row for entry in entries):
            handle = row["handle"]
            name = handle.rpartition("/")[0]
            # Without a version, the latest.
            self._entries.setdefault(name, self._entries[handle])
        for entry in entries:
            if entry.samples is not None:
                path = site.samples_path(entry.row["handle"])
                self._files[path] = entry.samples

    async def answer(self, request: Request) -> Response:
        """Answers one request."""
        path = request.path_params["path"].strip("/")
        wanted = request.query_params.get("tf-hub-format")
        if path in self._entries:
            return self._module(request, path, wanted)
        if path.endswith(".tar.gz"):
            entry = self._entries.get(path.removesuffix(".tar.gz"))
            if entry is not None:
                return _archive(request, entry)
        if (path or site.INDEX) in self._pages:
            return HTMLResponse(self._pages[path or site.INDEX])
        if path in self._files:
            return FileResponse(self._files[path])
        return PlainTextResponse(
            f"No module or page is called {path!r}.\n", status_code=404
        )

    def _module(self, request: Request, path: str, wanted: str | None):
        entry = self._entries[path]
        handle = entry.row["handle"]
        if wanted == "uncompressed":
            if self._mirror is None:
                return PlainTextResponse(
                    "This host gives archives only; leave "
                    "TFHUB_MODEL_LOAD_FORMAT at COMPRESSED.\n",
                    status_code=404,
                )
            place = f"{self._mirror.rstrip('/')}/{handle}"
            return PlainTextResponse(place, status_code=303)
        if wanted is None and "text/html" in request.headers.get("accept", ""):
            root = request.scope.get("root_path", "")
            return RedirectResponse(f"{root}/{site.page_path(handle)}", 302)
        return _archive(request, entry)


def _archive(request: Request, entry: site.Entry) -> Response:
    handle = entry.row["handle"]
    tag = f'"{entry.row["sha256"]}"'
    is_fixed = handle in request.url.path
    headers = {
        DIGEST_HEADER: entry.row["sha256"],
        "ETag": tag,
        "Cache-Control": FOREVER if is_fixed else "no-cache",
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return FileResponse(
        entry.archive,
        media_type=ARCHIVE_TYPE,
        filename=f"{handle.replace('/', '_')}.tar.gz",
        headers=headers,
    )
