"""The peer of bench_labels.py: features to disk, scikit-learn's k-means, labels from the dump."""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import soundfile

from machine import peak_bytes

RATE = 16_000


def main() -> None:
    """Dump, fit, label; the last line says what it took and where centres and labels lie."""
    parser = argparse.ArgumentParser()
    parser.add_argument("worker")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--features", choices=["mfcc", "layer"])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--layer", type=int)
    parser.add_argument("--clusters", type=int)
    parser.add_argument("--sample", type=int)
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    hear = mfcc if options.features == "mfcc" else layer(options.model, options.layer)
    start = time.perf_counter()
    lengths = dump(options.corpus, options.out / "features.npy", hear)
    dumped = time.perf_counter()
    centres = fit(options.out / "features.npy", options)
    fitted = time.perf_counter()
    label(options.out, lengths, centres)
    done = time.perf_counter()
    np.save(options.out / "centres.npy", centres)
    result = {
        "seconds": done - start,
        "parts": {"features": dumped - start, "fit": fitted - dumped, "labels": done - fitted},
        "disk": sum((options.out / name).stat().st_size for name in ("features.npy", "labels.km")),
        "memory": peak_bytes(),
        "centres": str(options.out / "centres.npy"),
    }
    print(json.dumps(result))


def clips(corpus: Path) -> Any:
    """The samples of each clip."""
    for file in sorted((corpus / "data").iterdir()):
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(columns=["audio"]):
                for content in batch.column(0).to_pylist():
                    yield soundfile.read(io.BytesIO(content), dtype="float32")[0]


def mfcc(samples: Any) -> Any:
    """Cepstra by Kaldi's own code, with differences."""
    import kaldi_native_fbank as kaldi

    settings = kaldi.MfccOptions()
    settings.frame_opts.samp_freq = RATE
    settings.frame_opts.dither = 0
    settings.use_energy = False
    computer = kaldi.OnlineMfcc(settings)
    computer.accept_waveform(RATE, samples)
    computer.input_finished()
    frames = np.array([computer.get_frame(k) for k in range(computer.num_frames_ready)])
    first = slopes(frames)
    return np.concatenate([frames, first, slopes(first)], axis=1).astype(np.float32)


def slopes(values: Any) -> Any:
    """Differences over five frames."""
    padded = np.pad(values, ((2, 2), (0, 0)), mode="edge")
    near, far = padded[3:-1] - padded[1:-3], padded[4:] - padded[:-4]
    return (near + 2 * far) / 10


def layer(folder: Path, number: int) -> Any:
    """Hidden states of a layer, by transformers."""
    import torch
    from transformers import HubertModel

    model = HubertModel.from_pretrained(folder).eval()
    model.encoder.layers = model.encoder.layers[:number]

    def hear(samples: Any) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(samples)[None]).last_hidden_state[0].numpy()

    return hear


def dump(corpus: Path, file: Path, hear: Any) -> list[int]:
    """Write the features of all clips in float32, one behind the other; return their lengths."""
    lengths: list[int] = []
    with file.open("wb") as out:
        for samples in clips(corpus):
            frames = np.ascontiguousarray(hear(samples), dtype=np.float32)
            lengths.append(len(frames))
            out.write(frames.tobytes())
    width = frames.shape[1]
    np.save(file.with_name("shape.npy"), np.array([sum(lengths), width]))
    return lengths


def features(file: Path) -> Any:
    """The dump, mapped."""
    shape = tuple(np.load(file.with_name("shape.npy")))
    return np.memmap(file, dtype=np.float32, mode="r", shape=shape)


def fit(file: Path, options: argparse.Namespace) -> Any:
    """HuBERT's recipe of k-means, on a sample of the same size as the other side's."""
    from sklearn.cluster import MiniBatchKMeans

    frames = features(file)
    generator = np.random.default_rng(0)
    chosen = np.sort(generator.permutation(len(frames))[: options.sample])
    found = MiniBatchKMeans(
        options.clusters,
        init="k-means++",
        n_init=20,
        batch_size=10_000,
        max_iter=100,
        tol=0.0,
        max_no_improvement=100,
        reassignment_ratio=0.0,
        random_state=0,
    ).fit(np.asarray(frames[chosen]))
    return found.cluster_centers_.astype(np.float32)


def label(out: Path, lengths: list[int], centres: Any) -> None:
    """Give each clip's frames the nearest centre, a line of text for each clip."""
    frames = features(out / "features.npy")
    half = np.square(centres).sum(1) / 2
    start = 0
    with (out / "labels.km").open("w", encoding="ascii") as lines:
        for length in lengths:
            block = np.asarray(frames[start : start + length])
            lines.write(" ".join(map(str, (half - block @ centres.T).argmin(1))) + "\n")
            start += length


if __name__ == "__main__":
    main()
