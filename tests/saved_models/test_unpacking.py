"""Archives that want to be more than files of a module."""

import gzip
import io
import os
import tarfile
import tracemalloc

import pytest

from keras_experts.saved_models import unpacking


def unpack(body, folder):
    folder.mkdir()
    unpacking.unpack(unpacking.Counted(io.BytesIO(body)), folder, "acme/m")


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


def sparse(size):
    member = tarfile.TarInfo("a")
    member.pax_headers = {
        "GNU.sparse.map": "0,1",
        "GNU.sparse.size": str(size),
    }
    return member


def with_header(kind, size, start=b""):
    """Makes an archive that begins with a header of so many bytes."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = kind, size
    content = start.ljust(size, b"1").ljust(-(-size // 512) * 512, b"\0")
    file = tarfile.TarInfo("saved_model.pb").tobuf()
    return gzip.compress(
        header.tobuf(tarfile.GNU_FORMAT) + content + file + bytes(1024), 1
    )


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
        tar_of(link("a", "", tarfile.GNUTYPE_SPARSE)),
        tar_of(sparse(2**50)),
    ],
    ids=[
        *("up", "up later", "absolute", "symlink", "hard link"),
        *("fifo", "dev", "sparse", "sparse in pax"),
    ],
)
def test_archive_with_more_than_files_of_its_own_is_refused(body, tmp_path):
    with pytest.raises(ValueError, match="below its own root and no links"):
        unpack(body, tmp_path / "module")
    assert [path.name for path in tmp_path.rglob("*")] in (
        ["module"],
        ["module", "a"],
    )
    assert not os.path.exists("/tmp/keras_experts_outside")


@pytest.mark.parametrize("num_files", [1, 10])
def test_bomb_is_refused_before_it_is_unpacked(tmp_path, num_files):
    names = [str(number) for number in range(num_files)]
    body = tar_of(*names, content=bytes(2**28 // num_files))
    assert len(body) < 2**20
    with pytest.raises(ValueError, match="200 times its size"):
        unpack(body, tmp_path / "module")
    files = (tmp_path / "module").iterdir()
    limit = unpacking.FREE_BYTES + unpacking.MAX_RATIO * len(body)
    assert sum(file.stat().st_size for file in files) <= limit


def test_new_layer_of_zeros_is_unpacked(tmp_path):
    body = tar_of("weights", content=bytes(15 * 2**20))
    unpack(body, tmp_path / "module")
    assert (tmp_path / "module/weights").stat().st_size == 15 * 2**20


@pytest.mark.parametrize(
    "kind, start",
    [
        (tarfile.GNUTYPE_LONGNAME, b""),
        (tarfile.GNUTYPE_LONGLINK, b""),
        (tarfile.XHDTYPE, b"8388608 path="),
        (tarfile.XGLTYPE, b"8388608 path="),
    ],
    ids=["name", "link", "pax", "global pax"],
)
def test_long_header_is_refused_before_it_is_in_memory(tmp_path, kind, start):
    body = with_header(kind, 2**23, start)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="between its files") as caught:
            unpack(body, tmp_path / "module")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**22
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["a/" * 5000 + "b", "../" + "a" * 5000])
def test_long_name_is_refused_in_few_words(tmp_path, name):
    with pytest.raises(ValueError, match=r"acme/m with '.*\.\.\.'\.$") as told:
        unpack(tar_of(name), tmp_path / "module")
    assert len(str(told.value)) < 300


def test_headers_of_headers_are_refused(tmp_path):
    header = link("././@LongLink", "", tarfile.GNUTYPE_LONGNAME)
    headers = header.tobuf(tarfile.GNU_FORMAT) * 100
    monkey = gzip.compress(headers + bytes(1024))
    with pytest.raises(ValueError, match="must be a whole archive"):
        unpack(monkey, tmp_path / "module")


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_FILES", 3)
    unpack(tar_of("a", "b", "c"), tmp_path / "three")
    with pytest.raises(ValueError, match="at most 3 files"):
        unpack(tar_of("a", "b", "c", "d"), tmp_path / "four")


def test_file_larger_than_allowed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_BYTES", 2**16)
    body = tar_of("a", content=os.urandom(2**17))
    with pytest.raises(ValueError, match="at most 10,000 files, 65,536 bytes"):
        unpack(body, tmp_path / "module")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        gzip.compress(b"text"),
        gzip.compress(b""),
        gzip.decompress(tar_of("a")),
        tar_of("a")[:-1],
        tar_of("a")[: len(tar_of("a")) // 2],
    ],
    ids=["empty", "page", "text", "nothing", "plain", "cut", "half"],
)
def test_what_is_no_archive_is_refused(body, tmp_path):
    with pytest.raises(ValueError, match="must be a whole archive"):
        unpack(body, tmp_path / "module")


def test_archive_with_a_wrong_bit_is_refused(tmp_path):
    body = bytearray(tar_of("a"))
    body[-6] ^= 1  # of the checksum, which stands before the length
    with pytest.raises(ValueError, match="whole archive.*CRC"):
        unpack(bytes(body), tmp_path / "module")


def test_archive_that_is_not_compressed_can_be_told(tmp_path):
    body = gzip.decompress(tar_of("a", content=b"content"))
    content = unpacking.Counted(io.BytesIO(body))
    unpacking.unpack(content, tmp_path, "m", compressed=False)
    assert (tmp_path / "a").read_bytes() == b"content"
