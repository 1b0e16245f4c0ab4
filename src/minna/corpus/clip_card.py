"""`card.md` of a corpus of clips, in Japanese and English: what is in it, what went and why.

Nothing can be heard there: a card is text that travels, and the licence of a voice may not allow
that it travels with it. What a program spoke is called synthetic, first thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from minna.artifact import Licence
from minna.corpus.card_blocks import Words, cut, markdown, quoted
from minna.corpus.card_tables import SPLITS, count_table, in_words, split_table, terms, to_confirm
from minna.corpus.card_words import LEGAL_NOTES, LEGAL_NOTES_JA
from minna.corpus.clip_rows import ClipRow, Tally
from minna.units import format_bytes

CLIP_NOTES: Final = (
    (
        "Voices: a recording of a person's voice is personal data where the person can be told "
        "from it. The builder confirms that the speakers agreed, or that the terms cover it."
    ),
    (
        "Contents: what is said may name persons, or be somebody's work (songs, broadcasts, "
        "readings). The builder confirms that the rights in it are respected."
    ),
)
"""What a builder of recordings that somebody has confirms besides."""
_CLIP_NOTES_JA: Final = (
    (
        "声：話者を特定できる録音は個人情報にあたります。話者の同意があること、または利用条件が"
        "それを認めていることを、作成者が確認してください。"
    ),
    (
        "内容：発話には人名や他者の著作物（歌・放送・朗読）が含まれることがあります。作成者は、"
        "その権利が守られていることを確認してください。"
    ),
)
_JAPANESE: Final[dict[str, str]] = dict(
    zip((*LEGAL_NOTES, *CLIP_NOTES), (*LEGAL_NOTES_JA, *_CLIP_NOTES_JA), strict=True)
)
REASONS: Final = {
    "duplicate": Words("the same sound came before", "同じ音声が先に現れている"),
    "empty": Words("the file is empty, or has no samples", "ファイルまたは音声が空である"),
    "missing": Words("its file is not there", "ファイルがない"),
    "outside": Words("its file lies outside of the folder", "ファイルがフォルダの外にある"),
    "not_audio": Words("it is no audio that can be read", "読み込める音声ではない"),
    "damaged": Words("it is broken", "壊れている"),
    "truncated": Words("it ends before its header says", "途中で切れている"),
    "not_finite": Words("it holds NaN or infinity", "NaN または無限大を含む"),
    "too_large": Words("its file is too large", "ファイルが大きすぎる"),
    "too_long": Words("it is too long to be one clip", "一つのクリップとしては長すぎる"),
    "too_short": Words("it is too short", "短すぎる"),
    "silent": Words("nobody speaks in it", "無音である"),
    "clipped": Words("too much of it is at full scale", "振り切れた部分が多すぎる"),
    "odd_rate": Words("its rate is none of a recording", "標本化周波数が録音のものではない"),
    "too_many_channels": Words("it has too many channels", "チャンネルが多すぎる"),
    "no_audio": Words("its row names no recording", "行に音声がない"),
    "not_listed": Words("the table does not name it", "一覧表にない"),
    "malformed": Words("its row or its side-car is broken", "行または付属ファイルが壊れている"),
    "outside_recording": Words(
        "its times lie outside of the recording", "時刻が録音の範囲を外れている"
    ),
    "unknown_phone": Words("its phones are none of Open JTalk's", "未知の音素記号を含む"),
    "bad_times": Words("its times do not fit its phones", "音素の時刻が音素と合わない"),
    "unreadable": Words("its text cannot be read aloud", "文を読み上げられない"),
    "unspoken": Words("the program did not speak it", "合成プログラムが音声を出さなかった"),
}
"""Why clips go."""
NOTED: Final = {
    "unread": Words("no phones: a part cannot be read", "音素なし：読めない部分がある"),
    "reading_differs": Words(
        "no phones: the stated reading is another one than Open JTalk's",
        "音素なし：記された読みが Open JTalk の読みと異なる",
    ),
    "not_japanese": Words("no phones: not Japanese", "音素なし：日本語ではない"),
}
"""What is noted of clips that stay."""
_SHOWN: Final = 12
_SHOWN_SPEAKERS: Final = 50


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card tells.

    Attributes:
        name: of the source.
        read: recordings the source gave.
        groups: that what was written forms.
        tally: what was written.
        dropped: reason -> clips.
        notes: note -> clips that stay.
        levels: 5th, 50th and 95th percentile in dB under full scale.
        remarks: (Japanese, English) of the source.
    """

    name: str
    read: int
    groups: int
    tally: Tally
    dropped: Mapping[str, int]
    notes: Mapping[str, int]
    levels: Sequence[float]
    licences: Sequence[Licence]
    legal: Sequence[str]
    remarks: Sequence[tuple[str, str]]


def card(facts: CardFacts) -> str:
    """Write card.md."""
    shown = "\n".join(map(_sample, facts.tally.samples[:_SHOWN]))
    notes = in_words(facts.notes, NOTED)
    speakers = dict(facts.tally.speakers.most_common(_SHOWN_SPEAKERS))
    speakers = {name or "不明 / not stated": count for name, count in speakers.items()}
    sections = [
        f"# 音声クリップのコーパス / Corpus of clips: {facts.name}",
        f"## 日本語\n\n{_japanese(facts)}",
        f"## English\n\n{_english(facts)}",
        _cells(facts.tally),
        count_table("話者別クリップ数（上位） / clips by speaker (the commonest)", speakers),
        count_table("ライセンス別 / clips by licence", facts.tally.licences),
        count_table("除いたもの / dropped", in_words(facts.dropped, REASONS)),
        count_table("残したものの注記 / noted of those that stay", notes) if notes else "",
        f"## 例 / Samples\n\n{shown}",
        terms(facts.licences),
        to_confirm(facts.legal, japanese=_JAPANESE),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _japanese(facts: CardFacts) -> str:
    tally = facts.tally
    low, middle, high = facts.levels or (0.0, 0.0, 0.0)
    told = (
        f"{facts.read:,} 件の録音から {tally.kept:,} クリップ、{_hours(tally.seconds)} 時間"
        f"（{format_bytes(tally.audio_bytes)}）を残した。書き起こしは {tally.transcribed:,} 件、"
        f"音素は {tally.phoned:,} 件、音素の時刻は {tally.timed:,} 件にある。音量（RMS）の中央値は "
        f"{middle:.1f} dBFS（5 % 点 {low:.1f}、95 % 点 {high:.1f}）。グループ（分割をまたがない"
        f"単位）は {facts.groups:,}、話者は {_speakers(tally)}。"
    )
    return "\n\n".join([*(japanese for japanese, _ in facts.remarks), told])


def _english(facts: CardFacts) -> str:
    tally = facts.tally
    low, middle, high = facts.levels or (0.0, 0.0, 0.0)
    told = (
        f"{facts.read:,} recordings read; {tally.kept:,} clips kept, {_hours(tally.seconds)} hours "
        f"({format_bytes(tally.audio_bytes)}). {tally.transcribed:,} have a transcript, "
        f"{tally.phoned:,} phones, {tally.timed:,} the times of their phones. Median level (RMS) "
        f"{middle:.1f} dBFS (5 % under {low:.1f}, 5 % over {high:.1f}). They form {facts.groups:,} "
        f"groups, none of which straddles a split. Speakers: {_speakers(tally)}."
    )
    return "\n\n".join([*(english for _, english in facts.remarks), told])


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f}"


def _speakers(tally: Tally) -> str:
    known = len([name for name in tally.speakers if name])
    return f"{known:,}" if known else "不明 / not stated"


def _cells(tally: Tally) -> str:
    """Hours by source and split, and how many clips that are."""
    rows = {
        source: [_hours(tally.cells.get((source, split), 0.0)) for split in SPLITS]
        for source in tally.sources
    }
    for source, cells in rows.items():
        every = sum(seconds for (name, _), seconds in tally.cells.items() if name == source)
        cells.append(_hours(every))
    rows["計 / all"] = [_hours(tally.split_seconds.get(split, 0.0)) for split in SPLITS]
    rows["計 / all"].append(_hours(tally.seconds))
    rows["クリップ / clips"] = [f"{tally.splits[split]:,}" for split in SPLITS]
    rows["クリップ / clips"].append(f"{tally.kept:,}")
    return split_table("時間 / hours", rows)


def _sample(row: ClipRow) -> str:
    """A clip in words."""
    terms = f"{markdown(row.source)}, {row.seconds:.2f} s, {row.rate:,} Hz, {markdown(row.licence)}"
    said = [
        f"  - {name}: {quoted(cut(text))}"
        for name, text in (("transcript", row.transcript), ("phones", row.phones))
        if text
    ]
    return "\n".join([f"- `{row.id}` ({terms})", *said])
