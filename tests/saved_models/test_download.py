"""Archives from outside, over real HTTP."""

import contextlib
import functools
import gzip
import hashlib
import http.server
import io
import tarfile
import threading

import pytest

from keras_experts.exporting import archives
from keras_experts.saved_models import handles


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(folder))
    return folder


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every request with one body."""

    def __init__(self, body, headers, requests, *arguments):
        self.body, self.more, self.requests = body, headers, requests
        super().__init__(*arguments)

    def do_GET(self):
        self.requests.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        for name, value in self.more.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(self.body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def host(body, **headers):
    """Serves an archive; gives its URL and the list of requests."""
    requests = []
    headers = {name.replace("_", "-"): v for name, v in headers.items()}
    handler = functools.partial(Handler, body, headers, requests)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/acme/m/1", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tar_of(*members, content=b"x" * 100):
    """Makes an archive of members, each a name or a TarInfo."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for member in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def link(name, target, kind):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.fixture
def body(baseline_module, tmp_path):
    path = tmp_path / "module.tar.gz"
    archives.pack(handles.resolve(baseline_module), path)
    return path.read_bytes()


def test_module_is_downloaded_once(body, cache, baseline_module):
    with host(body) as (url, requests):
        folder = handles.resolve(url)
        assert handles.resolve(url) == folder
        assert requests == ["/acme/m/1?tf-hub-format=compressed"]
        metadata = handles.read_metadata(f"{url}#part")
    assert metadata == handles.read_metadata(baseline_module)
    assert folder.parent == cache
    # Where tensorflow_hub looks, and without the host: offline.
    assert folder.name == hashlib.sha1(url.encode()).hexdigest()
    import tensorflow_hub as hub

    assert hub.resolve(url) == str(folder)
    assert handles.resolve(url) == folder


@pytest.mark.parametrize(
    "body",
    [
        tar_of("../outside"),
        tar_of("a/../../outside"),
        tar_of("/tmp/keras_experts_outside"),
        tar_of(link("a", "/etc/passwd", tarfile.SYMTYPE)),
        tar_of("a", link("b", "a", tarfile.LNKTYPE)),
        tar_of(link("a", "", tarfile.FIFOTYPE)),
        tar_of(link("a", "", tarfile.CHRTYPE)),
    ],
    ids=["up", "up later", "absolute", "symlink", "hard link", "fifo", "dev"],
)
def test_archive_with_more_than_files_of_its_own_is_refused(
    body, cache, tmp_path
):
    with host(body) as (url, _):
        with pytest.raises(ValueError, match="below its own root and no links"):
            handles.resolve(url)
    assert list(cache.iterdir()) == []
    assert not list(tmp_path.glob("outside"))


def test_bomb_is_refused_before_it_is_unpacked(cache):
    body = tar_of("zeros", content=bytes(200 * 2**20))
    assert len(body) < 2**20
    with host(body) as (url, _):
        with pytest.raises(ValueError, match="200 times its size"):
            handles.resolve(url)
    assert list(cache.iterdir()) == []


def test_too_many_files_are_refused(cache, monkeypatch):
    monkeypatch.setattr("keras_experts.saved_models.download.MAX_FILES", 3)
    with host(tar_of("a", "b", "c", "d")) as (url, _):
        with pytest.raises(ValueError, match="at most 3 files"):
            handles.resolve(url)


@pytest.mark.parametrize("part", [0.3, 0.97])
def test_half_an_archive_is_refused(body, cache, part):
    with host(body[: int(part * len(body))]) as (url, _):
        with pytest.raises(ValueError, match="must be a whole archive"):
            handles.resolve(url)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", gzip.compress(b"text")],
    ids=["empty", "page", "text"],
)
def test_what_is_no_archive_is_refused(body, cache):
    with host(body) as (url, _):
        with pytest.raises(ValueError, match="must be a whole archive"):
            handles.resolve(url)


def test_checksum_that_the_host_announces_is_checked(body, cache):
    right = hashlib.sha256(body).hexdigest()
    with host(body, X_Content_SHA256="0" * 64) as (url, _):
        with pytest.raises(ValueError, match=f"{right[:12]} and not 0000"):
            handles.resolve(url)
    assert list(cache.iterdir()) == []
    with host(body, X_Content_SHA256=right) as (url, _):
        assert handles.is_saved_model(handles.resolve(url))


def test_host_that_is_not_there_is_named(cache):
    with pytest.raises(FileNotFoundError, match="127.0.0.1:9/m/1.*refused"):
        handles.resolve("http://127.0.0.1:9/m/1")


def test_same_folder_is_the_same_archive(baseline_module, tmp_path):
    folder = handles.resolve(baseline_module)
    archives.pack(folder, tmp_path / "a.tar.gz")
    archives.pack(folder, tmp_path / "b.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() == (
        tmp_path / "b.tar.gz"
    ).read_bytes()
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        for member in archive:
            assert (member.mtime, member.uid, member.uname) == (0, 0, "")
            if member.isdir():
                continue
            content = archive.extractfile(member).read()
            assert content == (folder / member.name).read_bytes()
