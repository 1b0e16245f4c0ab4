"""`corpus join`: a corpus with what a side-car says of it in the place of its own texts.

A side-car is no corpus: it knows neither splits nor licences, and its rows mean something only
beside those they were made for. Joining puts both together: the rows that were kept, with the ids,
groups and splits they had, so that what was held out stays held out in the other language.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from minna import artifact
from minna.artifact import Draft
from minna.artifact.files import write_text_atomically
from minna.artifact.verify import verify
from minna.console import say
from minna.corpus.card_blocks import cut, markdown, quoted
from minna.corpus.dialogue_card import CardFacts
from minna.corpus.dialogue_card import card as dialogue_card
from minna.corpus.dialogue_corpus import holds_dialogues
from minna.corpus.dialogue_rows import DIALOGUE_COLUMNS, Row, write_rows
from minna.corpus.join_pairs import GENERATED, write_pictures
from minna.corpus.pair_corpus import holds_pairs
from minna.corpus.passes.write import COLUMNS
from minna.corpus.sidecar_rows import (
    JoinedRows,
    open_sidecar,
    refuse_own_place,
    write_documents,
)
from minna.errors import DataError, UsageError
from minna.prompts import Turn

_LABELS: Final = {"translate": "label translate", GENERATED: "label caption"}
_SPLITS: Final = ("train", "valid", "test")
_DIALOGUE_KEYS: Final = tuple(name for name in DIALOGUE_COLUMNS if name not in Row._fields[5:])
_DOCUMENT_KEYS: Final = tuple(name for name in COLUMNS if name not in ("language", "text"))
_SAMPLES: Final = 3
_VERSION: Final = 1
"""Part of every key: raise it when rows are made differently."""


@dataclass(frozen=True, kw_only=True)
class JoinReport:
    """What a join did.

    Attributes:
        path: the corpus.
        state: built, or unchanged (nothing to do).
        unit: dialogues, documents or pictures.
        read: rows of the corpus.
        kept: of them, those the side-car keeps.
        dropped: reason -> rows.
        splits: split -> rows.
        text_bytes: of the texts, in UTF-8.
        wall_seconds: how long it took.
    """

    path: Path
    state: Literal["built", "unchanged"]
    unit: str
    read: int
    kept: int
    dropped: dict[str, int]
    splits: dict[str, int]
    text_bytes: int
    wall_seconds: float


def join(corpus: Path, *, sidecar: Path, out: Path, weight: float | None = None) -> JoinReport:
    """Write the corpus that a side-car makes of `corpus`, or do nothing.

    Translations stand in the place of what was translated; generated captions beside those there.

    Args:
        corpus: the corpus.
        sidecar: translations, or generated captions, of it.
        out: where the joined corpus goes.
        weight: of each generated caption, beside those there; None is 1.

    Raises:
        ArtifactError: no corpus or no side-car, a damaged one, or one of another corpus.
        UsageError: a side-car of another label, a weight for translations, or `out` is where the
            corpus or side-car lies.
        DataError: the side-car keeps no row.
    """
    refuse_own_place((corpus, sidecar), out)
    manifest, parents = open_sidecar(
        corpus, sidecar, labels=_LABELS, used="translations and generated captions are joined"
    )
    label = str(manifest.settings["label"])
    unit = unit_of(corpus)
    settings: dict[str, Any] = {"source": "join", "label": label, "version": _VERSION}
    if label == GENERATED:
        settings["weight"] = _weight(weight)
    elif weight is not None:
        raise UsageError(
            f"--weight {weight:g} is that of generated captions, and {sidecar} holds translations, "
            "which take the place and the weight of what was translated",
            remedy="leave --weight out",
        )
    if not artifact.unchanged(
        out, key=artifact.key_of("corpus", settings=settings, parents=parents)
    ):
        verify(sidecar)
        with artifact.writing(out, kind="corpus", settings=settings, parents=parents) as draft:
            shutil.rmtree(draft.path / "data", ignore_errors=True)  # what an interrupted one left
            draft.licences, draft.legal = list(manifest.licences), list(manifest.legal)
            joined = JoinedRows(corpus, sidecar)
            if unit == "dialogues":
                _write_dialogues(draft, joined)
            elif unit == "pictures":
                write_pictures(draft, joined, settings=settings)
            else:
                _write_documents(draft, joined, language=str(manifest.settings["target"]))
        return _report(out, unit, state="built")
    say(f"{out}: this corpus and side-car are joined already")
    return _report(out, unit, state="unchanged")


def _weight(weight: float | None) -> float:
    if weight is None:
        return 1.0
    if not 0 < weight < math.inf:
        raise UsageError(
            f"--weight {weight:g} is how often a generated caption is drawn, and must be above 0",
            remedy="give 1 for as often as a caption that is there",
        )
    return weight


def unit_of(corpus: Path) -> str:
    """What a corpus holds: documents, dialogues or pictures.

    Raises:
        ArtifactError: not a corpus.
    """
    if holds_dialogues(corpus):
        return "dialogues"
    return "pictures" if holds_pairs(corpus) else "documents"


def _write_dialogues(draft: Draft, joined: JoinedRows) -> None:
    def rows() -> Iterator[Row]:
        for row, label in joined.rows(_DIALOGUE_KEYS, ("turns", "rejected")):
            turns = tuple(Turn(turn["role"], turn["text"]) for turn in label["turns"])
            yield Row(**row, turns=turns, rejected=label["rejected"])

    tally = write_rows(rows(), data=draft.path / "data")
    numbers = {
        "turns": (tally.turns, "turns"),
        "rejected": (tally.rejected, "dialogues"),
        "unanswered": (tally.unanswered, "dialogues"),
        "text_bytes": (tally.text_bytes, "bytes"),
        "characters": (tally.characters, "characters"),
        **{split: (tally.splits[split], "dialogues") for split in _SPLITS},
    }
    _count(draft, joined, kept=tally.kept, numbers=numbers, unit="dialogues")
    facts = CardFacts(
        name="join",
        read=joined.read,
        tally=tally,
        dropped=joined.dropped,
        worse={},
        licences=draft.licences,
        legal=draft.legal,
    )
    write_text_atomically(draft.path / "card.md", dialogue_card(facts))


def _write_documents(draft: Draft, joined: JoinedRows, *, language: str) -> None:
    samples: list[str] = []

    def rows() -> Iterator[dict[str, Any]]:
        for row, label in joined.rows(_DOCUMENT_KEYS, ("text",)):
            if len(samples) < _SAMPLES:
                samples.append(label["text"])
            yield row | {"language": language, "text": label["text"]}

    tally = write_documents(rows(), data=draft.path / "data")
    numbers = {
        "text_bytes": (tally.text_bytes, "bytes"),
        "characters": (tally.characters, "characters"),
        **{split: (tally.splits[split], "documents") for split in _SPLITS},
    }
    _count(draft, joined, kept=tally.kept, numbers=numbers, unit="documents")
    write_text_atomically(draft.path / "card.md", _card(draft, joined, samples))


def _count(
    draft: Draft,
    joined: JoinedRows,
    *,
    kept: int,
    numbers: Mapping[str, tuple[int, str]],
    unit: str,
) -> None:
    """Record what was read, kept and dropped.

    Raises:
        DataError: nothing is kept.
    """
    told = ", ".join(f"{reason}: {number}" for reason, number in joined.dropped.most_common())
    if not kept:
        raise DataError(
            f"the side-car keeps none of {joined.read} {unit} ({told or 'the corpus is empty'})",
            remedy="look at the column `detail` of its rows; checks.off and checks.ratio of "
            "`minna label translate` change what is kept",
        )
    draft.count("read", joined.read, unit)
    draft.count(unit, kept, unit)
    for name, (value, of) in numbers.items():
        draft.count(name, value, of)
    for reason, number in joined.dropped.most_common():
        draft.count(f"dropped_{reason}", number, unit)


def _card(draft: Draft, joined: JoinedRows, samples: list[str]) -> str:
    """card.md of translated documents."""
    kept = int(draft.counts["documents"].value)
    dropped = [f"| {markdown(name)} | {n:,} |" for name, n in joined.dropped.most_common()]
    terms = [
        f"- {markdown(one.source)}: {markdown(one.licence)} {markdown(one.attribution)}".rstrip()
        for one in draft.licences
    ]
    return (
        "\n\n".join(
            [
                "# 翻訳したコーパス / Translated corpus",
                f"{joined.read:,} 件の文書のうち {kept:,} 件の翻訳を残した。",
                f"{kept:,} of {joined.read:,} translated documents are kept.",
                "## 除いたもの / dropped\n\n| | |\n|---|---:|\n"
                + ("\n".join(dropped) or "| なし / none | 0 |"),
                "## 例 / Samples\n\n" + "\n".join(f"- {quoted(cut(text))}" for text in samples),
                "## ライセンスと出典 / Licences and attribution\n\n"
                + ("\n".join(terms) or "- 記載なし / not stated"),
                "## 作成者が確認する法的事項 / Legal notes the builder confirms\n\n"
                + "\n".join(f"- [ ] {markdown(note)}" for note in draft.legal),
            ]
        )
        + "\n"
    )


def _report(path: Path, unit: str, *, state: Literal["built", "unchanged"]) -> JoinReport:
    manifest = artifact.read_manifest(path, kind="corpus")
    count = {name: int(item.value) for name, item in manifest.counts.items()}
    return JoinReport(
        path=path,
        state=state,
        unit=unit,
        read=count["read"],
        kept=count["pairs" if unit == "pictures" else unit],
        dropped={
            name.removeprefix("dropped_"): value
            for name, value in count.items()
            if name.startswith("dropped_")
        },
        splits={split: count[split] for split in _SPLITS},
        text_bytes=count["text_bytes"],
        wall_seconds=manifest.wall_seconds,
    )
