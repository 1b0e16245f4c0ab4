import os

import pytest
from pydantic import ValidationError

from minna.corpus.filters import (
    FILTERS,
    LANGUAGE,
    FilterSettings,
    judge,
    resolved,
)
from minna.errors import DataError, UsageError

GOOD = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"
PROSE = (
    "何でも薄暗いじめじめした所で泣いていた事だけは記憶している。",
    "吾輩はここで始めて人間というものを見た。",
    "しかもあとで聞くとそれは書生という人間中で一番獰悪な種族であったそうだ。",
    "この書生というのは時々我々を捕えて煮て食うという話である。",
    "しかしその当時は何という考もなかったから別段恐しいとも思わなかった。",
)
ENGLISH = (
    "The cat sat on the mat and looked at the rain, which had been falling since the early "
    "morning, and it thought that it would be better to stay where it was."
)


def dropped(text, language="", asked="ja", **thresholds):
    return judge([text], [language], settings=FilterSettings(**thresholds), wanted=asked).reasons[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD, None),
        ("はい。", None),
        ("え？", None),
        ("「何歳？」「16」", "not_japanese"),
        ("「何歳？」「16歳」", None),
        (GOOD + "\n\n" + "Yesと言った。", None),
        ("", "too_short"),
        ("あ", "too_short"),
        ("  \n あ", "too_short"),
        ("".join(PROSE) + "\ufffd", "replacement_characters"),
        ("----- 12:30 / 45.6% = 78 -----", "symbols"),
        ("一、二、三、四、五、六、七、八、九、十。", None),
        ("田中さんの電話は03-1234-5678です。", None),
        ("12:30 13:45 14:00 15:05 16:10 東京発", "digits"),
        ("ああああああああああああああああよ", "one_character"),
        ("ああああああいうえおかきくけこさし", None),
        ("ああ！", None),
        ("This sentence is not in Japanese at all, you see.", "not_japanese"),
        ("春眠不覚暁処処聞啼鳥夜来風雨声花落知多少。" * 2, "no_kana"),
        ("春眠不覚暁、処処聞啼鳥。", None),
    ],
)
def test_each_filter_of_characters_drops_what_it_is_for_and_keeps_the_near_miss(text, reason):
    assert dropped(text, "ja") == reason


def test_one_replacement_character_in_a_thousand_passes():
    text = "".join(f"{n}番目の文には{chr(0x4E00 + 7 * n)}のことが書いてある。" for n in range(70))
    assert dropped(text + "\ufffd", "ja") is None
    assert dropped(text + "\ufffd\ufffd", "ja") == "replacement_characters"


def test_a_text_over_the_longest_length_is_dropped_and_one_of_it_stays():
    text = "".join(PROSE)
    assert dropped(text, max_characters=len(text)) is None
    assert dropped(text, max_characters=len(text) - 1) == "too_long"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (PROSE, None),
        (("送料無料の商品はこちらからどうぞ",) * 4 + PROSE[:1], "repeated_lines"),
        (("春が来た",) * 2 + PROSE, None),
        (("買う買った。" * 20,), "repeated_grams"),
        (("".join(PROSE),) * 4, "repeated_grams"),
        (("".join(PROSE), "".join(PROSE)[:60]), None),
        (tuple("・" + line for line in PROSE) * 1, "bullets"),
        (tuple("・" + line for line in PROSE[:4]) + PROSE[4:], None),
        (tuple(line[:9] + "…" for line in PROSE), "ellipses"),
        (tuple(line[:9] + "..." for line in PROSE), "ellipses"),
        (tuple(line[:9] + "…" for line in PROSE[:4]) + PROSE[4:], None),
    ],
)
def test_each_filter_of_lines_and_repetition_drops_what_it_is_for(lines, reason):
    assert dropped("\n".join(lines), "ja") == reason


def test_one_run_of_ten_characters_that_covers_the_text_is_dropped():
    # the ten-character run is most of the text but comes with different neighbours
    menu = "".join(f"{word}と東京都庁前駅周辺案内図" for word in "山川海空花鳥")
    assert dropped(menu, "ja", max_repeated_grams=1) == "top_gram"
    assert dropped("".join(PROSE), "ja") is None


def test_filters_for_web_pages_are_off_until_asked_for():
    menu = "ホーム\n会社概要\n商品一覧\nよくある質問\n地図と行き方"
    verse = "秋の日の\nヴィオロンの\nためいきの\n身にしみて\nひたぶるに"
    assert dropped(menu, "ja") is None
    assert dropped(verse, "ja") is None
    assert dropped(menu, "ja", max_short_lines=0.8) == "short_lines"
    assert dropped(menu, "ja", min_ended_lines=0.1) == "unended_lines"
    assert dropped("\n".join(PROSE), "ja", max_short_lines=0.8, min_ended_lines=0.9) is None


@pytest.mark.parametrize(
    ("known", "asked", "text", "reason"),
    [
        ("", "ja", GOOD, None),
        ("", "ja", ENGLISH, LANGUAGE),
        ("", "en", ENGLISH, None),
        ("", "en", GOOD, LANGUAGE),
        ("en", "ja", GOOD, LANGUAGE),
        ("", "any", GOOD, None),
        ("", "any", ENGLISH, None),
        ("other", "any", ENGLISH, LANGUAGE),
        (
            "",
            "any",
            "今天天气很好，我们去公园散步吧。你想不想一起去？听说那里的花都开了。",
            LANGUAGE,
        ),
        ("en", "any", GOOD, "not_english"),
        ("ja", "any", ENGLISH, "not_japanese"),
    ],
)
def test_a_document_in_another_language_is_dropped_and_each_language_has_its_own_filters(
    known, asked, text, reason
):
    assert dropped(text, known, asked) == reason


def test_english_documents_are_judged_by_words():
    assert dropped(ENGLISH, "en", "en") is None
    parts = "screw bolt nail washer gasket spring lever wheel axle bearing " * 1
    assert (
        dropped(parts + "piston valve crank shaft pulley belt hose clamp rivet plate", "en", "en")
        == "no_stop_words"
    )
    assert dropped("a x of y z b c d to e f I g h at i j k on l", "en", "en") == "short_words"
    assert (
        dropped(
            ENGLISH.replace("the", "the internationalisation-notwithstanding" * 2),
            "en",
            "en",
            max_mean_word=6,
        )
        == "long_words"
    )
    assert dropped(ENGLISH, "en", "en", max_mean_word=6) is None


def test_the_first_filter_in_order_gives_the_reason_and_documents_do_not_touch_each_other():
    texts = ["", GOOD, "ああああああああああああああああよ", ENGLISH, "\n".join(PROSE)]
    alone = [judge([text], [""], settings=FilterSettings()).reasons[0] for text in texts]
    assert judge(texts, [""] * len(texts), settings=FilterSettings()).reasons == alone
    assert alone == ["too_short", None, "one_character", LANGUAGE, None]


def test_an_empty_batch_is_judged():
    judgement = judge([], [], settings=FilterSettings())
    assert judgement.reasons == [] and judgement.languages == [] and len(judgement.profiles) == 0


def test_every_filter_names_a_setting_that_exists_and_says_why_in_both_languages():
    names = [rule.name for rule in FILTERS]
    assert len(set(names)) == len(names) and LANGUAGE not in names
    for rule in FILTERS:
        assert isinstance(getattr(FilterSettings(), rule.setting), int | float)
        assert rule.reason.isascii() and not rule.reason_ja.isascii()
    with pytest.raises(ValidationError):
        FilterSettings(min_charakters=3)


def test_word_lists_count_whole_katakana_and_latin_words_and_a_single_hit_in_a_long_text_passes(
    tmp_path,
):
    file = tmp_path / "words.txt"
    file.write_text("# 例\nヌード\nsex  # comment\n賭博場\n", encoding="utf-8")
    unwanted = {"words": (file,), "max_words": 1.0}
    assert dropped("昼はカップヌードルを食べて、Essexの話をしました。", "ja", **unwanted) is None
    assert dropped("昨日見つけたヌード写真の話をしました。", "ja", **unwanted) == "words"
    assert dropped("昨日はSEXの話をしました。", "ja", **unwanted) == "words"
    assert dropped("それは闇賭博場だった。", "ja", **unwanted) == "words"
    assert dropped("それは闇賭博場だった。", "ja", words=(file,), max_words=1000) is None
    many = "".join(f"{n}番目の文には{chr(0x4E00 + 7 * n)}のことが書いてある。" for n in range(70))
    assert dropped(many + "賭博場。", "ja", **unwanted) is None
    assert dropped(many + "賭博場。" * 3, "ja", **unwanted) == "words"


def test_a_word_list_is_known_by_its_content_and_not_by_its_name(tmp_path):
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    one.write_text("賭博場\nSex\n", encoding="utf-8")
    two.write_text("\ufeffｓｅｘ\n\n# あ\n賭博場\n", encoding="utf-8")
    three.write_text("賭博場\n", encoding="utf-8")
    hashes = [resolved(FilterSettings(words=(file,)))["words"] for file in (one, two, three)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert resolved(FilterSettings())["words"] == ""


def test_a_word_list_that_was_edited_is_read_again_in_the_same_process(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("賭博場\n", encoding="utf-8")
    told = file.stat()
    text = "昨日は雀荘と賭博場の話をしました。"
    unwanted = {"words": (file,), "max_words": 100}
    assert dropped(text.replace("雀荘", "会社"), "ja", **unwanted) is None
    file.write_text("ポーカ\n", encoding="utf-8")  # as long, in the same file, at the same time
    os.utime(file, ns=(told.st_atime_ns, told.st_mtime_ns))
    unwanted["max_words"] = 1
    assert dropped(text, "ja", **unwanted) is None
    file.write_text("ポーカ\n雀荘\n", encoding="utf-8")
    assert dropped(text, "ja", **unwanted) == "words"


def test_word_lists_that_cannot_be_used_are_refused(tmp_path):
    file = tmp_path / "words.txt"
    for content, problem, error in (
        (b"", "holds no word", UsageError),
        (b"# nothing\n", "holds no word", UsageError),
        ("猫\n".encode(), "2 to 64 characters", UsageError),
        (("猫" * 65).encode(), "2 to 64 characters", UsageError),
        ("賭博".encode("cp932"), "not UTF-8", DataError),
    ):
        file.write_bytes(content)
        with pytest.raises(error, match=problem):
            resolved(FilterSettings(words=(file,)))
    with pytest.raises(UsageError, match="is not there"):
        resolved(FilterSettings(words=(tmp_path / "gone",)))
