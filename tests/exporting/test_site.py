"""The pages of a collection in a real browser, and as files."""

import contextlib
import dataclasses
import functools
import http.server
import json
import os
import shutil
import threading

import pytest

from keras_experts import cli
from keras_experts import files
from keras_experts.exporting import editing
from keras_experts.exporting import host as hosting
from keras_experts.exporting import site
from keras_experts.selection.modules import expand


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


@pytest.mark.slow
def test_written_site_is_browsed_and_loaded_from_any_server(
    published, tmp_path, browser, hub_load
):
    number = site.write_site(published, tmp_path / "www" / "hub")
    assert number == 4
    with static_server(tmp_path / "www") as address:
        loaded = hub_load(f"{address}hub/acme/experts/form/1")
        assert loaded == "(2, 256)\n"
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
def browser(chrome):
    context = chrome.new_context(
        permissions=["clipboard-read", "clipboard-write"]
    )
    yield context
    context.close()


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


PAGES = ["", "acme/experts/bank/1.html", "acme/experts/unicorn"]
BROKEN_WORDS = """
() => {
  const broken = [];
  for (const cell of document.querySelectorAll("td, th")) {
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      for (const word of texts.currentNode.data.matchAll(/\\w+/g)) {
        const range = document.createRange();
        range.setStart(texts.currentNode, word.index);
        range.setEnd(texts.currentNode, word.index + word[0].length);
        if (range.getClientRects().length > 1) broken.push(word[0]);
      }
    }
  }
  return broken;
}
"""


@pytest.fixture(params=[360, 390])
def phone(browser, request):
    page = browser.new_page()
    page.set_viewport_size({"width": request.param, "height": 740})
    yield page
    page.close()


@pytest.mark.parametrize("path", PAGES)
def test_pages_fit_a_phone_and_break_no_word_in_a_table(phone, host, path):
    phone.goto(f"{host}{path}")
    width = phone.evaluate("document.documentElement.scrollWidth")
    assert width <= phone.viewport_size["width"]
    assert phone.evaluate(BROKEN_WORDS) == []


def test_page_for_a_wrong_address_leads_back(browser, host):
    page = browser.new_page()
    response = page.goto(f"{host}acme/experts/unicorn/1")
    assert response.status == 404
    assert page.inner_text("h1") == "Page not found"
    assert "acme/experts/unicorn/1" in page.inner_text("body")
    page.click("text=All modules")
    assert page.url == host
    page.close()


def test_index_names_the_collection_its_publisher_and_licenses(page):
    assert page.inner_text("h1") == page.title() == "acme/experts"
    assert "published by acme" in page.inner_text("body")
    rows = page.locator("#modules > li").all_inner_texts()
    assert all("license apache-2.0" in row for row in rows)


def test_module_s_page_offers_the_archive_with_size_and_checksum(
    page, host, published
):
    archive = published / "acme/experts/form/1.tar.gz"
    page.goto(f"{host}acme/experts/form/1.html")
    text = page.inner_text("body")
    for part in (
        "License: apache-2.0",
        "Collection acme/experts, published by acme",
        "Version 1 (latest)",
        f"{archive.stat().st_size / 1e6:,.1f} MB",
        files.checksum(archive),
    ):
        assert part in text
    with page.expect_download() as download:
        page.click("text=Download the archive")
    path = download.value.path()
    assert files.checksum(path) == files.checksum(archive)


def test_superseded_versions_are_marked_and_lead_to_the_latest(
    published, tmp_path, browser
):
    entries = site.read_collection(published)
    (form,) = [e for e in entries if e.row["handle"] == "acme/experts/form/1"]
    for version in (10, 9):
        row = {**form.row, "handle": f"acme/experts/form/{version}"}
        entries.append(dataclasses.replace(form, row=row))
    for path, text in site.pages(entries).items():
        files.write_text(tmp_path / path, text)
    with static_server(tmp_path) as address:
        page = browser.new_page()
        page.goto(f"{address}index.html")
        marked = page.locator("#modules > li.superseded").all_inner_texts()
        assert ["form/1 " in marked[0], "form/9 " in marked[1]] == [True, True]
        assert len(marked) == 2
        assert page.locator("text=(latest version)").count() == 1
        page.goto(f"{address}acme/experts/form/9.html")
        assert "Version 9 is superseded by version 10" in page.inner_text(
            "body"
        )
        page.click(".note a")
        assert page.url == f"{address}acme/experts/form/10.html"
        assert "Version 10 (latest)" in page.inner_text("body")
        assert page.locator(".note").count() == 0
        page.close()


def test_browser_is_led_from_a_handle_to_its_page(page, host):
    page.goto(f"{host}acme/experts/form/1")
    assert page.url == f"{host}acme/experts/form/1.html"


def test_strange_names_are_shown_and_not_run(published):
    (entry, *_) = site.read_collection(published)
    row = {**entry.row, "domain": "<script>alert(1)</script>"}
    strange = site.Entry(row, entry.archive, "# M\n<img src=x>", None)
    for text in site.pages([strange]).values():
        assert "<script>alert" not in text and "<img src=x" not in text


def test_page_runs_its_own_script_and_no_other(published, tmp_path, browser):
    site.write_site(published, tmp_path / "www")
    for name in ("index.html", "acme/experts/form/1.html"):
        path = tmp_path / "www" / name
        strange = "<script>window.strange = 1</script><img src=x onerror=y()>"
        text = path.read_text().replace("</body>", f"{strange}</body>")
        assert strange in text
        path.write_text(text)
        said = []
        with static_server(tmp_path / "www") as address:
            page = browser.new_page()
            page.on("console", lambda message: said.append(message.text))
            page.goto(f"{address}{name}")
            assert page.evaluate("window.strange") is None
            if name == "index.html":
                page.fill("#search", "subtree surf")
                assert visible(page) == ["surface"]
            else:
                page.wait_for_selector("button.copy")
            page.close()
        refused = [text for text in said if "Content Security" in text]
        assert len(refused) == 2, said


def test_every_archive_of_the_rows_is_in_the_site(published, tmp_path):
    site.write_site(published, tmp_path / "www")
    rows = files.read_json(tmp_path / "www/collection.json")["modules"]
    for row in rows:
        for name in (row["archive"], row["handle"]):
            assert files.checksum(tmp_path / "www" / name) == row["sha256"]


def contents(folder):
    return {
        path.relative_to(folder): files.checksum(path)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_site_of_ours_is_replaced_whole_or_not_at_all(
    published, tmp_path, monkeypatch
):
    www = tmp_path / "www"
    shutil.copytree(published, tmp_path / "c")
    site.write_site(tmp_path / "c", www)
    before = contents(www)
    listed = files.read_json(tmp_path / "c" / "collection.json")
    listed["modules"].pop()
    files.write_json(tmp_path / "c" / "collection.json", listed)

    def rename(path, target):
        if path.name == "new":
            raise OSError("no room")
        os.replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.rename", rename)
        with pytest.raises(OSError, match="no room"):
            site.write_site(tmp_path / "c", www)
    assert contents(www) == before
    assert site.write_site(tmp_path / "c", www) == 3
    assert not (www / "acme/experts/bank").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "www"]


def test_folder_that_holds_something_else_is_no_site_to_replace(
    published, run_dir, tmp_path, capfd
):
    www = tmp_path / "www"
    site.write_site(published, www)
    (www / ".git").mkdir()
    (www / ".git" / "HEAD").write_text("mine")
    with pytest.raises(FileExistsError, match="which holds .git/HEAD"):
        site.write_site(published, www)
    assert (www / ".git" / "HEAD").exists() and (www / "index.html").exists()
    # The command tells before it exports.
    command = ["export", "--workdir", run_dir, "--output", tmp_path / "c"]
    command += ["--publisher", "acme", "--site", www]
    assert cli.main([str(argument) for argument in command]) == 1
    assert "must be new, empty or" in capfd.readouterr().err
    assert not (tmp_path / "c").exists()


def change_collection(published, folder, change):
    """Copies a collection and changes the content of its collection.json."""
    shutil.copytree(published, folder)
    listed = files.read_json(folder / "collection.json")
    files.write_json(folder / "collection.json", change(listed))
    return folder


def assert_refused(collection, message):
    """Checks that nobody reads a collection, and nothing is written."""
    above = collection.parent
    before = sorted(path.name for path in above.iterdir())
    for read in (
        hosting.make_app,
        lambda folder: site.write_site(folder, above / "www"),
        lambda folder: expand([folder]),
        lambda folder: editing.remove_expert(
            folder, "acme/experts/bank/1", "form"
        ),
    ):
        with pytest.raises(ValueError, match=message):
            read(collection)
    assert sorted(path.name for path in above.iterdir()) == before


@pytest.mark.parametrize(
    "handle",
    [
        *("/tmp/escaped/1", "../../escaped/1", "acme/../../escaped/1"),
        *("javascript:alert(1)//x/1", "x", "acme/x", "acme/x/²", "acme/x/1\n"),
        *("acme//x/1", "acme/./x/1", "vögel/x/1", "acme/x/1?a=b", 7, None),
    ],
)
def test_handle_that_is_none_is_refused(published, tmp_path, handle):
    def change(listed):
        listed["modules"][1]["handle"] = handle
        return listed

    folder = change_collection(published, tmp_path / "c", change)
    assert_refused(folder, "handle")


@pytest.mark.parametrize(
    "content", [[], {}, {"modules": {}}, {"modules": [[]]}, 7]
)
def test_collection_that_is_no_object_is_refused(published, tmp_path, content):
    folder = change_collection(published, tmp_path / "c", lambda _: content)
    assert_refused(folder, "must be a JSON object|`modules`")


@pytest.mark.parametrize(
    "key, value",
    [
        *((key, None) for key in ("kind", "path", "archive", "num_images")),
        *(("kind", "unicorn"), ("domain", 7), ("parents", [[]]), ("top1", "x")),
        *(("path", "/tmp"), ("archive", "../../etc/passwd"), ("sha256", "\n")),
        *(("experts", [7]), ("experts", [{"name": "x"}]), ("publication", 1)),
    ],
)
def test_row_that_tells_nonsense_is_refused(published, tmp_path, key, value):
    def change(listed):
        listed["modules"][1][key] = value
        return listed

    folder = change_collection(published, tmp_path / "c", change)
    assert_refused(folder, "expert" if key == "experts" else key)


@pytest.mark.parametrize("key", ["handle", "domain", "path", "experts"])
def test_row_that_lacks_something_is_refused(published, tmp_path, key):
    def change(listed):
        del listed["modules"][1][key]
        return listed

    folder = change_collection(published, tmp_path / "c", change)
    assert_refused(folder, key)


def test_collection_that_leads_out_of_its_folder_is_refused(
    published, tmp_path
):
    shutil.copytree(published, tmp_path / "c")
    archive = tmp_path / "c/acme/experts/form/1.tar.gz"
    archive.unlink()
    archive.symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="must lie in its folder"):
        hosting.make_app(tmp_path / "c")
    with pytest.raises(FileNotFoundError, match="which has none"):
        hosting.make_app(tmp_path)


def test_inspection_is_written_to_a_file(published, tmp_path, capfd):
    module = str(published / "acme/experts/form/1")
    path = tmp_path / "inspection.json"
    assert cli.main(["inspect", module, "--json", str(path)]) == 0
    printed = capfd.readouterr().out
    assert "parameters" in printed and "call, inputs" in printed
    assert cli.main(["inspect", module, "--json", "-"]) == 0
    assert files.read_json(path) == json.loads(capfd.readouterr().out)
