"""Archives from outside, over real HTTP."""

import contextlib
import functools
import gzip
import hashlib
import http.server
import io
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request

import pytest

from keras_experts.exporting import archives
from keras_experts.saved_models import download
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


@contextlib.contextmanager
def stalling_host(first, body=None):
    """Answers one request with its first bytes, and the next with a body."""
    over = threading.Event()

    def answer():
        connection, _ = server.accept()
        with connection:
            connection.recv(2**16)
            connection.sendall(first)
            if body is not None:
                second, _ = server.accept()
                with second:
                    second.recv(2**16)
                    second.sendall(head_of(body) + body)
            over.wait()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/acme/m/1"
        finally:
            over.set()
            thread.join()


def head_of(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)


def tar_of(name, content=b"x"):
    """Makes an archive of one file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


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
    "body, rule",
    [
        (tar_of("saved_model.pb", bytes(2**27)), "200 times its size"),
        (tar_of("../outside"), "below its own root and no links"),
        (b"<html>", "must be a whole archive"),
    ],
    ids=["bomb", "outside", "page"],
)
def test_archive_that_is_refused_is_not_kept(body, cache, tmp_path, rule):
    with host(body) as (url, _):
        with pytest.raises(ValueError, match=rule):
            handles.resolve(url)
    assert list(cache.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.parametrize("part", [0.3, 0.97])
def test_half_an_archive_is_refused(body, cache, part):
    with host(body[: int(part * len(body))]) as (url, _):
        with pytest.raises(ValueError, match="must be a whole archive"):
            handles.resolve(url)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["page.html", "saved_model.pbtxt", "module/saved_model.pb"]
)
def test_archive_that_is_no_module_is_not_kept(body, cache, name):
    with host(tar_of(name)) as (url, _):
        with pytest.raises(ValueError, match="saved_model.pb at its root"):
            handles.resolve(url)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("place", ["gs://acme/cache", "file:///tmp", "ram://x"])
def test_cache_elsewhere_is_refused_before_anything_is_done(
    body, tmp_path, monkeypatch, place
):
    monkeypatch.setenv("TFHUB_CACHE_DIR", place)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with host(body) as (url, requests):
        with pytest.raises(
            ValueError, match=f"this machine. Received: {place}"
        ):
            handles.resolve(url)
    assert requests == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "first",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n\x1f\x8b\x08"],
    ids=["at once", "later"],
)
def test_host_that_stalls_is_left(cache, monkeypatch, first):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.2)
    with stalling_host(first) as url:
        with pytest.raises(FileNotFoundError, match="within 0.2 s") as caught:
            handles.resolve(url)
    assert url in str(caught.value)
    assert list(cache.iterdir()) == []  # and so no lock


def test_download_that_waits_says_so_and_goes_on_when_the_other_is_killed(
    body, cache, monkeypatch
):
    half = head_of(body) + body[: len(body) // 2]
    said = []
    script = "import sys; from keras_experts.saved_models import handles\n"
    script += "handles.resolve(sys.argv[1])"
    with stalling_host(half, body) as url:
        command = [sys.executable, "-c", script, url]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:

            def kill(line):
                said.append(line)
                process.kill()

            try:
                while not list(cache.glob(".tmp-*/new/saved_model.pb")):
                    assert process.poll() is None
                    time.sleep(0.05)
                monkeypatch.setattr(download, "say", kill)
                folder = handles.resolve(url)
            finally:
                process.kill()
        assert process.returncode == -signal.SIGKILL
    assert said == [f"Waiting for another process to download {url}."]
    names = {folder.name, f"{folder.name}.files.json"}
    assert {path.name for path in cache.iterdir()} == names
    assert handles.read_metadata(str(folder))


@pytest.mark.parametrize("by_hub", [False, True])
@pytest.mark.parametrize(
    "damage", ["variables/variables.index", "saved_model.pb", "half"]
)
def test_incomplete_module_is_downloaded_again(
    body, cache, monkeypatch, capfd, damage, by_hub
):
    with host(body) as (url, requests):
        folder = handles.resolve(url)
        if by_hub:
            folder.with_suffix(".files.json").unlink()
        if damage == "half" and by_hub:
            shutil.rmtree(folder / "variables")
            (folder / "variables").mkdir()
        elif damage == "half":
            shutil.rmtree(folder / "variables")
        else:
            (folder / damage).unlink()
        assert handles.resolve(url) == folder
        assert len(requests) == 2
        assert "is incomplete and is downloaded again" in capfd.readouterr().err
        assert handles.resolve(url) == folder
        assert len(requests) == 2
    assert (folder / "variables" / "variables.index").exists()


def test_incomplete_module_is_kept_where_its_host_is_gone(body, cache):
    with host(body) as (url, _):
        folder = handles.resolve(url)
    (folder / "saved_model.pb").unlink()
    with pytest.raises(FileNotFoundError, match="refused"):
        handles.resolve(url)
    assert (folder / "variables" / "variables.index").exists()


def test_cache_may_be_in_the_home_folder(body, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TFHUB_CACHE_DIR", "~/cache")
    with host(body) as (url, _):
        assert handles.resolve(url).parent == tmp_path / "cache"


@pytest.mark.parametrize("mode", [ssl.CERT_REQUIRED, ssl.CERT_NONE])
def test_certificates_are_checked_unless_told_not_to(cache, monkeypatch, mode):
    def urlopen(request, timeout, context):
        assert timeout == 60
        raise OSError(f"mode {context.verify_mode}")

    unchecked = mode == ssl.CERT_NONE
    monkeypatch.setenv("TFHUB_DISABLE_CERT_VALIDATION", str(unchecked).lower())
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    with pytest.raises(FileNotFoundError, match=f"mode {mode}"):
        handles.resolve("https://127.0.0.1/acme/m/1")


class Bucket(io.BytesIO):
    """A file of Google's storage, in place of TensorFlow's."""

    def size(self):
        return len(self.getvalue())


@pytest.mark.parametrize("ending", ["tar.gz", "tgz", "tar"])
def test_module_in_a_bucket_is_downloaded(
    body, cache, monkeypatch, baseline_module, ending
):
    if ending == "tar":
        body = gzip.decompress(body)
    monkeypatch.setattr("tensorflow.io.gfile.GFile", lambda *_: Bucket(body))
    folder = handles.resolve(f"gs://acme/m.{ending}")
    assert folder.parent == cache
    assert handles.read_metadata(str(folder)) == handles.read_metadata(
        baseline_module
    )


def test_bomb_in_a_bucket_is_refused(cache, monkeypatch):
    bomb = tar_of("saved_model.pb", bytes(2**27))
    monkeypatch.setattr("tensorflow.io.gfile.GFile", lambda *_: Bucket(bomb))
    with pytest.raises(ValueError, match="200 times its size"):
        handles.resolve("gs://acme/m.tar.gz")
    assert list(cache.iterdir()) == []


def test_what_hub_finds_on_this_machine_is_taken(baseline_module):
    assert str(download.fetch(baseline_module)) == baseline_module
    with pytest.raises(ValueError, match="a folder of this machine"):
        download.fetch(f"file://{baseline_module}")


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
