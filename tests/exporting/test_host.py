"""The host over real sockets, and its pages in a real browser."""

import concurrent.futures
import contextlib
import functools
import hashlib
import http.client
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from keras_experts import files
from keras_experts.exporting import host as hosting
from keras_experts.exporting import site

COMPRESSED = "?tf-hub-format=compressed"
LOAD = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import tensorflow_hub as hub
module = hub.load(sys.argv[1])
print(module(np.zeros((2, 24, 24, 3), np.float32)).shape)
"""


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


@pytest.mark.parametrize("name", ["form/1", "form", "bank/1"])
def test_hub_loads_a_module_in_a_fresh_process(host, tmp_path, name):
    result = subprocess.run(
        [sys.executable, "-c", LOAD, f"{host}acme/experts/{name}"],
        env={**os.environ, "TFHUB_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.stdout == "(2, 256)\n", result.stderr


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


def test_collection_that_leads_out_of_its_folder_is_refused(
    published, tmp_path
):
    shutil.copytree(published, tmp_path / "c")
    listed = files.read_json(tmp_path / "c" / "collection.json")
    listed["modules"][1]["archive"] = "../../../etc/passwd"
    files.write_json(tmp_path / "c" / "collection.json", listed)
    with pytest.raises(ValueError, match="must lie in its folder"):
        hosting.make_app(tmp_path / "c")
    with pytest.raises(FileNotFoundError, match="which has none"):
        hosting.make_app(tmp_path)


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


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def static_server(folder):
    """Serves files as any web server does, below a path."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_written_site_is_browsed_and_loaded_from_any_server(
    published, tmp_path, browser
):
    number = site.write_site(published, tmp_path / "www" / "hub")
    assert number == 4
    with static_server(tmp_path / "www") as address:
        result = subprocess.run(
            [sys.executable, "-c", LOAD, f"{address}hub/acme/experts/form/1"],
            env={**os.environ, "TFHUB_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
        )
        assert result.stdout == "(2, 256)\n", result.stderr
        page = browser.new_page()
        page.goto(f"{address}hub/index.html")
        page.click("#modules >> text=surface")
        assert page.url == f"{address}hub/acme/experts/surface/1.html"
        assert f'"{address}hub/acme/experts/surface/1"' in page.inner_text(
            "pre >> nth=0"
        )
        assert page.evaluate("document.images[0].naturalWidth") > 96
        page.click("text=All modules")
        assert page.url == f"{address}hub/index.html"


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-background-networking"],
        )
        context = program.new_context(
            permissions=["clipboard-read", "clipboard-write"]
        )
        yield context
        program.close()


@pytest.fixture
def page(browser, host):
    page = browser.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(host)
    yield page
    page.close()
    assert said == []


def visible(page):
    rows = page.locator("#modules > li:visible strong")
    return rows.all_inner_texts()


def test_search_leaves_what_has_all_words(page):
    assert visible(page) == ["baseline", "form", "surface", "bank"]
    page.fill("#search", "Adapter")
    assert visible(page) == ["form", "surface", "bank"]
    page.fill("#search", "subtree surf")
    assert visible(page) == ["surface"]
    assert page.is_hidden("#none")
    page.fill("#search", "unicorn")
    assert visible(page) == [] and page.is_visible("#none")


def test_domains_are_a_tree(page):
    assert page.locator(".tree > ul > li > a").all_inner_texts() == ["form"]
    inner = page.locator(".tree > ul > li > ul > li > a")
    assert inner.all_inner_texts() == ["surface"]


def test_module_s_page_has_code_to_copy(page, host):
    page.click(".tree >> text=surface")
    assert page.inner_text("h1") == "surface"
    page.click("button.copy >> nth=0")
    page.wait_for_selector("text=Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert f'hub.load("{host}acme/experts/surface/1")' in copied
    assert "Copy" not in copied


@pytest.mark.parametrize("path", ["", "acme/experts/bank/1.html"])
def test_pages_fit_a_phone(browser, host, path):
    page = browser.new_page()
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{host}{path}")
    width = page.evaluate("document.documentElement.scrollWidth")
    page.close()
    assert width <= 360


def test_browser_is_led_from_a_handle_to_its_page(page, host):
    page.goto(f"{host}acme/experts/form/1")
    assert page.url == f"{host}acme/experts/form/1.html"


def test_strange_names_are_shown_and_not_run(published):
    (entry, *_) = site.read_collection(published)
    row = {**entry.row, "domain": "<script>alert(1)</script>"}
    strange = site.Entry(row, entry.archive, "# M\n<img src=x>", None)
    for text in site.pages([strange]).values():
        assert "<script>alert" not in text and "<img src=x" not in text
