"""Damaged archives: each byte that is wrong behind the first member must be an error."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.corpus.test_source_debian import CONTROL, tar

from minna.corpus import BuildSettings
from minna.corpus.sources import open_source
from minna.corpus.sources.streams import open_bytes
from minna.errors import DataError, UsageError

WORKS = {f"{number}.txt": f"第{number}の作品である。\n".encode() * 40 for number in range(3)}
BLOCK = 512
HEADERS = [0, 4 * BLOCK, 8 * BLOCK]  # a work of 3 blocks behind each


def works(path: Path) -> int:
    shards = open_source(BuildSettings(source="aozora", path=path)).shards()
    return sum(1 for shard in shards for _ in shard.documents())


def changed(place: int, content: bytes) -> Callable[[bytes], bytes]:
    return lambda whole: whole[:place] + content + whole[place + len(content) :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a bad second header": changed(HEADERS[1] + 10, b"\xff\xfe"),
    "a zeroed second header": changed(HEADERS[1], bytes(BLOCK)),
    "cut inside of the third header": lambda whole: whole[: HEADERS[2] + 100],
    "cut before the third header": lambda whole: whole[: HEADERS[2]],
    "cut inside of the second work": lambda whole: whole[: HEADERS[1] + BLOCK + 7],
    "something behind the end": lambda whole: whole + b"junk",
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.xz": lzma.compress,
    ".txz": lzma.compress,
}


@pytest.mark.parametrize("suffix", PACKERS)
def test_whole_tars_are_read_whole_in_every_packing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"works{suffix}"
    path.write_bytes(PACKERS[suffix](tar(WORKS)))
    assert works(path) == 3


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_tar_is_an_error_and_never_a_short_one(
    tmp_path: Path, damage: str, suffix: str
) -> None:
    path = tmp_path / f"works{suffix}"
    path.write_bytes(PACKERS[suffix](DAMAGES[damage](tar(WORKS))))
    with pytest.raises(DataError, match=r"works\.tar.* is truncated or damaged"):
        works(path)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.xz"])
def test_tars_in_several_streams_are_read_to_the_last(tmp_path: Path, suffix: str) -> None:
    path, pack = tmp_path / f"works{suffix}", PACKERS[suffix]
    whole = tar(WORKS)
    path.write_bytes(pack(whole[:3000]) + pack(whole[3000:]))
    assert works(path) == 3


def test_the_checksum_of_a_gzip_file_is_compared(tmp_path: Path) -> None:
    packed = gzip.compress(tar(WORKS))
    path = tmp_path / "works.tar.gz"
    path.write_bytes(packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:])
    with pytest.raises(DataError, match="CRC"):
        works(path)


@pytest.mark.parametrize("damage", [name for name in DAMAGES if "behind" not in name])
def test_a_damaged_tar_inside_of_a_package_is_an_error(tmp_path: Path, damage: str) -> None:
    files = {f"usr/share/doc/manual/{name}": content for name, content in WORKS.items()}
    data = DAMAGES[damage](tar(files))
    content = b"!<arch>\n"
    for name, member in (("control.tar", tar({"control": CONTROL})), ("data.tar", data)):
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(member):<10}`\n"
        content += head.encode() + member + b"\n" * (len(member) % 2)
    path = tmp_path / "manual.deb"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"manual\.deb is truncated or damaged"):
        for shard in open_source(BuildSettings(source="debian", path=path)).shards():
            list(shard.documents())


FIRST, SECOND = lzma.compress(b"one\n" * 9000), lzma.compress(b"two\n" * 9000)


@pytest.mark.parametrize("between", [b"", bytes(4), bytes(100_000)])
def test_all_streams_of_an_xz_file_are_read(tmp_path: Path, between: bytes) -> None:
    path = tmp_path / "text.txt.xz"
    path.write_bytes(FIRST + between + SECOND + between)
    with open_bytes(path) as stream:
        assert stream.read() == b"one\n" * 9000 + b"two\n" * 9000


@pytest.mark.parametrize(
    "behind",
    [b"junk", bytes(3), bytes(4) + b"junk", b"\xfc" + SECOND[1:], SECOND[:9], SECOND[:-1]],
)
def test_what_is_no_stream_behind_the_first_is_an_error(tmp_path: Path, behind: bytes) -> None:
    path = tmp_path / "text.txt.xz"
    path.write_bytes(FIRST + behind)
    with (
        open_bytes(path) as stream,
        pytest.raises(DataError, match=r"text\.txt\.xz is truncated or damaged"),
    ):
        stream.read()


def test_a_member_with_a_long_name_and_a_folder_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "works.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        folder = tarfile.TarInfo("作品")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        member = tarfile.TarInfo(f"作品/{'長' * 120}.txt")
        member.size = 6
        archive.addfile(member, io.BytesIO("作品".encode()))
    assert works(path) == 1


@pytest.mark.parametrize("name", ["works.tar.bz2", "work.pdf", "works"])
def test_a_file_of_another_ending_is_refused_with_the_known_ones_named(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"content")
    with pytest.raises(UsageError, match=r"\.txt, \.zip, \.tar, \.tar\.gz, \.tgz"):
        works(path)
