import os
import time

import pytest
from PIL import Image

from keras_experts.data.listing import Skipped
from keras_experts.data.listing import is_system
from keras_experts.data.listing import list_folders
from keras_experts.data.listing import list_images

KINDS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_known_by_their_first_bytes(kind, tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "a", kind)
    for name in ("b.txt", "c.JPG"):
        (tmp_path / name).write_bytes((tmp_path / "a").read_bytes())
    found = list_images(tmp_path, Skipped())
    assert [path.name for path in found] == ["a", "b.txt", "c.JPG"]


@pytest.mark.parametrize(
    "content",
    [b"", b"BMW is a make", b"P", b"Pictures", b"%PDF-1.4", b"<svg/>"],
)
def test_other_files_without_an_ending_of_images_are_not(content, tmp_path):
    (tmp_path / "a.txt").write_bytes(content)
    skipped = Skipped(tmp_path)
    assert list_images(tmp_path, skipped) == []
    assert str(skipped) == "skipped 1 file: 1 not an image (a.txt)"


@pytest.mark.parametrize(
    ("name", "is_folder"),
    [
        *((name, False) for name in ("Thumbs.db", "THUMBS.DB", "desktop.ini")),
        *((name, False) for name in (".DS_Store", "._a.jpg", "Icon\r")),
        *((name, True) for name in ("@eaDir", ".thumbnails", "__MACOSX")),
        *((name, True) for name in (".ipynb_checkpoints", "$RECYCLE.BIN")),
        *((name, True) for name in ("System Volume Information", ".git")),
    ],
)
def test_system_files_and_folders_are_neither_images_nor_classes(
    name, is_folder, tmp_path
):
    inside = tmp_path / "class" / name
    (inside if is_folder else inside.parent).mkdir(parents=True)
    image = inside / "a.png" if is_folder else inside
    Image.new("RGB", (4, 4)).save(image, "PNG")
    if is_folder:
        (tmp_path / name).mkdir()
    skipped = Skipped()
    assert list_folders(tmp_path, skipped) == ["class"]
    assert list_images(tmp_path / "class", skipped) == []
    kind = "folder" if is_folder else "file"
    number = 1 + is_folder
    plural = "s" * is_folder
    assert str(skipped) == (
        f"skipped {number} {kind}{plural}: {number} system {kind}{plural}"
    )


def test_names_of_classes_are_no_system_names():
    for name in ("cat", "thumbs", "macosx", "Thumbs.db"):
        assert not is_system(name, is_folder=True)


def test_linked_folders_are_read_once_and_loops_end(tmp_path):
    for folder in ("a/b", "outside"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / folder / "x.png")
    links = {"b/up": "a", "b/root": "", "out": "outside", "again": "outside"}
    for name, target in links.items():
        (tmp_path / "a" / name).symlink_to(tmp_path / target)
    skipped = Skipped(tmp_path)
    found = list_images(tmp_path / "a", skipped)
    assert [str(path.relative_to(tmp_path / "a")) for path in found] == [
        "again/x.png",
        "b/x.png",
    ]
    assert str(skipped) == (
        "skipped 3 folders: 3 repeated folders (a/out; a/b/root; a/b/up)"
    )


def test_two_classes_may_be_links_to_one_folder(tmp_path):
    (tmp_path / "real").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).symlink_to(tmp_path / "real")
    assert list_folders(tmp_path / "photos", Skipped()) == ["cat", "dog"]


def test_a_folder_of_ten_thousand_files_is_listed_fast(tmp_path):
    for folder in range(10):
        (tmp_path / str(folder)).mkdir()
        for number in range(1000):
            path = tmp_path / str(folder) / f"{number}.jpg"
            os.close(os.open(path, os.O_CREAT))
    started = time.process_time()
    assert len(list_images(tmp_path, Skipped())) == 10_000
    assert time.process_time() - started < 1  # measured: 0.1 s
