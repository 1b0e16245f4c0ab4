"""`label translate`: a corpus in another language, as a side-car with a verdict on every row.

The paper's lab made its instruction data so: subsets of Anthropic HH, FLAN and SHP, translated into
Japanese. Such data is as good as what was left out of it, so each translation is checked, each row
that goes says why, and none disappears.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from minna import artifact
from minna.artifact import Draft, Manifest
from minna.artifact.manifest import Parent
from minna.console import say, warn
from minna.corpus import japanese
from minna.errors import UsageError
from minna.label import checks
from minna.label.cache import Cache, usual_place
from minna.label.report import TranslateReport, read_report
from minna.label.rows import Corpus
from minna.label.settings import LANGUAGES, TranslateSettings
from minna.label.translator import Translator
from minna.label.work import Work

LABEL: Final = "translate"
"""`label` in the settings of such a side-car."""


def translate(
    corpus: Path,
    *,
    out: Path,
    translator: Translator,
    back: Translator | None = None,
    settings: TranslateSettings | None = None,
    cache: Path | None = None,
) -> TranslateReport:
    """Translate a corpus; a side-car of the same is left as it is.

    Args:
        corpus: of dialogues, documents or pictures.
        out: the side-car directory.
        translator: who translates.
        back: who translates back, for the round trip.
        settings: languages and checks.
        cache: the file that keeps translations; None is one for all corpora in the user's cache.

    Raises:
        MinnaError: the translator is in trouble; what came until then is kept, and the same call
            goes on.
        ArtifactError: not a corpus, `out` holds something else, or the cache cannot be used.
        UsageError: a mixture, or a round trip without a way back.
    """
    settings = settings or TranslateSettings()
    if (settings.round_trip == "on") != (back is not None):
        raise UsageError(
            "a round trip needs a translator back, and only a round trip uses one",
            remedy="give both or neither",
        )
    source = Corpus(corpus)
    parents = _parents(corpus, translator, back)
    values = _values(translator, back, settings)
    if artifact.unchanged(out, key=artifact.key_of("sidecar", settings=values, parents=parents)):
        say(f"{out}: this corpus is translated by {translator.name} already")
        return read_report(out, state="unchanged")
    with (
        artifact.writing(out, kind="sidecar", settings=values, parents=parents) as draft,
        Cache(cache or usual_place()) as store,
    ):
        work = Work(source, translator, back, store, settings)
        try:
            work.ask()
        except KeyboardInterrupt:
            say(f"stopped; what is translated is kept in {store.file}: the same command goes on")
            raise
        work.write(draft)
        _carry_terms(draft, artifact.read_manifest(corpus), translator, settings)
    report = read_report(out, state="made")
    _warn(report, work.failed)
    return report


def _parents(corpus: Path, translator: Translator, back: Translator | None) -> list[Parent]:
    parents = [artifact.parent_of(corpus, role="corpus", kind="corpus"), translator.parent]
    if back is not None:
        parents.append(back.parent.model_copy(update={"role": "back_translator"}))
    return parents


def _values(
    translator: Translator, back: Translator | None, settings: TranslateSettings
) -> dict[str, Any]:
    """Everything that decides which texts and verdicts the side-car holds."""
    return {
        "label": LABEL,
        "by": translator.name,
        "translator": dict(translator.identity),
        "back": None if back is None else dict(back.identity),
        **dataclasses.asdict(settings),
        "ratio": list(settings.checks.ratio or settings.direction.ratio),
        "normalisation": japanese.VERSION,
        "rules": checks.VERSION,
    }


def _carry_terms(
    draft: Draft, corpus: Manifest, translator: Translator, settings: TranslateSettings
) -> None:
    """Licences and legal notes of the corpus, and that a machine translated it."""
    draft.licences = list(corpus.licences)
    draft.legal = [*corpus.legal, _note(translator, settings)]


def _note(translator: Translator, settings: TranslateSettings) -> str:
    """What whoever passes the translations on has to say and to look at, in both languages."""
    under = f" (weights: {translator.licence})" if translator.licence else ""
    source, target = (LANGUAGES[code] for code in (settings.source, settings.target))
    return (
        f"Machine-translated from {source[0]} into {target[0]} by {translator.name}{under}; no "
        "person has read it. A translation stays under the licence of what was translated, and "
        "the terms of the translator may limit what its output is used for (some forbid training "
        "other models). The builder confirms both. / "
        f"{translator.name}{under}による{source[1]}から{target[1]}への機械翻訳であり、人は確認して"
        "いません。翻訳物には原文のライセンスが及び、翻訳に使ったモデルやサービスの規約が出力の用途を"
        "制限することがあります（他のモデルの学習を禁じるものもあります）。作成者は両方を確認してください。"
    )


def _warn(report: TranslateReport, failed: Mapping[bytes, str]) -> None:
    if failed:
        why = Counter(failed.values()).most_common(1)[0][0]
        warn(f"{len(failed)} texts have no translation (most often: {why})")
    if report.read and not report.kept:
        warn(f"none of the {report.read} {report.unit} is kept; look at {report.path}/data")
