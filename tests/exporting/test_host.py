"""The host over real sockets, and its pages in a real browser."""

import concurrent.futures
import hashlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from keras_experts import files
from keras_experts.commands.publishing import SHUTDOWN_SECONDS
from keras_experts.exporting import host as hosting

COMPRESSED = "?tf-hub-format=compressed"


def request(address, path, method="GET", **headers):
    """Sends a request and follows nothing."""
    parts = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


@pytest.mark.slow
@pytest.mark.parametrize("name", ["form/1", "form", "bank/1"])
def test_hub_loads_a_module_in_a_fresh_process(host, hub_load, name):
    assert hub_load(f"{host}acme/experts/{name}") == "(2, 256)\n"


def test_archive_has_its_checksum_tag_and_ranges(host, published):
    path = f"/acme/experts/form/1{COMPRESSED}"
    content = (published / "acme/experts/form/1.tar.gz").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    response, body = request(host, path)
    assert response.status == 200 and body == content
    assert response.headers["X-Content-SHA256"] == digest
    assert "immutable" in response.headers["Cache-Control"]
    tag = response.headers["ETag"]
    response, body = request(host, path, If_None_Match=tag)
    assert response.status == 304 and body == b""
    response, body = request(host, path, Range="bytes=10-19")
    assert response.status == 206 and body == content[10:20]
    response, body = request(host, path, "HEAD")
    assert response.status == 200 and body == b""
    assert int(response.headers["Content-Length"]) == len(content)
    # A handle without a version means the latest, and may change.
    response, body = request(host, f"/acme/experts/form{COMPRESSED}")
    assert body == content
    assert response.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/acme/experts/form/1.html", "/collection.json"),
        *("/samples/acme/experts/form/1.jpg", "/acme/experts/form.tar.gz"),
        f"/acme/experts/form/1{COMPRESSED}",
    ],
)
def test_what_a_client_already_has_is_not_sent_again(host, path):
    tag = request(host, path)[0].headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        for method in ("GET", "HEAD"):
            response, body = request(host, path, method, If_None_Match=known)
            assert (response.status, body) == (304, b"")
            assert response.headers["ETag"] == tag
    for known in ('"other"', tag.strip('"')):
        response, body = request(host, path, If_None_Match=known)
        assert response.status == 200 and body


def test_browser_gets_a_page_for_a_wrong_address(host):
    wrong = "/acme/experts/%3Cb%3Eunicorn/1"
    response, body = request(host, wrong, Accept="text/html")
    assert response.status == 404
    assert response.headers["Content-Type"].startswith("text/html")
    assert b"<h1>Page not found</h1>" in body
    assert b"<b>unicorn" not in body and b"&lt;b&gt;unicorn" in body


def test_uncompressed_modules_are_in_the_mirror(published, serve, host):
    path = "/acme/experts/form/1?tf-hub-format=uncompressed"
    response, body = request(host, path)
    assert response.status == 404 and body.count(b"\n") == 1
    address, _ = serve(published, "--gcs_mirror", "gs://bucket/modules/")
    response, body = request(address, path)
    assert response.status == 303
    assert body == b"gs://bucket/modules/acme/experts/form/1"
    with pytest.raises(ValueError, match="must start with gs://"):
        hosting.make_app(published, "https://bucket")


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/acme/experts/form/1/saved_model.pb",
        "/acme/experts/unicorn/1?tf-hub-format=compressed",
        "/acme/experts/form/2",
    ],
)
def test_nothing_else_is_served(host, path):
    response, body = request(host, path)
    assert response.status == 404
    assert body.startswith(b"No module or page is called")


def test_host_starts_without_tensorflow(published, serve):
    began = time.monotonic()
    _, process = serve(published)
    assert time.monotonic() - began < 20
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert "tensorflow" not in maps


def test_many_clients_at_once_get_what_they_asked_for(host, published):
    rows = files.read_json(published / "collection.json")["modules"]

    def fetch(number):
        row = rows[number % len(rows)]
        with urllib.request.urlopen(
            f"{host}{row['handle']}{COMPRESSED}", timeout=60
        ) as response:
            return hashlib.sha256(response.read()).hexdigest() == row["sha256"]

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        assert all(pool.map(fetch, range(128)))


def test_stalled_clients_do_not_keep_the_host_from_stopping(
    published, serve, tmp_path
):
    shutil.copytree(published, tmp_path / "c")
    archive = tmp_path / "c/acme/experts/form/1.tar.gz"
    os.truncate(archive, 100_000_000)  # larger than all buffers
    address, process = serve(tmp_path / "c")
    parts = urllib.parse.urlsplit(address)
    whole = b"GET /acme/experts/form/1 HTTP/1.1\r\nHost: host\r\n\r\n"
    clients = []
    for content in (b"", whole[:20], whole):  # and none reads an archive
        client = socket.create_connection((parts.hostname, parts.port))
        client.sendall(content)
        clients.append(client)
    assert clients[-1].recv(12) == b"HTTP/1.1 200"  # it is being sent
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - began < SHUTDOWN_SECONDS + 5
    assert process.returncode == -signal.SIGTERM  # 143 in a shell
    assert "Traceback" not in errors
    for client in clients:
        client.close()


def test_port_in_use_is_one_line(host, published):
    port = re.search(r":(\d+)/", host)[1]
    result = subprocess.run(
        [sys.executable, "-m", "keras_experts.cli", "serve", str(published)]
        + ["--port", port],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1 and "in use" in result.stderr


def test_host_listens_on_an_address_of_ipv6(published, serve):
    address, _ = serve(published, "--host", "::1")
    assert re.fullmatch(r"http://\[::1\]:\d+/", address)
    response, _ = request(address, "/acme/experts/form/1")
    assert response.status == 200
