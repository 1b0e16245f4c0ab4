"""A made-up corpus, as docs/formats.md says one looks."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from minna import artifact

PLACES = ["東京", "京都", "学校", "公園", "図書館", "駅", "海", "山", "北海道", "喫茶店"]
PEOPLE = ["私", "彼女", "先生", "友達", "母", "田中さん", "医者", "学生", "トム", "猫"]
DEEDS = ["本を読みました", "走っている", "手紙を書いた", "寝ていた", "コーヒーを飲む", "歌います"]
TIMES = ["昨日", "毎朝", "来週の月曜日", "3時に", "いつも", "2023年に", "夜"]
LINKS = ["そして", "しかし", "だから", "それから", "ところで", "例えば"]


def sentences(count: int, *, seed: int) -> list[str]:
    generator = random.Random(seed)
    pick = generator.choice
    return [
        f"{pick(TIMES)}、{pick(PEOPLE)}は{pick(PLACES)}で{pick(DEEDS)}。"
        + (
            f"\n{pick(LINKS)}{pick(PEOPLE)}と{pick(PLACES)}へ行く。"
            if generator.random() < 0.3
            else ""
        )
        for _ in range(count)
    ]


def write_corpus(
    path: Path, *, train: list[str], valid: list[str], languages: list[str] | None = None
) -> Path:
    texts = [*train, *valid]
    with artifact.writing(path, kind="corpus", settings={"texts": len(texts)}) as draft:
        (draft.path / "data").mkdir()
        columns = {
            "id": [f"{i:016x}" for i in range(len(texts))],
            "group": [str(i) for i in range(len(texts))],
            "split": ["train"] * len(train) + ["valid"] * len(valid),
            "source": ["made-up"] * len(texts),
            "licence": ["CC0-1.0"] * len(texts),
            "text": texts,
        }
        if languages is not None:
            columns["language"] = languages
        pq.write_table(pa.table(columns), draft.path / "data" / "00000.parquet", compression="zstd")
        draft.licences = [artifact.Licence(source="made-up", licence="CC0-1.0")]
    return path
