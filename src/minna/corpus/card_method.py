"""How a corpus was made, as its card tells it: duplicates, splits, normalisation, settings.

Whoever uses a near-duplicate filter must know what it misses, so the probabilities are printed and
not only the parameters they follow from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

from minna.corpus import card_words as say
from minna.corpus import japanese
from minna.corpus.card_blocks import Amount, Code, Listing, Section, Table, Words, percent
from minna.corpus.card_facts import NONE, Facts, share_of, shown_value
from minna.corpus.minhash import BINS, DOUBT

SPLITS: Final = ("train", "valid", "test")
_SIMILARITIES: Final = (0.5, 0.6, 0.7, 0.8, 0.9)
_COMPARED: Final = Words(
    f"where it is within {DOUBT} of the threshold, the n-grams themselves are compared.",
    f"推定値としきい値の差が {DOUBT} 未満の組は、n-gram そのものを比べて判定します。",
)
_ESTIMATED: Final = Words(
    "the estimate decides, since paragraphs are taken out before texts could be compared.",
    "先に段落を取り除くため本文どうしは比べられず、この推定値で判定します。",
)


def contamination_words(facts: Facts) -> list[Words]:
    """How evaluation data was looked for; nothing where it was not."""
    settings = facts.contamination
    against = [PurePath(path).name for path in settings.get("against", ())]
    if not against:
        return []
    n, overlap = settings["ngram"], percent(settings["overlap"])
    names = "、".join(against)
    return [
        Words(
            f"Looked for texts of {', '.join(against)}: one counts as found when {overlap} of its "
            f"{n}-grams of letters stand in a document; the lines that hold them are taken out.",
            f"{names} のテキストを検索しました。その {n} 文字の n-gram のうち {overlap} 以上が"
            "一つの文書に現れたときに混入とみなし、該当する行を取り除いています。",
        )
    ]


def duplicates(facts: Facts) -> Section:
    """What counts as a copy, and what the search for near copies misses."""
    dedup, s = facts.dedup, facts.statistics
    exact = Words(
        "Of documents whose normalised texts are equal, the first stays.",
        "正規化後の本文が完全に一致する文書は、最初の一件だけを残します。",
    )
    near = dedup.get("near", "off")
    title = Words("Duplicates", "重複の除去")
    if near == "off":
        off = Words(
            "Near-duplicates were not looked for.", "ほぼ同じ文書（近似重複）は調べていません。"
        )
        return Section(key="duplicates", title=title, blocks=[exact, off])
    what = {
        "drop": Words(
            "Of documents that are nearly the same, the first stays.",
            "ほぼ同じ文書（近似重複）は、最初の一件だけを残します。",
        ),
        "group": Words(
            f"Documents that are nearly the same stay, on one side of the splits ({s.regrouped:,} "
            "were put into the group of another).",
            "ほぼ同じ文書（近似重複）は残し、必ず同じ分割に入れます（別の文書のグループに"
            f"移した文書は {s.regrouped:,} 件です）。",
        ),
    }[near]
    return Section(key="duplicates", title=title, blocks=[exact, what, *_near(dedup)])


def _near(dedup: Mapping[str, Any]) -> list[Words | Table]:
    n, bands, rows = dedup["ngram"], dedup["bands"], dedup["rows"]
    threshold, letters = dedup["similarity"], dedup["letters"]
    error = percent(math.sqrt(threshold * (1 - threshold) / BINS))
    decided = _ESTIMATED if dedup.get("paragraph_characters") else _COMPARED
    how = Words(
        f"Nearly the same: a Jaccard similarity of {threshold} or more between their sets of "
        f"{n}-grams of letters, in texts of {letters} letters or more. Candidates share one of "
        f"{bands} bands of {rows} MinHash values. Their similarity is estimated from {BINS} "
        f"values, with a standard error of {error} at the threshold; {decided.en} A pair of "
        f"similarity J shares no band, and is missed, with probability (1 − J^{rows})^{bands}:",
        f"{letters} 文字以上の文書について、{n} 文字の n-gram の集合の Jaccard 係数が "
        f"{threshold} 以上のものを、ほぼ同じとみなします。MinHash の値 {rows} 個からなるバンド "
        f"{bands} 本のうち一本でも一致したものを候補とし、{BINS} 個の値から類似度を推定します"
        f"（しきい値での標準誤差は {error} です）。{decided.ja}"
        f"類似度 J の組がどのバンドでも一致せず、見落とされる確率は (1 − J^{rows})^{bands} です。",
    )
    points = sorted({*_SIMILARITIES, threshold})
    table = Table(
        header=(
            Words("similarity J", "類似度 J"),
            Words("found as a candidate", "候補になる確率"),
            Words("missed", "見落とす確率"),
        ),
        rows=[
            (Amount(f"{j:g}"), Amount(percent(1 - missed)), Amount(percent(missed)))
            for j in points
            for missed in [(1 - j**rows) ** bands]
        ],
    )
    return [how, table]


def splits(facts: Facts) -> Section:
    """How many documents each split has."""
    s = facts.statistics
    valid, test = percent(facts.settings["valid"]), percent(facts.settings["test"])
    about = Words(
        f"By the hash of the group ({valid} of the groups to valid, {test} to test): what belongs "
        "together never stands on two sides, and a document keeps its side when the corpus grows.",
        f"グループのハッシュで分けています（{valid} を valid、{test} を test とします）。"
        "ひとまとまりの文書が別々の分割に入ることはなく、コーパスが大きくなっても、"
        "文書の属する分割は変わりません。",
    )
    names = (*SPLITS, *sorted(set(s.splits) - set(SPLITS)))
    table = Table(
        header=(Words("split", "分割"), Words("documents", "文書数"), Words("share", "割合")),
        rows=[
            (
                say.called(say.NAMES, name),
                s.splits.get(name, 0),
                share_of(s.splits.get(name, 0), s.kept),
            )
            for name in names
        ],
    )
    return Section(key="splits", title=Words("Splits", "分割"), blocks=[about, table])


def normalisation() -> Section:
    """The rules of the one normalisation."""
    rules = [Words(*pair) for pair in zip(japanese.RULES, say.NORMALISATION_JA, strict=True)]
    return Section(
        key="normalisation",
        title=Words("Normalisation", "正規化"),
        blocks=[Listing(items=rules)],
    )


def all_settings(facts: Facts) -> Section:
    """Every setting that decides what the corpus is."""
    table = Table(
        folded=Words("All settings of the build", "すべての設定"),
        header=(Words("setting", "設定"), Words("value", "値")),
        rows=[
            (Code(name), NONE if value == NONE else Code(value))
            for name, value in _flat(facts.settings)
        ],
    )
    return Section(key="settings", title=Words("Settings", "設定"), blocks=[table])


def _flat(settings: Mapping[str, Any], under: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{under}{name}.")
        else:
            found.append((f"{under}{name}", shown_value(value)))
    return found
