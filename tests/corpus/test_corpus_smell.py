from minna.corpus.filters import FilterSettings, judge
from minna.corpus.profile import profile

TRANSLATED = (
    "彼女は彼女の製品を使用して、あなたの生活を改善することができます。これらの機能は、それが最も重要な利点の一つです。"
    "また、彼はそれを使用して問題を解決することが可能です。さらに、それは高い品質を提供しています。"
    "しかし、あなたは彼らの助けを必要とするかもしれません。したがって、それを確認する必要があります。"
) * 3
NATURAL = (
    "朝から雨が降っていたので、傘を持って家を出た。駅までの道は水たまりだらけで、靴がすっかり濡れてしまった。"
    "電車は少し遅れていたが、座ることができたのはありがたかった。会社に着くころには空が明るくなり、"
    "昼には青空が広がっていた。帰り道、夕焼けがきれいで、しばらく橋の上から眺めていた。"
) * 3
TEMPLATE = "\n".join(
    f"{n}位は{name}です"
    for n, name in enumerate(["アップル", "バナナ", "チェリー", "ドリアン", "エッグ", "フィグ"])
)
LIST = "春の花見は上野で\n夏は鎌倉の海へ\n秋なら京都の紅葉\n冬の札幌で雪祭り\n正月は家にいる\n二月は梅を見る"


def smell(*texts):
    return profile(texts).smell.tolist()


def test_translationese_and_templates_score_well_above_their_natural_neighbours():
    translated, natural, template, plain = smell(TRANSLATED, NATURAL, TEMPLATE, LIST)
    assert translated > 0.5 > 0.15 > natural
    assert template > 0.4 > plain


def test_a_score_is_between_0_and_1_and_short_texts_are_judged_mildly():
    scores = smell("", "彼は", "この記事では、彼女の本を読みます。", TRANSLATED * 20)
    assert all(0 <= score <= 1 for score in scores)
    assert scores[0] == 0 and max(scores[:3]) < 0.3


def test_the_filter_is_off_by_default_and_drops_only_above_its_threshold():
    def reasons(settings):
        return judge([TRANSLATED, NATURAL], ["ja", "ja"], settings=settings).reasons

    loose = FilterSettings(max_repeated_grams=1, max_top_gram=1)
    assert reasons(loose) == [None, None]
    strict = FilterSettings(max_repeated_grams=1, max_top_gram=1, max_smell=0.5)
    assert reasons(strict) == ["smell", None]
