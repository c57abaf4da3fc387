"""A web application that serves a collection to TensorFlow Hub and browsers.

The protocol is that of TensorFlow Hub's documentation (hosting.md): a client
requests a handle with `tf-hub-format=compressed` and gets the archive.
"""

import hashlib
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
REVALIDATE = "no-cache"
# What an answer without a body repeats of the whole one (RFC 9110, 15.4.5).
KEPT_HEADERS = ("ETag", "Cache-Control", "Vary", DIGEST_HEADER)


def make_app(collection: str | Path, gcs_mirror: str | None = None):
    """Creates the web application of a collection.

    It lists all that it serves when it starts, and looks up no path of a
    request on the disk.

    Args:
        collection: Folder that `export` wrote.
        gcs_mirror: str or None. A `gs://` folder with the unpacked modules,
            for clients that request uncompressed modules.

    Raises:
        FileNotFoundError: If there is no collection.
        ValueError: If the mirror is not a `gs://` address.
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
        """Returns the response to one request."""
        return _without_known_body(request, self._find(request))

    def _find(self, request: Request) -> Response:
        path = request.path_params["path"].strip("/")
        wanted = request.query_params.get("tf-hub-format")
        if path in self._entries:
            return self._module(request, path, wanted)
        if path.endswith(".tar.gz"):
            entry = self._entries.get(path.removesuffix(".tar.gz"))
            if entry is not None:
                return _archive(request, entry)
        if (path or site.INDEX) in self._pages:
            return _page(self._pages[path or site.INDEX])
        if path in self._files:
            file = self._files[path]
            headers = {"Cache-Control": REVALIDATE}
            # With its status the tag is known before the file is sent.
            return FileResponse(file, headers=headers, stat_result=file.stat())
        if _is_browser(request):
            root = f"{request.scope.get('root_path', '')}/"
            return HTMLResponse(site.missing_page(path, root), status_code=404)
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
            address = f"{self._mirror.rstrip('/')}/{handle}"
            return PlainTextResponse(address, status_code=303)
        if wanted is None and _is_browser(request):
            root = request.scope.get("root_path", "")
            return RedirectResponse(f"{root}/{site.page_path(handle)}", 302)
        return _archive(request, entry)


def _is_browser(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _page(text: str) -> Response:
    tag = hashlib.sha256(text.encode()).hexdigest()
    headers = {"ETag": f'"{tag}"', "Cache-Control": REVALIDATE}
    return HTMLResponse(text, headers=headers)


def _archive(request: Request, entry: site.Entry) -> Response:
    handle = entry.row["handle"]
    is_fixed = handle in request.url.path
    return FileResponse(
        entry.archive,
        media_type=ARCHIVE_TYPE,
        filename=f"{handle.replace('/', '_')}.tar.gz",
        headers={
            DIGEST_HEADER: entry.row["sha256"],
            "ETag": f'"{entry.row["sha256"]}"',
            "Cache-Control": FOREVER if is_fixed else REVALIDATE,
            "Vary": "Accept",  # browsers are led to the page
        },
    )


def _without_known_body(request: Request, response: Response) -> Response:
    """Returns the response, or 304 if the client already has its content."""
    tag = response.headers.get("etag")
    known = {
        tag.strip().removeprefix("W/")
        for tag in request.headers.get("if-none-match", "").split(",")
    }
    if tag is None or not known & {tag, "*"}:
        return response
    headers = {
        name: response.headers[name]
        for name in KEPT_HEADERS
        if name in response.headers
    }
    return Response(status_code=304, headers=headers)
