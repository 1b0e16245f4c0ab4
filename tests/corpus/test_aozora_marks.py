import re
import tarfile
import unicodedata

import pytest

from minna.corpus.sources.aozora import Member, read_member
from minna.corpus.sources.aozora_gaiji import resolve
from minna.corpus.sources.aozora_marks import clean_with_readings
from minna.corpus.sources.aozora_text import parse
from minna.corpus.sources.source import Reading


@pytest.mark.parametrize(
    ("marked", "text", "readings"),
    [
        ("吾輩《わがはい》は猫《ねこ》で", "吾輩は猫で", [("", "吾輩", "わがはい"), ("吾輩は", "猫", "ねこ")]),
        ("丁度｜さくら花《ばな》が", "丁度さくら花が", [("丁度", "さくら花", "ばな")]),
        ("人々《ひとびと》と一ヶ月《いっかげつ》", "人々と一ヶ月", [("", "人々", "ひとびと"), ("人々と", "一ヶ月", "いっかげつ")]),
        ("このひらがな《ヒラガナ》", "このひらがな", [("", "このひらがな", "ヒラガナ")]),
        ("米のべーリンスキー《批評家》", "米のべーリンスキー", [("米のべ", "ーリンスキー", "批評家")]),
        ("彼のＡＢＣ《エービーシー》", "彼のＡＢＣ", [("彼の", "ＡＢＣ", "エービーシー")]),
        ("彼の club《クラブ》", "彼の club", [("彼の ", "club", "クラブ")]),
        ("〔e'tude〕《エチュード》", "étude", [("", "étude", "エチュード")]),
        ("と佶倔※［＃「敖／耳」、第4水準2-85-13］牙《きっくつごうが》だ", "と佶倔聱牙だ", [("と", "佶倔聱牙", "きっくつごうが")]),
        ("｜訓む《よ※［＃小書き平仮名む、237-11］》", "訓む", [("", "訓む", "よむ")]),
        ("ナ※［＃小書き片仮名ン、237-11］《何》", "ナン", [("", "ナン", "何")]),
        ("また、それ／＼《ゾレゾレ》", "また、それ〳〵", [("また、", "それ〳〵", "ゾレゾレ")]),
        ("すべき［＃「すべき」に傍点］事《こと》", "すべき事", [("すべき", "事", "こと")]),
        ("注《＊１》と、《むり》", "注と、", []),
        ("前の行\n次《つぎ》", "前の行\n次", [("", "次", "つぎ")]),
        ("一《いち》二《に》三《さん》四《し》", "一二三四", [("", "一", "いち"), ("一", "二", "に"), ("一二", "三", "さん"), ("一二三", "四", "し")]),
        ("青空［＃「青空」の左に「そら」のルビ］", "青空", []),
        ("〓々《ひそひそ》", "〓々", [("", "〓々", "ひそひそ")]),
        ("※［＃始め二重山括弧、1-1-52］題《だい》※［＃終わり二重山括弧、1-1-53］", "《題》", [("《", "題", "だい")]),
    ],
)  # fmt: skip
def test_the_text_and_where_its_readings_stand(marked, text, readings):
    found, given = clean_with_readings(marked)
    assert found == text
    assert given == [Reading(*reading) for reading in readings]
    assert all(isinstance(reading, Reading) for reading in given)


def test_at_most_eight_characters_stand_before_a_base_also_where_every_one_has_ruby():
    marked = "".join(f"{c}《よみ》" for c in "一二三四五六七八九十") + "｜百千《ひゃく》"
    text, readings = clean_with_readings(marked)
    assert text == "一二三四五六七八九十百千"
    assert readings[-1] == Reading("三四五六七八九十", "百千", "ひゃく")
    assert [reading.base for reading in readings] == [*"一二三四五六七八九十", "百千"]


def test_a_base_mark_without_ruby_goes_and_a_drawing_stays():
    assert clean_with_readings("長い間｜空家になって")[0] == "長い間空家になって"
    assert clean_with_readings("遇する事｜\n反《かへ》つて")[0] == "遇する事\n反つて"
    for drawing in ("│家｜物│", "┌─┐\n│○｜○│", "　｜○｜"):
        assert clean_with_readings(drawing)[0] == drawing
    long = "間｜" + "空" + "あ" * 50 + "家《うち》"
    assert clean_with_readings(long)[1] == [Reading("ああああああああ", "家", "うち")]


def test_ruby_only_in_kana_where_the_file_does_not_explain_brackets():
    text, readings = clean_with_readings("《丁度》如何様《いかよう》に《題》", brackets="literal")
    assert text == "《丁度》如何様に《題》"
    assert readings == [Reading("《丁度》", "如何様", "いかよう")]


@pytest.mark.parametrize(
    ("note", "character"),
    [
        ("「てへん＋劣」、第3水準1-84-77", "挘"),
        ("「竹かんむり／（嗽－口）」、U+7C0C、49-下-14", "簌"),
        ("小書き片仮名ン、237-11", "ン"),
        ("感嘆符三つ、12-3", "！！！"),
        ("白ゴマ点、297-28", "﹆"),
        ("ローマ数字18、12-3", "XVIII"),
        ("丸Ｂ大文字、1-2", "Ⓑ"),
        ("丸E、1-2", "Ⓔ"),
        ("濁点付き井、1-2", "井\u3099"),
        ("濁点付き片仮名カ、1-2", "ガ"),
        ("濁点付き小書き片仮名カ、1-2", "ヵ\u3099"),
        ("「候」のくずし字、1-2", "候"),
        ("「口＋姜」、123-4", "〓"),
        ("二重かっこ開く", "〓"),
    ],
)
def test_descriptions_that_say_one_thing_are_resolved_and_others_are_not_guessed(note, character):
    assert resolve(note) == character


def test_badly_written_descriptions_are_missing_characters_not_mark_up():
    assert clean_with_readings("墓は※［横線に長い縦線、上巻-241-12］形に")[0] == "墓は〓形に"
    assert clean_with_readings("出よう[＃「あしへん」に　宛　27-4]いて")[0] == "出よう〓いて"
    text = "※※［＃前の「※」は「ころもへん＋上」、後の「※」は「ころもへん＋下」、272-4］《かみしも》"
    assert clean_with_readings(text) == ("〓〓", [Reading("", "〓〓", "かみしも")])


def test_remarks_of_typists_at_both_ends_of_a_text_go():
    head, tail = "題\n作者\n\n\n", "底本：「全集」書房\n"
    for remark in (
        "※一部を元に訂正しました。（校正者注）\n\n\n",
        "※（Ｆ・Ｉ）は「フェード・イン」\n",
        "入力者注\n(1) 底本の読点には二種類がある。\n　（例）\n",
        "※底本にある、かぎ括弧の誤りは、\n［＃底本の閉じ括弧は「』」、58-下15］\n\n",
    ):
        assert parse(f"{head}　本文です。\n\n{remark}{tail}").text.strip() == "　本文です。".strip()
    above = parse(f"{head}※　伏せ字の表記には＊を用いました。\n\n　本文です。\n{tail}")
    assert above.text.strip() == "本文です。"
    assert (
        parse(f"{head}　　※\n\n　本文。\n※［＃「口＋姜」］だ。\n{tail}").text.strip()
        == "※\n\n　本文。\n〓だ。"
    )


REAL = {
    "000006/files/384_ruby_22427/384_ruby_22427.txt": ("余が翻訳の標準", "新字新仮名", 39, "如何様", "いかよう"),
    "000006/files/46659_ruby_25028/46659_ruby_25028.txt": ("エスペラントの話", "新字旧仮名", 53, "六", "むづ"),
    "000006/files/901_ruby_16058/901_ruby_16058.txt": ("余が言文一致の由來", "旧字旧仮名", 5, "一伍一什", "いちぶしじふ"),
    "000006/files/47064_txt_31250/47064_txt_31250.txt": ("嫉妬する夫の手記", "新字旧仮名", 0, "", ""),
    "000008/files/18327_ruby_19202/18327_ruby_19202.txt": ("東旭川村にて", "旧字旧仮名", 10, "旭川", "あさひがは"),
    "000008/files/1083_ruby/1083_ruby.txt": ("鰊漁場", "新字新仮名", 41, "雪靴", "つまご"),
}  # fmt: skip
"""Among the first ten members: title, spelling, how many readings, the first one."""


def test_real_works_of_several_spellings(shared_data):
    left = re.compile(
        r"[《》｜]|［＃|※［|^底本|^入力：|^校正：|-{8,}|青空文庫|現れる記号", re.MULTILINE
    )
    seen = 0
    with tarfile.open(shared_data / "aozora" / "aozora.tar.xz", "r|xz") as archive:
        for member in archive:
            if member.name not in REAL:
                continue
            title, spelling, count, base, reading = REAL[member.name]
            work = read_member(Member(member.name, archive.extractfile(member).read()))
            assert (work.meta["title"], work.meta["orthography"]) == (title, spelling)
            assert left.search(work.text) is None
            assert len(work.readings) == count
            assert not count or work.readings[0][1:] == (base, reading)
            place = 0
            for before, of, _ in work.readings:
                found = work.text.find(before + of, max(0, place - len(before)))
                assert found >= 0, (before, of)
                place = found + len(before) + len(of)
            assert work.meta["typed_by"] and work.meta["base_text"].startswith("「")
            assert unicodedata.normalize("NFC", work.text) == work.text
            seen += 1
            if seen == len(REAL):
                break
    assert seen == len(REAL)
