import concurrent.futures
import io
import itertools
import multiprocessing
import re
import tarfile
import zipfile

import pytest

from minna.corpus import BuildSettings
from minna.corpus.sources import open_source
from minna.corpus.sources.aozora import decode
from minna.corpus.sources.aozora_gaiji import jis_x_0213
from minna.corpus.sources.aozora_marks import clean
from minna.corpus.sources.aozora_spelling import ORTHOGRAPHIES
from minna.corpus.sources.aozora_text import parse
from minna.errors import DataError

WORK = """試験の作
青空　太郎

-------------------------------------------------------
【テキスト中に現れる記号について】

《》：ルビ
（例）如何様《いかよう》
-------------------------------------------------------

［＃５字下げ］一［＃「一」は中見出し］

　翻訳は如何様《いかよう》にすべき［＃「すべき」に傍点］ものか。丁度｜桜花《さくら》が。
［＃改ページ］
　それは佶倔※［＃「敖／耳」、第4水準2-85-13］牙《きっくつごうが》だ。

底本：「全集」書房
　　　1997（平成9）年12月10日第1刷発行
入力：長住由生
青空文庫作成ファイル：
このファイルは、インターネットの図書館、青空文庫で作られました。
"""


def tar(path, members, mode="w:xz"):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_header_marks_notes_and_colophon_go_and_paragraphs_stay():
    work = parse(WORK.replace("\n", "\r\n"))
    assert (work.title, work.author) == ("試験の作", "青空　太郎")
    assert work.text.strip() == (
        "一\n\n　翻訳は如何様にすべきものか。丁度桜花が。\n　それは佶倔聱牙だ。"
    )


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("※［＃「てへん＋劣」、第3水準1-84-77］", "挘"),
        ("※［＃「火＋曼」、第4水準2-80-1］と", jis_x_0213(2, 80, 1) + "と"),
        ("※［＃「姉」の正字、U+59CA、8-7］", "姊"),
        ("※［＃「口＋愛」、123-上-4］", "〓"),
        ("※［＃小書き片仮名ヲ、12-下-3］", "ヲ"),
        ("※［＃ローマ数字1、1-13-21］", "Ⅰ"),
        ("※［＃始め二重山括弧、1-1-52］題※［＃終わり二重山括弧、1-1-53］", "《題》"),
        ("※印は残る", "※印は残る"),
        ("〔e'tude〕と〔Garc,on〕、〔Fu:r〕", "étudeとGarçon、Für"),
        ("〔L'oe&uvre d'e'te'〕", "L'œuvre d'été"),
        ("〔das&〕〔illae&〕〔Yo_i〕〔man~ana〕〔?@que'〕", "daßillæYōimañana¿qué"),
        ("〔Marc, it isn't and/or: a`〕", "Marc, it isn't and/or: à"),
        ("〔訳註１〕", "〔訳註１〕"),
        ("いろ／＼、どれ／″＼", "いろ〳〵、どれ〴〵"),
        ("これ［＃「［」は底本では「（」］は", "これは"),
        ("あ［＃「※［＃「口＋愛」、1-2］」に傍点］い", "あい"),
        ("［＃割り注］注［＃割り注終わり］", "注"),
        ("一｜二｜三《み》", "一｜二三"),
        ("行［＃レ］ク", "行ク"),
    ],
)
def test_each_mark_of_the_typists(marked, expected):
    assert clean(marked) == expected


def test_a_character_outside_plane_and_row_is_a_geta_and_never_an_error():
    assert jis_x_0213(1, 95, 1) is None
    assert jis_x_0213(2, 2, 94) is None
    assert clean("※［＃「何」、第4水準2-99-99］") == "〓"
    assert clean("※［＃「何」、U+FFFFFF］") == "〓"


def test_brackets_are_the_authors_where_the_file_explains_its_marks_without_them():
    work = WORK.replace("《》：ルビ\n", "［＃］：注\n").replace("（例）如何様《いかよう》\n", "")
    text = parse(work.replace("丁度", "《丁度》という")).text
    assert "《丁度》という" in text
    assert "いかよう" not in text


def test_header_without_marks_and_the_oldest_colophons(tmp_path):
    body = "題\n作者\n\n　本文です。\n\n\n"
    for colophon in (
        "底本「全集」新潮社\n",
        "=====================底本：岩波\n",
        "入力者注\n・注\n",
        "",
    ):
        work = parse(body + colophon)
        assert work.text.strip() == "本文です。"
        assert work.author == "作者"


@pytest.mark.parametrize("encoding", ["cp932", "shift_jis_2004", "utf-8", "utf-8-sig"])
def test_encodings_of_works(encoding):
    assert decode("吾輩は猫である。".encode(encoding), name="x") == "吾輩は猫である。"


def test_broken_shift_jis_names_the_work_and_the_byte_and_binary_is_called_binary():
    broken = "吾輩は".encode("cp932") + b"\x81\x01"
    with pytest.raises(DataError, match=r"x/1\.txt is neither Shift_JIS nor UTF-8: .* offset 6"):
        decode(broken, name="x/1.txt")
    with pytest.raises(DataError, match="binary"):
        decode(b"PK\x03\x04\x00\x00", name="x")


def test_one_bad_work_does_not_stop_an_archive_of_mixed_encodings(tmp_path, monkeypatch):
    monkeypatch.setattr("minna.corpus.sources.aozora._LARGEST_WORK", 5000)
    members = {
        "x/1.txt": WORK.encode("cp932"),
        "x/2.txt": "吾輩は".encode("cp932") + b"\x81\x01",
        "x/3.txt": WORK.encode(),
        "x/4.txt": b"PK\x03\x04\x00\x00",
        "x/5.txt": b" " * 5001,
        "x/6.txt": WORK.replace("丁度", "嚞𠮟").encode("shift_jis_2004"),
        "x/7.txt": b"",
    }
    path = tar(tmp_path / "a.tar.xz", members)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    for file in (path, tmp_path / "a.zip"):
        works = list(open_source(BuildSettings(source="aozora", path=file)).shards()[0].documents())
        assert [work.problem for work in works] == [
            *("", "undecodable", "", "undecodable", "too_large", "", "")
        ]
        assert [work.text.split("/", 1)[-1] for work in works if work.problem] == (
            ["2.txt", "4.txt", "5.txt"] if file == path else ["x/2.txt", "x/4.txt", "x/5.txt"]
        )
        assert works[0].text == works[2].text
        assert "嚞𠮟" in works[5].text
        assert len({work.id for work in works}) == 7


def test_payloads_and_parsers_travel_to_other_processes(tmp_path):
    path = tar(tmp_path / "a.tar", {"1.txt": WORK.encode("cp932")}, "w")
    shard = open_source(BuildSettings(source="aozora", path=path)).shards()[0]
    payload = next(iter(shard.read()))
    assert shard.parse is not None
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        assert pool.submit(shard.parse, payload).result() == shard.parse(payload)


def test_archives_and_folders_of_every_kind_give_the_same_works(tmp_path):
    content = WORK.encode("cp932")
    tar(tmp_path / "a.tar.xz", {"x/1.txt": content, "x/readme.html": b"no"})
    tar(tmp_path / "b.tar", {"x/1.txt": content}, mode="w")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("1.txt", content)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "1.txt").write_bytes(content)
    found = set()
    for name in ("a.tar.xz", "b.tar", "c.zip", "folder"):
        source = open_source(BuildSettings(source="aozora", path=tmp_path / name))
        for shard in source.shards():
            found |= {(d.id, d.group, d.text) for d in shard.documents()}
    assert len(found) == 1


def test_two_spellings_of_one_work_are_one_group(tmp_path):
    other = WORK.replace("ものか", "ものであらうか")
    path = tar(tmp_path / "a.tar", {"1.txt": WORK.encode("cp932"), "2.txt": other.encode()}, "w")
    source = open_source(BuildSettings(source="aozora", path=path))
    works = list(source.shards()[0].documents())
    assert works[0].group == works[1].group
    assert works[0].id != works[1].id


def test_truncated_archives_are_refused_not_shortened(tmp_path):
    members = {f"{n}.txt": (WORK * 50 + str(n * 7919)).encode("cp932") for n in range(40)}
    for name, mode in (("a.tar.xz", "w:xz"), ("a.tar.gz", "w:gz"), ("a.tar", "w")):
        path = tar(tmp_path / name, members, mode)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DataError, match="truncated or damaged"):
            list(open_source(BuildSettings(source="aozora", path=path)).shards()[0].documents())
    bad = tmp_path / "b.zip"
    bad.write_bytes(b"PK not a zip")
    with pytest.raises(DataError, match="truncated or damaged"):
        list(open_source(BuildSettings(source="aozora", path=bad)).shards()[0].documents())


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        open_source(BuildSettings(source="aozora", path=tmp_path / "x"))
    with pytest.raises(DataError, match=r"holds no \.txt"):
        open_source(BuildSettings(source="aozora", path=tmp_path))


def test_three_hundred_real_works_come_out_clean(shared_data):
    path = shared_data / "aozora" / "aozora.tar.xz"
    works = open_source(BuildSettings(source="aozora", path=path)).shards()[0].documents()
    leftover = re.compile(
        r"[《》｜]|［＃|※［|^底本|-{8,}|青空文庫作成|現れる記号|[\U000f0000-\U0010ffff]",
        re.MULTILINE,
    )
    paragraphs = readings = 0
    for work in itertools.islice(works, 300):
        found = leftover.search(work.text)
        assert found is None, (work.id, work.text[max(0, found.start() - 40) : found.end() + 40])
        assert work.problem == ""
        assert work.meta["orthography"] in ORTHOGRAPHIES
        paragraphs += work.text.count("\n")
        readings += len(work.readings)
    assert paragraphs > 10_000
    assert readings > 30_000
