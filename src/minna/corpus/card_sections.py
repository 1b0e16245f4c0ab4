"""What a card says, section by section, from what a build counted and how it was set.

A reader asks in this order: what is it, what went and why, what was changed in the texts, what
does it look like, on which terms, and what is left for me to check. The numbers come from
`Statistics` and the settings alone, so the same build writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from minna.corpus import card_words as say
from minna.corpus.card_blocks import (
    Amount,
    Cell,
    Chart,
    Code,
    Link,
    Listing,
    Quotes,
    Section,
    Table,
    Words,
    percent,
)
from minna.corpus.card_charts import name_chart, shape_charts
from minna.corpus.card_facts import NONE, Facts, by_count, share_of, shown_value
from minna.corpus.card_method import (
    all_settings,
    contamination_words,
    duplicates,
    normalisation,
    splits,
)
from minna.corpus.filters import FILTERS, Filter
from minna.corpus.statistics import Statistics
from minna.units import format_bytes

_UNSTATED: Final = frozenset({"", "not stated", "unknown", "other"})
_RULES: Final = {rule.name: rule for rule in FILTERS}
_SILENT: Final = Words("Reasons that dropped nothing", "一件も除かなかった理由")
_MANY_DROPPED: Final = 0.3


def sections(facts: Facts) -> list[Section]:
    """The whole card."""
    return [
        _overview(facts),
        _attention(facts),
        _dropped(facts),
        _changed(facts),
        duplicates(facts),
        splits(facts),
        _shapes(facts),
        _samples(facts),
        normalisation(),
        _licences(facts),
        _confirm(),
        _release(),
        all_settings(facts),
    ]


def accounting(statistics: Statistics) -> Words:
    """The line that says where every document went: read = kept + dropped.

    Raises:
        AssertionError: the counts do not add up, which is a mistake of ours, never of the user's.
    """
    read, kept, dropped = statistics.read, statistics.kept, sum(statistics.dropped.values())
    if read != kept + dropped:
        raise AssertionError(
            f"a build must account for every document: {read} read, {kept} kept, {dropped} dropped"
        )
    return Words(
        f"{read:,} documents read = {kept:,} kept + {dropped:,} dropped, each for one reason.",
        f"読み込んだ文書 {read:,} 件 ＝ 残した文書 {kept:,} 件 ＋ 除いた文書 {dropped:,} 件。"
        "除いた文書には、必ず理由が一つあります。",
    )


def _overview(facts: Facts) -> Section:
    s = facts.statistics
    rows: list[Sequence[Cell]] = [
        (Words("documents", "文書数"), s.kept),
        (Words("characters", "文字数"), s.characters),
        (Words("UTF-8 text", "UTF-8 でのサイズ"), Amount(format_bytes(s.text_bytes))),
        (Words("documents read", "読み込んだ文書数"), s.read),
        (
            Words("text read, normalised", "読み込んだ文書の正規化後のサイズ"),
            Amount(format_bytes(s.read_bytes)),
        ),
        (Words("documents kept", "残した文書の割合"), share_of(s.kept, s.read)),
    ]
    if s.readings or s.readings_lost:
        rows.append((Words("readings (ruby) beside the text", "読み（ルビ）の件数"), s.readings))
        lost = Words("readings that could not be placed", "本文に対応づけられなかった読み")
        rows.append((lost, s.readings_lost))
    about = Words(
        f"Documents of {facts.name}, normalised, filtered, de-duplicated and split once, in the "
        "order of the source.",
        f"{facts.name} の文書を一度だけ正規化し、フィルタ、重複の除去、分割を行ったコーパスです。"
        "文書は出典の順に並んでいます。",
    )
    header = (Words("what", "項目"), Words("value", "値"))
    languages = Table(
        header=(
            Words("language", "言語"),
            Words("documents", "文書数"),
            Words("UTF-8 text", "サイズ"),
            Words("share of text", "サイズの割合"),
        ),
        rows=[
            (
                say.called(say.NAMES, name),
                count,
                Amount(format_bytes(s.language_bytes.get(name, 0))),
                share_of(s.language_bytes.get(name, 0), s.text_bytes),
            )
            for name, count in by_count(s.languages)
        ],
    )
    blocks = [about, Table(header=header, rows=rows), *([languages] if languages.rows else [])]
    return Section(key="overview", title=Words("What it is", "概要"), blocks=blocks)


def _attention(facts: Facts) -> Section:
    found = [*_about_terms(facts), *_about_counts(facts)]
    none = Words("Nothing unusual was counted.", "集計のうえで特に目立つ点はありません。")
    blocks = [Listing(items=found)] if found else [none]
    return Section(
        key="attention", title=Words("What to look at first", "まず確認してほしい点"), blocks=blocks
    )


def _about_terms(facts: Facts) -> list[Words]:
    found = [
        Words(
            f"The terms of {item.source} are not stated: find them out before you pass it on.",
            f"{item.source} の利用条件が記載されていません。再配布の前に確認してください。",
        )
        for item in facts.licences
        if item.licence.strip().lower() in _UNSTATED
    ]
    if not facts.licences:
        found.append(
            Words("No source states its terms.", "利用条件を記載した出典が一つもありません。")
        )
    if not facts.contamination.get("against"):
        found.append(
            Words(
                "No evaluation set was named, so none was looked for in the text.",
                "評価用データセットが指定されていないため、本文への混入は調べていません。",
            )
        )
    return found


def _about_counts(facts: Facts) -> list[Words]:
    s = facts.statistics
    found: list[Words] = []
    for reason, count in by_count(s.dropped):
        if s.read and count / s.read >= _MANY_DROPPED:
            share = percent(count / s.read)
            en = f"{share} of the documents were dropped for {reason}: read its examples."
            ja = f"文書の {share} を {reason} の理由で除いています。例を確認してください。"
            found.append(Words(en, ja))
    asked = {"train": 1.0, "valid": facts.settings["valid"], "test": facts.settings["test"]}
    for split, share in asked.items():
        if share and not s.splits.get(split):
            en = f"The split {split} holds no document: too few groups of documents."
            ja = f"{split} に入った文書がありません。割り当てるには文書のグループが少なすぎます。"
            found.append(Words(en, ja))
    if s.readings_lost:
        en = f"{s.readings_lost:,} readings could not be placed in the normalised text."
        ja = f"{s.readings_lost:,} 件の読みを、正規化後の本文に対応づけられませんでした。"
        found.append(Words(en, ja))
    return found


def _dropped(facts: Facts) -> Section:
    s = facts.statistics
    met = [name for name, count in by_count(s.dropped) if count]
    copies = ["duplicate", "near_duplicate"] if facts.dedup.get("near") == "drop" else ["duplicate"]
    unmet = [name for name in (*_RULES, *copies) if name not in met]
    found = [_reasons(facts, met)] if met else []
    silent = [_reasons(facts, unmet, folded=_SILENT)] if unmet else []
    examples = [Quotes(label=Code(name), texts=s.examples[name]) for name in sorted(s.examples)]
    heading = Words(
        "The first few of each reason, cut:", "理由ごとに、最初の数件を途中まで示します。"
    )
    blocks = [accounting(s), *found, *silent, *([heading] if examples else []), *examples]
    title = Words("What was dropped, and why", "除いた文書とその理由")
    return Section(key="dropped", title=title, blocks=blocks)


def _reasons(facts: Facts, names: Sequence[str], *, folded: Words | None = None) -> Table:
    s, thresholds = facts.statistics, facts.settings["filters"]
    rows: list[Sequence[Cell]] = []
    for name in names:
        rule, count = _RULES.get(name), s.dropped.get(name, 0)
        limit = Code(f"{rule.setting} = {shown_value(thresholds[rule.setting])}") if rule else NONE
        share = share_of(count, s.read)
        rows.append((Code(name), _reason(name), _judged(rule), limit, count, share))
    return Table(
        folded=folded,
        header=(
            Words("reason", "理由"),
            Words("a document goes when", "除く文書"),
            Words("language", "対象の言語"),
            Words("threshold", "しきい値"),
            Words("dropped", "件数"),
            Words("share", "割合"),
        ),
        rows=rows,
    )


def _judged(rule: Filter | None) -> Words:
    every = Words("any", "すべて")
    return say.called(say.NAMES, rule.language) if rule and rule.language else every


def _reason(name: str) -> Words:
    rule = _RULES.get(name)
    return Words(rule.reason, rule.reason_ja) if rule else say.called(say.REASONS, name)


def _changed(facts: Facts) -> Section:
    s = facts.statistics
    lines = Table(
        header=(Words("lines taken out", "取り除いた行"), Words("lines", "行数")),
        rows=[(say.called(say.LINES, why), count) for why, count in by_count(s.lines_removed)],
    )
    masked = Table(
        header=(Words("personal data masked", "伏せ字にした個人情報"), Words("places", "箇所")),
        rows=[(say.called(say.PERSONAL, kind), count) for kind, count in by_count(s.masked)],
    )
    about = Words(
        "Lines and masks are counted before documents are dropped: those of documents that were "
        "dropped later count too.",
        "行と伏せ字は、文書を除く前に数えています。あとで除いた文書の分も含みます。",
    )
    blocks: list[Words | Table | Quotes] = [about] if lines.rows or masked.rows else []
    if lines.rows:
        blocks.append(lines)
        blocks += [
            Quotes(label=say.called(say.LINES, why), texts=texts)
            for why, texts in sorted(s.line_examples.items())
        ]
    else:
        blocks.append(Words("No line was taken out.", "取り除いた行はありません。"))
    if masked.rows:
        blocks += [masked, _masked(s)]
    else:
        blocks.append(Words("No personal data was masked.", "伏せ字にした個人情報はありません。"))
    blocks += contamination_words(facts)
    title = Words("What was changed in the texts that were read", "読み込んだ文書に加えた変更")
    return Section(key="changed", title=title, blocks=blocks)


def _masked(s: Statistics) -> Words:
    return Words(
        f"{s.masked_documents:,} of the documents that were read hold a masked place. Only known "
        "forms are found.",
        f"読み込んだ文書のうち、伏せ字を含むものは {s.masked_documents:,} 件です。決まった形の"
        "ものだけを検出しています。",
    )


def _shapes(facts: Facts) -> Section:
    s = facts.statistics
    charts: list[Words | Chart] = [
        *shape_charts(s),
        *name_chart(s.languages, key="languages", title=Words("Languages", "言語")),
        *name_chart(
            s.licences, key="licences", title=Words("Terms of the documents", "文書の利用条件")
        ),
        *name_chart(s.orthographies, key="orthographies", title=Words("Orthography", "表記")),
    ]
    nothing = Words("There is nothing to draw.", "図にする数値がありません。")
    return Section(
        key="shapes", title=Words("What it looks like", "分布"), blocks=charts or [nothing]
    )


def _samples(facts: Facts) -> Section:
    kept = Words("kept", "残した文書")
    samples = facts.statistics.samples
    about = Words(
        "The beginnings of documents from all over the source.",
        "出典全体から選んだ文書の冒頭です。",
    )
    none = Words("No document was kept.", "残した文書はありません。")
    blocks = [about, Quotes(label=kept, texts=samples)] if samples else [none]
    return Section(
        key="samples", title=Words("Samples of what was kept", "残した文書の例"), blocks=blocks
    )


def _licences(facts: Facts) -> Section:
    unstated = Words("not stated", "記載なし")
    table = Table(
        header=(
            Words("source", "出典"),
            Words("terms", "利用条件"),
            Words("credit", "クレジット"),
            Words("address", "URL"),
        ),
        rows=[
            (
                item.source,
                unstated if item.licence.strip().lower() in _UNSTATED else item.licence,
                item.attribution or NONE,
                Link(item.url) if item.url else NONE,
            )
            for item in facts.licences
        ],
    )
    about = Words(
        "These are the terms of the text. Each row of the corpus names its own.",
        "テキストの利用条件です。コーパスの各行にも、その文書の利用条件を記録しています。",
    )
    title = Words("Licences and attribution", "ライセンスとクレジット")
    return Section(key="licences", title=title, blocks=[about, *([table] if table.rows else [])])


def _confirm() -> Section:
    notes = [Words(*pair) for pair in zip(say.LEGAL_NOTES, say.LEGAL_NOTES_JA, strict=True)]
    return Section(
        key="legal",
        title=Words("Legal notes the builder confirms", "作成者が確認すること（法的事項）"),
        blocks=[Listing(items=notes, kind="to_confirm")],
    )


def _release() -> Section:
    return Section(
        key="release",
        title=Words("Before you release, and how to cite", "公開する前の確認と引用の方法"),
        blocks=[Listing(items=say.BEFORE_RELEASE, kind="to_confirm"), say.CITE],
    )
