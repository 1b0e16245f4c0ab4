"""Debian packages built here, byte by byte, and the prose that is in them."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from minna.corpus import BuildSettings
from minna.corpus.sources import RawDocument, open_source
from minna.corpus.sources.debian import short_names
from minna.corpus.sources.debian_text import Kind, kind_of, language_of, plain_text
from minna.corpus.sources.mdoc import words_of
from minna.corpus.sources.roff import strip_roff, unescape
from minna.errors import DataError

CONTROL = b"Package: manual\nVersion: 1.2-3\nArchitecture: all\n"
COPYRIGHT = b"""Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: manual

Files: *
Copyright: 2020 A
License: GPL-2+
 text

Files: doc/*
Copyright: 2020 B
License: GFDL-1.3

Files: debian/*
Copyright: 2021 C
License: MIT

License: GPL-2+
 long text
"""
MANUAL = r""".\" comment
.TH LS 1 "2020" "GNU" "User"
.SH 名前
ls \- ディレクトリの内容を
リスト表示する
.SH 説明
.B ls
は GNU
の
.BR coreutils (7)
です。
.TP
\fB\-a\fR, \fB\-\-all\fR
\&. で始まる要素を\(aq見る\(aq
.nf
$ ls -l
.fi
"""
HTML = """<html lang="ja"><head><title>題</title><style>p {}</style></head><body>
<nav><ul><li>前へ</li></ul></nav><h1>見出し</h1><p>これは
<code>ls</code> の
説明&amp;例。</p><pre>$ ls
</pre><script>x()</script><table><tr><td>左</td><td>右</td></tr></table></body></html>"""
PAGE = """<?xml version="1.0"?><page xmlns="http://projectmallard.org/1.0/" xml:lang="ja">
<info><desc>隠す</desc></info><title>題 <app>Files</app></title>
<p>本文&appname;です。<![CDATA[a < b]]></p><screen>$ x</screen><br/></page>"""


def tar(files: dict[str, bytes], *, extra: Iterable[tarfile.TarInfo] = ()) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in extra:
            archive.addfile(member)
    return packed.getvalue()


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


PACKERS = {".xz": lzma.compress, ".gz": gzip.compress, ".zst": zstd, "": bytes}


def deb(
    files: dict[str, bytes],
    *,
    packer: str = ".xz",
    extra: Iterable[tarfile.TarInfo] = (),
    control: bytes = CONTROL,
) -> bytes:
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": gzip.compress(tar({"control": control})),
        f"data.tar{packer}": PACKERS[packer](tar(files, extra=extra)),
    }
    whole = b"!<arch>\n"
    for name, content in members.items():
        whole += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        whole += content + b"\n" * (len(content) % 2)
    return whole


FILES = {
    "usr/share/doc/manual/copyright": COPYRIGHT,
    "usr/share/doc/manual/changelog.gz": gzip.compress(b"x"),
    "usr/share/doc/manual/html/guide.html": HTML.encode(),
    "usr/share/doc/manual/notes.txt.gz": gzip.compress(b"Notes in English."),
    "usr/share/man/ja/man1/ls.1.gz": gzip.compress(MANUAL.encode()),
    "usr/share/man/man1/ls.1.gz": gzip.compress(b".SH NAME\nls \\- list\n"),
    "usr/share/help/ja/manual/index.page": PAGE.encode(),
    "usr/lib/manual/help.html": HTML.encode(),
    "usr/bin/manual": b"\x7fELF",
}


def documents(path: Path, **settings: Any) -> list[RawDocument]:
    source = open_source(BuildSettings(source="debian", path=path, **settings))
    return [document for shard in source.shards() for document in shard.documents()]


@pytest.mark.parametrize("packer", PACKERS)
def test_manuals_documents_and_help_are_read_and_nothing_else(tmp_path: Path, packer: str) -> None:
    (tmp_path / "manual.deb").write_bytes(deb(FILES, packer=packer))
    found = {document.meta["path"]: document for document in documents(tmp_path)}
    assert list(found) == [name for name in FILES if "copyright" not in name][1:6]
    japanese = found["usr/share/man/ja/man1/ls.1.gz"]
    assert japanese.text == (
        "名前\n\nls - ディレクトリの内容をリスト表示する\n\n説明\n\n"
        "ls は GNU の coreutils(7) です。\n\n-a, --all\n. で始まる要素を'見る'"
    )
    assert japanese.licence == "GPL-2+, GFDL-1.3"
    assert japanese.meta == {
        "package": "manual",
        "version": "1.2-3",
        "path": "usr/share/man/ja/man1/ls.1.gz",
    }
    languages = [document.language for document in found.values()]
    assert languages == ["ja", "", "ja", "en", "ja"]


def test_the_source_credits_each_package_by_its_copyright_file(tmp_path: Path) -> None:
    (tmp_path / "a.deb").write_bytes(deb(FILES))
    other = CONTROL.replace(b"manual", b"other")
    (tmp_path / "b.deb").write_bytes(deb({}, control=other))
    source = open_source(BuildSettings(source="debian", path=tmp_path))
    assert [(one.source, one.licence) for one in source.licences] == [
        ("debian: manual 1.2-3", "GPL-2+, GFDL-1.3"),
        ("debian: other 1.2-3", "see other copyright"),
    ]


def test_short_names_are_those_of_the_upstream_files() -> None:
    assert short_names(COPYRIGHT.decode()) == "GPL-2+, GFDL-1.3"
    assert short_names("This package was put together by ...\nLicense: GPL\n") == ""
    only = "Format: x\n\nFiles: debian/*\nLicense: MIT\n"
    assert short_names(only) == "MIT"


def test_html_keeps_words_of_code_in_a_sentence_and_drops_blocks_of_it() -> None:
    text = plain_text(HTML, kind="html")
    assert text == "見出し\nこれは ls の説明&例。\n左 右"


def test_xml_keeps_unknown_entities_and_drops_what_is_not_prose() -> None:
    assert plain_text(PAGE, kind="xml") == "題 Files\n本文&appname;です。a < b"


def test_html_without_its_end_tags_loses_nothing() -> None:
    loose = "<html><head><title>t<body><p>one<p>two<ul><li>three</ul>"
    assert plain_text(loose, kind="html").split() == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("usr/share/man/man3/x.3perl.gz", "roff"),
        ("usr/share/man/ja.UTF-8/man5/x.5", "roff"),
        ("usr/share/doc/p/README.gz", "text"),
        ("usr/share/doc/p/README.Debian", "text"),
        ("usr/share/doc/p/guide.docbook", "xml"),
        ("usr/share/gnome/help/app/ja/app.xml", "xml"),
        ("usr/share/gimp/2.0/help/ja/index.html", "html"),
        ("usr/share/debian-reference/ch01.ja.html", "html"),
        ("usr/share/doc/p/changelog.html", None),
        ("usr/share/doc/p/copyright", None),
        ("usr/share/doc/p/README.md", None),
        ("usr/share/app/data.xml", None),
        ("usr/share/javascript/x/demo.html", None),
        ("usr/lib/x/help.html", None),
    ],
)
def test_paths_say_what_is_read(path: str, kind: Kind | None) -> None:
    assert kind_of(path) == kind


@pytest.mark.parametrize(
    ("path", "kind", "language"),
    [
        ("usr/share/man/man1/x.1.gz", "roff", "en"),
        ("usr/share/man/ja_JP.UTF-8/man1/x.1.gz", "roff", "ja"),
        ("usr/share/man/de/man1/x.1.gz", "roff", "de"),
        ("usr/share/doc/manual-ja/guide.html", "html", ""),
        ("usr/share/doc/p/ja/guide.html", "html", "ja"),
        ("usr/share/debian-reference/ch01.ja.html", "html", "ja"),
        ("usr/share/doc/p/html.ja-JP/x.html", "html", "ja"),
        ("usr/share/help/C/app/x.page", "xml", "en"),
    ],
)
def test_paths_say_the_language_and_a_package_s_own_name_does_not(
    path: str, kind: Kind, language: str
) -> None:
    assert language_of(path, text="", kind=kind) == language


def test_links_are_not_documents(tmp_path: Path) -> None:
    link = tarfile.TarInfo("./usr/share/man/man1/dir.1.gz")
    link.type, link.linkname = tarfile.SYMTYPE, "ls.1.gz"
    (tmp_path / "a.deb").write_bytes(deb({}, extra=[link]))
    assert documents(tmp_path) == []


def test_what_is_wrong_with_one_file_of_a_package_is_a_counted_drop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minna.corpus.sources import debian

    monkeypatch.setattr(debian, "LARGEST", 5000)
    folder = "usr/share/doc/manual"
    files = {
        f"{folder}/a.txt": "良い".encode(),
        f"{folder}/b.txt": "悪い".encode("euc-jp"),
        f"{folder}/c.txt.gz": gzip.compress(b"cut in the middle" * 9)[:-12],
        f"{folder}/d.txt": b"x" * 5001,
        f"{folder}/e.txt.gz": gzip.compress(bytes(50_000)),
        f"{folder}/f.txt.gz": b"no gzip",
    }
    (tmp_path / "a.deb").write_bytes(deb(files))
    found = documents(tmp_path)
    assert [document.problem for document in found] == [
        "", "undecodable", "malformed", "too_large", "too_large", "malformed",
    ]  # fmt: skip
    assert found[1].text == f"manual: {folder}/b.txt"


@pytest.mark.parametrize("packer", PACKERS)
def test_a_truncated_package_is_an_error_wherever_it_is_cut(tmp_path: Path, packer: str) -> None:
    whole = deb(FILES, packer=packer)
    path = tmp_path / "a.deb"
    for share in (0.3, 0.6, 0.9, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match=r"truncated or damaged after \d+ readable|no Debian"):
            documents(path)


def test_what_is_no_package_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "a.deb"
    path.write_bytes(b"PK\x03\x04 a zip")
    with pytest.raises(DataError, match="does not start with !<arch>"):
        documents(path)
    path.write_bytes(b"!<arch>\n")
    with pytest.raises(DataError, match=r"holds no control\.tar"):
        documents(path)
    path.write_bytes(deb({}, control=b"Nothing: here\n"))
    with pytest.raises(DataError, match="names no package and version"):
        documents(path)
    path.write_bytes(deb({}).replace(b"data.tar.xz ", b"data.tar.bz2"))
    with pytest.raises(DataError, match="packed in a way that is not known"):
        documents(path)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('.SH NAME\n.SS "Two words"\nx', "NAME\n\nTwo words\n\nx"),
        (".SH\nNAME\nx y\n", "NAME\n\nx y"),
        ('a\n.\\" comment\nb \\" more\n\nc', "a b\n\nc"),
        (".TS\nl l.\na\tb\n.TE\nx", "x"),
        (".EX\ncode\n.EE\nx\n.Bd -literal\ncode\n.Ed\n", "x"),
        (".de XX\n.B no\n..\nx\n.ig\nno\n..\ny", "x y"),
        (".if n \\{\\\n.ad l\nno\n.\\}\nx\n.ie t no\n.el no\n", "x"),
        (".IP \\(bu 2\nitem\n.IP foo 4\nbar", "item\n\nfoo\nbar"),
        (".TP\n.B \\-x\n.br\ntext", "-x\ntext"),
        ('.BR a " b" c\n.BI \\-f " file"', "a bc -f file"),
        ("word\\c\n.B bold", "wordbold"),
        (".UR https://x.jp\ntext\n.UE .\nend", "text. end"),
        (".Nm ls\n.Nd list\n.Pp\n.Nm\nshows it .", "ls - list\n\nls shows it ."),
        (".Bl -tag\n.It Fl a\nall\n.It Fl b Ar c\nbe\n.El", "-a\nall\n\n-b c\nbe"),
    ],
)
def test_roff_becomes_paragraphs(source: str, text: str) -> None:
    assert strip_roff(source) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r"\fBbold\fP \f[CW]x\f[R] \f(CWy\fR", "bold x y"),
        (r"\s-1S\s0 \s+2b\s[8]c", "S bc"),
        (r"a\-b \(em \[u3042] \[e aa] \[:u] \e \&. \.", "a-b — あ  u" + "\u0308" + " \\ . ."),
        (r"\*(lqx\*(rq \*R \*[Tm] \*[none]", "“x” ® ™ "),
        (r"\h'-04'x\v'1'\w'y'z\n(.$ \N'65'", "xz A"),
        ("end\\", "end"),
    ],
)
def test_escapes_become_characters(source: str, text: str) -> None:
    assert unescape(source) == text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("Op Fl a Ar file", "[-a file]"),
        ("Op Fl a Ns Ar n .", "[-an]."),
        ("Xr ls 1 ,", "ls(1),"),
        ("Pq see Xr ls 1", "(see ls(1))"),
        ("Dq Em x", "“x”"),
        ("Fl", "-"),
        ("Ar", "file ..."),
        ("Nm", "page"),
        ("Oo Fl a Oc Fl b", "[-a] -b"),
    ],
)
def test_mdoc_lines_are_read_word_by_word(line: str, text: str) -> None:
    assert words_of(line.split(), page="page") == text
