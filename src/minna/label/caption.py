"""`label caption`: what a model says of the pictures of a corpus, as a side-car.

Captions of the web say what a page is about; captions of a model say what is to be seen. The paper
trained on both. `corpus join` puts them beside those that are there; a model of English captions is
followed by `label translate`. What was said of a picture is filed under its bytes and never asked
for again, in this corpus or in another.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from minna import artifact
from minna.artifact import Draft, Manifest
from minna.artifact.cache import cache_directory
from minna.console import progress, say, warn
from minna.corpus import japanese
from minna.corpus.pair_corpus import Caption, holds_pairs
from minna.corpus.pair_measure import settled
from minna.corpus.pictures import BadPictureError, open_picture
from minna.corpus.read import part_batches, parts
from minna.errors import ArtifactError, DataError
from minna.label.cache import Cache, Keys
from minna.label.captioner import Captioner
from minna.units import format_count

if TYPE_CHECKING:
    from PIL.Image import Image

LABEL: Final = "caption"
"""`label` in the settings of such a side-car."""
SCHEMA: Final = pa.schema(
    [("id", pa.string()), ("captions", pa.list_(pa.string())), ("problem", pa.string())]
)
_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class CaptionReport:
    """What a run did.

    Attributes:
        path: the side-car.
        state: made, or unchanged (nothing to do).
        model: who captioned.
        read: pictures of the corpus.
        captioned: of them, those with a caption.
        captions: of them.
        asked: pictures that the run which finished asked for.
        problems: why pictures have no caption -> pictures.
        wall_seconds: of that run.
    """

    path: Path
    state: Literal["made", "unchanged"]
    model: str
    read: int
    captioned: int
    captions: int
    asked: int
    problems: dict[str, int]
    wall_seconds: float


def usual_place() -> Path:
    """Where captions are kept when nobody says where."""
    return cache_directory() / "captions.sqlite"


def caption(
    corpus: Path, *, out: Path, captioner: Captioner, cache: Path | None = None
) -> CaptionReport:
    """Caption the pictures of a corpus; a side-car of the same is left as it is.

    Args:
        corpus: the corpus.
        out: the side-car directory.
        captioner: who captions.
        cache: the file that keeps captions; None is one for all corpora in the user's cache.

    Raises:
        ArtifactError: not a corpus of pictures, `out` holds something else, no model that
            captions, or the cache cannot be used.
        DataError: no picture got a caption.
    """
    if not holds_pairs(corpus):
        raise ArtifactError(
            f"{corpus} holds no pictures, and those are captioned",
            remedy="make a corpus of them: minna corpus build pictures --from PATH --out DIR",
        )
    parents = [artifact.parent_of(corpus, role="corpus", kind="corpus"), captioner.parent]
    values = {
        "label": LABEL,
        "by": captioner.name,
        "captioner": dict(captioner.identity),
        "normalisation": japanese.VERSION,
        "version": _VERSION,
    }
    if artifact.unchanged(out, key=artifact.key_of("sidecar", settings=values, parents=parents)):
        say(f"{out}: this corpus is captioned by {captioner.name} already")
        return _report(out, state="unchanged")
    with (
        artifact.writing(out, kind="sidecar", settings=values, parents=parents) as draft,
        Cache(cache or usual_place()) as store,
    ):
        work = _Work(captioner, store)
        try:
            work.write(corpus, draft.path)
        except KeyboardInterrupt:
            say(f"stopped; captions are kept in {store.file}: the same command goes on")
            raise
        _count(draft, asked=work.asked, corpus=corpus)
        _carry_terms(draft, artifact.read_manifest(corpus), captioner)
    report = _report(out, state="made")
    if report.problems:
        told = ", ".join(f"{count} {why}" for why, count in report.problems.items())
        warn(f"{report.read - report.captioned} of {report.read} pictures have no caption: {told}")
    return report


class _Work:
    """One run over one cache."""

    def __init__(self, captioner: Captioner, cache: Cache) -> None:
        self._captioner, self._cache = captioner, cache
        self._keys = Keys(captioner.identity)
        self.asked = 0

    def write(self, corpus: Path, directory: Path) -> None:
        """Write the files that are not there yet."""
        with progress() as bar:
            task = bar.add_task("caption", total=None, note="")
            done = 0
            for part in parts(corpus):
                target = directory / "data" / f"{part.number:05d}.parquet"
                if target.is_file():
                    continue  # of a run that was stopped
                with (
                    artifact.replace_file(target) as file,
                    pq.ParquetWriter(file, SCHEMA, compression="zstd") as out,
                ):
                    for batch in part_batches(part, split="all", columns=("id", "image")):
                        for rows in _some(batch.to_pylist(), self._captioner.at_once):
                            said = self._rows(rows)
                            out.write_table(pa.Table.from_pylist(said, schema=SCHEMA))
                            done += len(said)
                            bar.update(task, completed=done, note=f"{format_count(done)} pictures")

    def _rows(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The side-car's rows of some pictures."""
        digests = [hashlib.sha256(row["image"]).hexdigest() for row in rows]
        problems: dict[str, str] = {}
        new: dict[str, Image] = {}
        for row, digest in zip(rows, digests, strict=True):
            if digest in new or self._cache.get(self._keys.of(digest)) is not None:
                continue
            try:
                new[digest] = open_picture(row["image"])
            except BadPictureError as error:
                problems[digest] = error.problem
        if new:
            said = self._captioner.caption(list(new.values()), digests=list(new))
            self.asked += len(new)
            for digest, texts in zip(new, said, strict=True):
                self._cache.put(self._keys.of(digest), json.dumps(texts, ensure_ascii=False))
        return [
            self._row(row["id"], digest, problems.get(digest, ""))
            for row, digest in zip(rows, digests, strict=True)
        ]

    def _row(self, identity: str, digest: str, problem: str) -> dict[str, Any]:
        known = None if problem else self._cache.get(self._keys.of(digest))
        told: list[str] = json.loads(known) if known is not None else []
        texts = [one.text for one in settled(Caption(text) for text in told)]
        if not problem and not texts:
            problem = "empty"
        return {"id": identity, "captions": texts, "problem": problem}


def _some(rows: list[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _count(draft: Draft, *, asked: int, corpus: Path) -> None:
    """Count what the files hold.

    Raises:
        DataError: no caption.
    """
    read = captioned = captions = 0
    problems: Counter[str] = Counter()
    for file in sorted((draft.path / "data").glob("*.parquet")):
        for row in pq.read_table(file, columns=["captions", "problem"]).to_pylist():
            read += 1
            captioned += bool(row["captions"])
            captions += len(row["captions"])
            problems.update([row["problem"]] if row["problem"] else [])
    if not captioned:
        told = ", ".join(f"{why}: {count}" for why, count in problems.items())
        raise DataError(
            f"none of the {read} pictures of {corpus} got a caption ({told or 'no rows'})",
            remedy="try the model on one picture; with beam search it may end at once",
        )
    draft.count("read", read, "pictures")
    draft.count("captioned", captioned, "pictures")
    draft.count("captions", captions, "captions")
    draft.count("asked", asked, "different pictures, by the run that finished")
    for why, count in problems.most_common():
        draft.count(f"problem_{why}", count, "pictures")


def _carry_terms(draft: Draft, corpus: Manifest, captioner: Captioner) -> None:
    """Licences and legal notes of the corpus, and that a model wrote the captions."""
    under = f" (weights: {captioner.licence})" if captioner.licence else ""
    draft.licences = list(corpus.licences)
    draft.legal = [
        *corpus.legal,
        (
            f"Captions of kind “generated” were written by {captioner.name}{under}; no person has "
            "read them, and they may name people or say what is not there. The terms of the model "
            "may limit what its output is used for. The builder confirms them. / "
            f"種類が “generated” のキャプションは{captioner.name}{under}が生成したもので、人は確認"
            "していません。人物名や、写っていないものが書かれていることがあります。モデルの規約が出力の"
            "用途を制限することがあります。作成者は規約を確認してください。"
        ),
    ]


def _report(path: Path, *, state: Literal["made", "unchanged"]) -> CaptionReport:
    manifest = artifact.read_manifest(path, kind="sidecar")
    count: Mapping[str, int] = {n: int(item.value) for n, item in manifest.counts.items()}
    return CaptionReport(
        path=path,
        state=state,
        model=str(manifest.settings["by"]),
        read=count["read"],
        captioned=count["captioned"],
        captions=count["captions"],
        asked=count["asked"],
        problems={
            name.removeprefix("problem_"): value
            for name, value in count.items()
            if name.startswith("problem_")
        },
        wall_seconds=manifest.wall_seconds,
    )
