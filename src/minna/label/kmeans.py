"""`label kmeans`: a cluster for each frame of a corpus of speech, what HuBERT learns to foretell.

Twice over the audio and no features on disk: once for a bounded sample of frames, on which centres
are found (`frame_sample.py`, `clustering.py`), once to label. Features of what was heard for the
sample stay in memory while there is room, so a small corpus is heard once. The features of an hour
are 553 MB of a base model's layer; its labels are 360 kB.

The side-car has two files for each file of the corpus: data/NNNNN.npy, all labels in a row
(uint16), and data/NNNNN.parquet, where those of each clip begin. A run that was stopped goes on
behind the last file that is whole, with the centres it had. `corpus/frame_labels.py` reads it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from minna import artifact
from minna.artifact import Draft, Parent
from minna.console import progress, say
from minna.corpus.audio import RATE, open_clip
from minna.corpus.clip_read import holds_clips
from minna.corpus.frame_labels import LABEL, LABEL_SCHEMA
from minna.corpus.read import Part, part_batches, parts
from minna.errors import ArtifactError, DataError, UsageError
from minna.label.centres import borrowed_centres, drafted_centres, save_centres
from minna.label.clustering import Centres, FitSettings, assign, fit_centres
from minna.label.frame_agreement import agree, usage
from minna.label.frame_features import LayerFeatures
from minna.label.frame_sample import FrameSample
from minna.label.kmeans_report import KmeansReport, read_kmeans, tell_uneven
from minna.label.translator import parent_of_folder
from minna.units import format_count

if TYPE_CHECKING:
    from torch import Tensor

    from minna.label.frame_features import FrameFeatures
    from minna.runtime.load import Device

MOST_CLUSTERS: Final = 1 << 16
_VERSION: Final = 1
"""Part of every side-car's key: raise it when labels are made differently."""
_COLUMNS: Final = ("id", "audio")
_KEPT_BYTES: Final = 1 << 30
"""Of features in memory: two hours of a base model's layer, nineteen of cepstra."""


@dataclass(frozen=True, kw_only=True)
class KmeansSettings:
    """How centres are found.

    Attributes:
        clusters: labels are below it.
        sample: frames that centres are found on.
        split: whose frames those are; all splits are labelled.
        seed: of sample and centres.
        fit: how long is looked.
    """

    clusters: int = 100
    sample: int = 200_000
    split: Literal["train", "valid", "test", "all"] = "train"
    seed: int = 0
    fit: FitSettings = field(default_factory=FitSettings)


def label_layer(
    corpus: Path, *, folder: Path, layer: int, device: Device = "auto", **given: Any
) -> KmeansReport:
    """Label the frames of a corpus by a layer of an encoder.

    Args:
        corpus: of clips.
        folder: the encoder's model directory.
        layer: which, from 1.
        device: where the encoder hears.
        **given: `out`, `settings`, `centres` of `label_kmeans`.

    Raises:
        ArtifactError, UsageError, DataError: as `label_kmeans`; or there is no such layer.
    """
    from minna.runtime.speech import open_encoder

    return label_kmeans(
        corpus,
        features=LayerFeatures(open_encoder(folder, device=device), layer=layer),
        model=parent_of_folder(folder).model_copy(update={"role": "encoder"}),
        layer=layer,
        **given,
    )


def label_kmeans(
    corpus: Path,
    *,
    out: Path,
    features: FrameFeatures,
    model: Parent | None = None,
    layer: int | None = None,
    settings: KmeansSettings | None = None,
    centres: Path | None = None,
) -> KmeansReport:
    """Label the frames of a corpus; a side-car of the same is left as it is.

    Args:
        corpus: of clips.
        out: the side-car directory.
        features: of frames.
        model: whose layer they are; None for cepstra.
        layer: which.
        settings: how centres are found.
        centres: a side-car whose centres are taken instead of finding new ones.

    Raises:
        ArtifactError: not a corpus of clips, `out` holds something else, or the centres are of
            other features.
        UsageError: a number of clusters or frames that cannot be.
        DataError: too little speech, or a clip that cannot be decoded.
    """
    settings = settings or KmeansSettings()
    _refuse(corpus, settings)
    parents = [artifact.parent_of(corpus, role="corpus", kind="corpus")]
    parents += [model] if model else []
    values: dict[str, Any] = {
        "label": LABEL,
        "by": features.name,
        "layer": layer,
        "digest": features.digest,
        "rate": features.rate,
        "width": features.width,
        "version": _VERSION,
    }
    given = None
    if centres is None:
        fit = {"sample": settings.sample, "split": settings.split, "seed": settings.seed}
        values |= {"clusters": settings.clusters, **fit, "fit": vars(settings.fit)}
    else:
        given = borrowed_centres(centres, like=values)
        values |= {"clusters": len(given.centres)}
        parents.append(artifact.parent_of(centres, role="centres", kind="sidecar"))
    if artifact.unchanged(out, key=artifact.key_of("sidecar", settings=values, parents=parents)):
        say(f"{out}: the frames of this corpus are labelled by {features.name} already")
        return read_kmeans(out, state="unchanged")
    with artifact.writing(out, kind="sidecar", settings=values, parents=parents) as draft:
        _run(corpus, draft, features, settings, given)
        draft.licences = list(artifact.read_manifest(corpus).licences)
        draft.legal = list(artifact.read_manifest(corpus).legal)
    report = read_kmeans(out, state="made")
    tell_uneven(report)
    return report


def _refuse(corpus: Path, settings: KmeansSettings) -> None:
    """Check what was asked for.

    Raises:
        ArtifactError: not a corpus of clips.
        UsageError: a number that cannot be.
    """
    if not holds_clips(corpus):
        raise ArtifactError(
            f"{corpus} holds no clips, and their frames are what is labelled",
            remedy="make a corpus of them: minna corpus build clips --from PATH --out DIR",
        )
    if not 1 < settings.clusters <= MOST_CLUSTERS:
        raise UsageError(
            f"{settings.clusters} clusters cannot be: 2 to {MOST_CLUSTERS}",
            remedy="HuBERT takes 100 of cepstra, then 500 of a layer",
        )
    if settings.sample < settings.clusters:
        raise UsageError(
            f"centres of {settings.clusters} clusters cannot be found on {settings.sample} frames",
            remedy=f"give --sample {400 * settings.clusters} or more",
        )


class _Heard:
    """Features of clips, kept in memory as long as there is room."""

    def __init__(self, features: FrameFeatures) -> None:
        self.features = features
        self._kept: dict[str, Tensor] = {}
        self._room = _KEPT_BYTES

    def keep(self, row: dict[str, Any]) -> Tensor:
        """Hear a clip that will be asked for once more."""
        frames = self.features.of(open_clip(row["audio"]))
        size = frames.numel() * frames.element_size()
        if size <= self._room:
            self._kept[row["id"]] = frames
            self._room -= size
        return frames

    def take(self, row: dict[str, Any]) -> Tensor:
        """Hear a clip for the last time."""
        found = self._kept.pop(row["id"], None)
        return self.features.of(open_clip(row["audio"])) if found is None else found


def _run(
    corpus: Path,
    draft: Draft,
    features: FrameFeatures,
    settings: KmeansSettings,
    given: Centres | None,
) -> None:
    """Find centres or take them, label, and compare with phones."""
    heard = _Heard(features)
    with progress() as bar:
        total = int(artifact.read_manifest(corpus).counts["clips"].value)
        found = given or drafted_centres(draft.path)
        if found is None:
            task = bar.add_task("sample", total=None, note="")
            sample = _sampled(corpus, heard, settings, bar, task)
            bar.update(task, note="looking for centres")
            found = fit_centres(
                sample, clusters=settings.clusters, seed=settings.seed, settings=settings.fit
            )
            bar.remove_task(task)
        save_centres(draft.path, found)
        task = bar.add_task("label kmeans", total=total, note="")
        for part in parts(corpus):
            if not _is_whole(draft, part):
                _label_part(part, draft, heard, found.centres, bar, task)
    _count(corpus, draft, features, found)


def _sampled(corpus: Path, heard: _Heard, settings: KmeansSettings, bar: Any, task: Any) -> Tensor:
    """The frames that centres are found on.

    Raises:
        DataError: the split has none.
    """
    seconds = 0.0
    for part in parts(corpus):
        for batch in part_batches(part, split=settings.split, columns=("samples", "rate")):
            samples, rates = (np.asarray(column.to_pylist(), float) for column in batch.columns)
            seconds += float((samples / rates).sum())
    total = seconds * heard.features.rate
    sample = FrameSample(settings.sample, total=total, seed=settings.seed)
    clips = 0
    for part in parts(corpus):
        for batch in part_batches(part, split=settings.split, columns=_COLUMNS):
            wanted = [sample.wants(clip) for clip in batch.column(0).to_pylist()]
            for row in batch.filter(pa.array(wanted)).to_pylist():
                sample.add(row["id"], heard.keep(row))
                clips += 1
                bar.update(task, completed=clips, note=f"{format_count(clips)} clips heard")
    if not clips:
        raise DataError(
            f"the split {settings.split!r} of {corpus} has no clips to find centres on",
            remedy="give a corpus with such a split, or name another: --split all",
        )
    return sample.frames()


def _label_part(
    part: Part, draft: Draft, heard: _Heard, centres: Tensor, bar: Any, task: Any
) -> None:
    """Write the labels of one file of the corpus, its index last."""
    labels: list[np.ndarray[Any, np.dtype[np.uint16]]] = []
    rows: list[dict[str, Any]] = []
    start = 0
    for row in _rows(part):
        frames = heard.take(row)
        label, squared = assign(frames.to(centres.device), centres)
        labels.append(label.cpu().numpy().astype(np.uint16))
        distance = float(squared.double().mean()) if len(frames) else 0.0
        rows.append({"id": row["id"], "start": start, "frames": len(frames), "distance": distance})
        start += len(frames)
        bar.update(task, advance=1, note=f"{format_count(start)} frames of {part.file.name}")
    content = io.BytesIO()
    np.save(content, np.concatenate([np.zeros(0, np.uint16), *labels]), allow_pickle=False)
    index = _index(draft, part)
    with artifact.replace_file(index.with_suffix(".npy")) as file:
        file.write(content.getvalue())
    with artifact.replace_file(index) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=LABEL_SCHEMA), file, compression="zstd")


def _rows(part: Part) -> Iterator[dict[str, Any]]:
    for batch in part_batches(part, split="all", columns=_COLUMNS):
        yield from batch.to_pylist()


def _index(draft: Draft, part: Part) -> Path:
    return draft.path / "data" / f"{part.number:05d}.parquet"


def _is_whole(draft: Draft, part: Part) -> bool:
    """Whether a run that was stopped had written a file's labels: the index comes last."""
    return _index(draft, part).is_file()


def _count(corpus: Path, draft: Draft, features: FrameFeatures, found: Centres) -> None:
    """Record what came of it."""
    told = usage(draft.path, clusters=len(found.centres))
    if not told.frames:
        raise DataError(
            f"no clip of {corpus} is as long as a frame ({RATE * 25 // 1000} samples)",
            remedy="give longer clips",
        )
    numbers: dict[str, tuple[float, str]] = {
        "clips": (told.clips, "clips"),
        "frames": (told.frames, f"frames, {features.rate} a second"),
        "sampled": (found.frames, "frames that centres were found on"),
        "inertia": (round(found.inertia, 6), "mean squared distance of those"),
        "distance": (round(told.distance, 6), "mean squared distance of all"),
        "used": (told.used, "clusters"),
        "perplexity": (round(told.perplexity, 3), "clusters"),
        "label_bytes": (2 * told.frames, "bytes"),
    }
    compared = agree(corpus, draft.path, rate=features.rate, clusters=len(found.centres))
    if compared is not None:
        numbers |= {
            "phone_purity": (round(compared.phone_purity, 6), "share of timed frames"),
            "cluster_purity": (round(compared.cluster_purity, 6), "share of timed frames"),
            "pnmi": (round(compared.pnmi, 6), "share of the phones' entropy"),
            "timed_frames": (compared.frames, "frames"),
            "timed_phones": (compared.phones, "phones"),
            "timed_clusters": (compared.clusters, "clusters"),
        }
    for name, (value, unit) in numbers.items():
        draft.count(name, value, unit)
