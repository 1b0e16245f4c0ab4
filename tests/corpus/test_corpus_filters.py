import pytest
from pydantic import ValidationError

from minna.corpus.dedup import SeenTexts
from minna.corpus.filters import FILTERS, FilterSettings, profile, reason_to_drop

GOOD = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD, None),
        ("はい。", None),
        ("え？", None),
        (GOOD * 3 + "\n\n" + "Yesと言った。", None),
        ("", "too_short"),
        ("あ", "too_short"),
        ("あ" + GOOD * 200_000, "too_long"),
        (GOOD + "\ufffd\ufffd", "replacement_characters"),
        ("----- 12:30 / 45.6% = 78 -----", "symbols"),
        ("This sentence is not in Japanese at all, you see.", "not_japanese"),
        ("春眠不覚暁処処聞啼鳥夜来風雨声花落知多少。" * 2, "no_kana"),
        ("ああああああああああああああああよ", "one_character"),
        ("買う買った。" * 200, "repetition"),
    ],
)
def test_each_filter_drops_what_it_is_for_and_only_that(text, reason):
    assert reason_to_drop(text, settings=FilterSettings()) == reason


def test_long_and_short_texts_are_counted_the_same_way():
    text = (GOOD + "𠮟る😀 ABC 123\n") * 30
    long = profile(text)
    short = profile(text[: len(text) // 30])
    assert long.characters == 30 * short.characters
    for share in ("japanese", "kana", "symbols", "one_character", "replacement"):
        assert getattr(long, share) == pytest.approx(getattr(short, share))


def test_every_filter_names_a_setting_that_exists_and_a_misspelt_one_is_refused():
    for rule in FILTERS:
        assert hasattr(FilterSettings(), rule.setting)
    with pytest.raises(ValidationError):
        FilterSettings(min_charakters=3)


def test_the_first_text_is_new_and_every_repetition_is_not_also_after_growing():
    seen = SeenTexts()
    texts = [f"文{n}" for n in range(20_000)]
    assert all(seen.add(text) for text in texts)
    assert not any(seen.add(text) for text in texts)
    assert len(seen) == 20_000
    assert seen.bytes_used / len(seen) <= 40
