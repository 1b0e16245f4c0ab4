import io
import tarfile

import pytest

from minna.corpus.sources.aozora import Aozora, Member, read_member
from minna.corpus.sources.aozora_header import licence_of, read_colophon, read_header
from minna.corpus.sources.aozora_spelling import orthography, same_work_key
from minna.errors import UsageError


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("小説総論\n二葉亭四迷", ("小説総論", "", "", "二葉亭四迷", "", "", "")),
        ("源氏物語\n真木柱\n紫式部\n與謝野晶子訳", ("源氏物語", "真木柱", "", "紫式部", "", "與謝野晶子", "")),
        (
            "かもめ\nЧАЙКА\n――喜劇　四幕――\nアントン・チェーホフ　Anton Chekhov\n神西清訳",
            ("かもめ", "――喜劇　四幕――", "ЧАЙКА", "アントン・チェーホフ", "Anton Chekhov", "神西清", ""),
        ),
        ("松の操美人の生埋\n序\n宇田川文海\n鈴木行三校訂", ("松の操美人の生埋", "序", "", "宇田川文海", "", "", "鈴木行三")),
        ("まざあ・ぐうす\n北原白秋訳", ("まざあ・ぐうす", "", "", "", "", "北原白秋", "")),
        ("科学の不思議\nSTORY-BOOK OF SCIENCE\nアンリイ・ファブル　Jean-Henri Fabre\n大杉栄、伊藤野枝訳",
         ("科学の不思議", "", "STORY-BOOK OF SCIENCE", "アンリイ・ファブル", "Jean-Henri Fabre", "大杉栄、伊藤野枝", "")),
        ("題《だい》［＃「題」は大見出し］\n青空　太郎", ("題", "", "", "青空　太郎", "", "", "")),
        ("題だけ", ("題だけ", "", "", "", "", "", "")),
        ("", ("", "", "", "", "", "", "")),
    ],
)  # fmt: skip
def test_the_lines_of_a_header_are_told_apart(lines, expected):
    header = read_header(lines)
    assert expected == (
        *(header.title, header.subtitle, header.original_title, header.author),
        *(header.original_author, header.translator, header.editor),
    )


def test_a_colophon_gives_books_first_publication_and_volunteers():
    colophon = read_colophon(
        "底本：「平凡・私は懐疑派だ」講談社文芸文庫\n　　　1997（平成9）年12月10日第1刷発行\n"
        "底本の親本：「二葉亭四迷全集」筑摩書房\n初出：「文庫」\n　　　1886（明治19）年4月\n"
        "※表題は※［＃「てへん＋劣」、第3水準1-84-77］です。\n入力：長住由生\n校正：はやしだかずこ\n2000年11月8日公開\n"
    )
    assert (
        colophon.base_text
        == "「平凡・私は懐疑派だ」講談社文芸文庫 1997（平成9）年12月10日第1刷発行"
    )
    assert colophon.parent_text == "「二葉亭四迷全集」筑摩書房"
    assert colophon.first_published == "「文庫」 1886（明治19）年4月"
    assert (colophon.typed_by, colophon.proofread_by) == ("長住由生", "はやしだかずこ")
    many = read_colophon("初出：「あ」\n" + "　　　「文学界」一月号\n" * 200)
    assert len(many.first_published) == 400


@pytest.mark.parametrize(
    ("notice", "licence"),
    [
        ("底本：「全集」書房\n校正：The Creative CAT\n", ""),
        ("利用条件は、http://creativecommons.org/licenses/by-nc-nd/2.1/jp/を参照", "CC BY-NC-ND 2.1 JP"),
        ("https://creativecommons.org/licenses/by/4.0/", "CC BY 4.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0 1.0"),
        ("この作品は、クリエイティブ・コモンズでライセンスされています。", "Creative Commons (see the work's own notice)"),
        ("※翻訳の著作権は訳者が保護期間中有しています。著作権存続中。", "rights reserved (see the work's own notice)"),
        ("（C）2001 訳者。この版権表示を残す限り複製は自由", "rights reserved (see the work's own notice)"),
    ],
)  # fmt: skip
def test_notices_of_rights_become_the_licence_of_the_work(notice, licence):
    assert licence_of(notice) == licence


NEW = "彼は国の学校で会おうと言う。そういうようなことを考えていた。実に画のようだろう。"
SPELLINGS = {
    "新字新仮名": NEW,
    "新字旧仮名": "彼は国の学校で会はうと言ふ。さういふやうなことを考へてゐた。実に画のやうだらう。",
    "旧字旧仮名": "彼は國の學校で會はうと言ふ。さういふやうなことを考へてゐた。實に畫のやうだらう。",
    "旧字新仮名": "彼は國の學校で會おうと言う。そういうようなことを考えていた。實に畫のようだろう。"
    * 3,
    "その他": "春の雪",
}


@pytest.mark.parametrize(("label", "text"), SPELLINGS.items())
def test_spelling_is_told_from_the_text(label, text):
    assert orthography(text) == label
    assert orthography(text + "\n𠮟" + "　" * 40_000 + text) in {label, "その他"}


def test_spelling_does_not_hang_on_a_large_tsu_or_on_katakana():
    assert (
        orthography("国の学校へ行つたり帰つたりしていたようだという。実にそうだろう。")
        == "新字新仮名"
    )
    assert (
        orthography("国ノ学校ニ於テ之ヲ行フ。実ニ言フベキヤウナシ。思フニ会フ者ナカラン。")
        == "新字旧仮名"
    )
    assert orthography("") == "その他"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("變な音", "変な音"),
        ("猫と庄造と二人のをんな", "猫と庄造と二人のおんな"),
        ("坊つちやん", "坊っちゃん"),
        ("虫喰ひ算大會", "虫喰い算大会"),
        ("タケノコ", "たけのこ"),
        ("にごりえ（新字旧仮名）", "にごりえ"),
        ("與謝野晶子", "与謝野晶子"),
        ("こゝろ", "こころ"),
    ],
)
def test_old_and_new_spelling_of_a_name_have_one_key(old, new):
    assert same_work_key(old) == same_work_key(new)
    assert same_work_key(old) != same_work_key("羅生門")


def work(title, author, body, *, subtitle=""):
    middle = f"{subtitle}\n" if subtitle else ""
    text = f"{title}\n{middle}{author}\n\n\n　{body}\n\n\n底本：「全集」書房\n入力：甲\n校正：乙\n"
    return text.encode("cp932")


def test_one_work_in_two_spellings_and_with_a_subtitle_is_one_group_and_knows_itself():
    name = "000006/files/384_ruby_22427/384_ruby_22427.txt"
    old = read_member(Member(name, work("變な音", "與謝野晶子", SPELLINGS["旧字旧仮名"])))
    new = read_member(Member("x.txt", work("変な音", "与謝野晶子", NEW, subtitle="――小品――")))
    assert old.group == new.group
    assert old.id != new.id
    assert (old.language, old.licence, old.problem) == ("ja", "", "")
    assert old.meta == {
        "title": "變な音",
        "author": "與謝野晶子",
        "base_text": "「全集」書房",
        "typed_by": "甲",
        "proofread_by": "乙",
        "person": "000006",
        "work": "384",
        "url": "https://www.aozora.gr.jp/cards/000006/card384.html",
        "orthography": "旧字旧仮名",
    }
    assert new.meta["subtitle"] == "――小品――"
    assert "person" not in new.meta


def test_only_the_spellings_asked_for_are_kept_and_the_others_counted(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for number, body in enumerate(SPELLINGS.values()):
            content = work("題", "作者", body)
            info = tarfile.TarInfo(f"{number}.txt")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    source = Aozora(path, orthography=["新字新仮名", "新字旧仮名"])
    works = list(source.shards()[0].documents())
    assert [w.problem for w in works] == ["", "", *["orthography"] * 3]
    assert works[2].text == "2.txt"
    assert source.identity() != Aozora(path).identity()
    assert source.identity() == Aozora(path, orthography=["新字旧仮名", "新字新仮名"]).identity()
    with pytest.raises(UsageError, match="新字新かな"):
        Aozora(path, orthography=["新字新かな"])
