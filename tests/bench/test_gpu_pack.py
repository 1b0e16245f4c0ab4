"""The GPU pack without a GPU: its bundle, its deadlines, its arithmetic, and all of it at toy size.

The kernels and speeds of CUDA are not tested here (docs/gpu.md says what was not run).
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from jsonschema import validate
from tests.toy_chain import make_corpus

from minna.errors import ArtifactError, DataError
from minna.tokenizer.train import TokenizerSettings, train_tokenizer

ROOT = Path(__file__).resolve().parents[2]
_SECTION = {
    "type": "object",
    "required": ["status", "seconds", "error", "results"],
    "properties": {
        "status": {"enum": ["done", "failed", "out of time", "skipped"]},
        "seconds": {"type": "number"},
        "error": {"type": ["string", "null"]},
        "results": {"type": "array", "items": {"type": "object"}},
    },
}
SCHEMA = {
    "type": "object",
    "required": ["schema", "settings", "machine", "sections", "seconds", "pictures"],
    "properties": {
        "schema": {"const": 1},
        "settings": {"required": ["device", "tiny", "budget_seconds", "sections", "bundle"]},
        "machine": {"required": ["nvidia_smi", "processor", "python", "versions", "commit"]},
        "sections": {"additionalProperties": _SECTION},
        "seconds": {"type": "number"},
    },
}


@pytest.fixture(scope="module")
def parts():
    """The pack's files, which find each other beside the command."""
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        names = ("gpu_pack", "gpu_bundle", "gpu_plots", "gpu_task", "gpu_train")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(ROOT / "bench"))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("inputs")
    corpus = make_corpus(root)
    settings = TokenizerSettings(vocab_size=400)
    return corpus, train_tokenizer(corpus, out=root / "tokenizer", settings=settings)


@pytest.fixture(scope="module")
def bundle(parts, inputs, tmp_path_factory):
    corpus, tokenizer = inputs
    out = tmp_path_factory.mktemp("bundle") / "b"
    parts.gpu_bundle.pack(out, corpus=corpus, tokenizer=tokenizer)
    return out


def options(bundle, out, **changes):
    given = {"data": bundle, "out": out, "device": "cpu", "tiny": True} | changes
    return argparse.Namespace(**given)


def test_a_bundle_says_what_it_holds_and_gives_rows(parts, bundle):
    found = parts.gpu_bundle.open_bundle(bundle)
    assert found.vocab == 400 and found.train_tokens > 5000 and found.valid_documents > 10
    sizes = [path.stat().st_size for path in bundle.rglob("*") if path.is_file()]
    assert found.bytes == sum(sizes) - (bundle / "bundle.json").stat().st_size
    for attention in ("across", "within"):
        rows = parts.gpu_bundle.rows(
            bundle, micro_rows=3, row_tokens=16, attention=attention, eos=found.eos
        )
        batch = next(rows)
        assert batch["tokens"].shape == (3, 16)
        assert ("segments" in batch) == (attention == "within")


def test_a_bundle_that_is_too_large_to_travel_is_refused(parts, inputs, bundle, tmp_path):
    corpus, tokenizer = inputs
    with pytest.raises(DataError, match="MB is what travels"):
        parts.gpu_bundle.pack(tmp_path / "b", corpus=corpus, tokenizer=tokenizer, limit=10_000)
    assert not (tmp_path / "b" / "bundle.json").exists()
    with pytest.raises(ArtifactError, match="over 10000"):
        parts.gpu_bundle.open_bundle(bundle, limit=10_000)
    assert parts.gpu_bundle.LIMIT_BYTES == 60_000_000


def test_a_bundle_that_changed_on_the_way_is_refused(parts, inputs, tmp_path):
    corpus, tokenizer = inputs
    with pytest.raises(ArtifactError, match="no bundle"):
        parts.gpu_bundle.open_bundle(tmp_path)
    parts.gpu_bundle.pack(tmp_path / "b", corpus=corpus, tokenizer=tokenizer)
    shard = tmp_path / "b" / "tokens" / "train-00000.bin"
    content = bytearray(shard.read_bytes())
    content[5] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match="train-00000"):
        parts.gpu_bundle.open_bundle(tmp_path / "b")


def test_the_share_of_the_peak_is_what_a_hand_computes(parts):
    task, train = parts.gpu_task, parts.gpu_train
    # GPT-2 small: 12 layers of 12 x 768^2 weights, a head of 768 x 50304, attention over 1,024
    by_hand = 6 * (12 * 12 * 768**2 + 768 * 50304) + 6 * 12 * 768 * 1024
    shape, vocab = task.SHAPES["124m"]
    with torch.device("meta"):
        decoder = task.build(shape, vocab=vocab)
    assert decoder.flops_per_token(row_tokens=1024) == by_hand == 798_031_872
    assert sum(p.numel() for p in decoder.parameters()) == 124_475_904
    share = task.share_of_peak(tokens_per_second=500_000, flops_per_token=by_hand, peak=800e12)
    assert share == pytest.approx(0.49877, abs=1e-5)
    scale = task.SCALES["full"]
    asked = SimpleNamespace(scale=scale, device="cpu")
    figures = train.timed(asked, decoder, seconds=30.0, rows=128, peak=1e15)
    assert figures["tokens_per_second"] == 128 * 1024 * 15 / 30
    assert figures["share_of_peak"] == pytest.approx(65536 * 798_031_872 / 1e15)
    shape, vocab = task.SHAPES["336m"]
    with torch.device("meta"):
        decoder = task.build(shape, vocab=vocab)
    assert sum(p.numel() for p in decoder.parameters()) == 336_128_000


def test_rows_are_chosen_by_memory_and_halved_when_it_fails_all_the_same(parts, monkeypatch):
    task = parts.gpu_task
    medium = {"parameters": 336_128_000, "layers": 24, "width": 1024, "row": 1024}
    assert task.fitting_rows(memory=80e9, **medium) == 64
    assert task.fitting_rows(memory=24e9, **medium) == 8
    assert task.fitting_rows(memory=4e9, **medium) == 1
    monkeypatch.setattr(parts.gpu_train, "fresh", lambda _: None)
    monkeypatch.setattr(parts.gpu_train, "micro_rows", lambda *_: 8)
    seen = []

    def measure(*, at_once: int, total: int) -> dict[str, int]:
        seen.append((at_once, total))
        if at_once > 2:
            raise torch.OutOfMemoryError("too much")
        return {"rows": at_once}

    asked = SimpleNamespace(scale=task.SCALES["full"])
    assert parts.gpu_train.with_fewer_rows(asked, measure) == {"rows": 2}
    assert seen == [(8, 32), (4, 32), (2, 32)]


def test_a_variant_that_fails_is_recorded_and_the_next_has_its_turn(parts, bundle, tmp_path):
    asked = {"worker": "peak", "data": str(bundle), "device": "cpu", "scale": "tiny"}
    (tmp_path / "task.json").write_text(json.dumps(asked), encoding="utf-8")
    task = parts.gpu_task.Task(tmp_path)

    def burst() -> dict[str, int]:
        raise RuntimeError("no such kernel\nand more words")

    task.attempt("first", burst)
    task.attempt("second", lambda: {"figure": 3})
    first, second = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert first["what"] == "first" and first["error"] == "RuntimeError: no such kernel"
    assert second["figure"] == 3 and "error" not in second


def test_a_section_ends_at_its_deadline_and_none_begins_without_time(parts, bundle, tmp_path):
    pack = parts.gpu_pack
    section = pack.Section(
        name="x", worker="minna", seconds=0.05, least=10.0, settings={"scale": "tiny"}
    )
    ended = pack.perform(section, left=100.0, options=options(bundle, tmp_path))
    assert ended["status"] == "out of time" and ended["results"] == []
    skipped = pack.perform(section, left=9.0, options=options(bundle, tmp_path))
    assert skipped["status"] == "skipped" and "9 s were left" in skipped["error"]


def test_a_section_that_crashes_leaves_its_last_words(parts, bundle, tmp_path):
    section = parts.gpu_pack.Section(
        name="x", worker="no such", seconds=60.0, least=0.0, settings={"scale": "tiny"}
    )
    found = parts.gpu_pack.perform(section, left=100.0, options=options(bundle, tmp_path))
    assert found["status"] == "failed" and "KeyError: 'no such'" in found["error"]


def test_what_is_most_wanted_comes_first_and_the_essential_fits_ten_minutes(parts):
    sections = parts.gpu_pack.plan(tiny=False, minutes=3.0)
    names = [section.name for section in sections]
    assert names[:4] == ["peak", "minna-124m", "trainer-124m", "speedrun"]
    assert sum(section.least for section in sections) < parts.gpu_pack.BUDGET_SECONDS < 600
    assert all(section.seconds >= section.least for section in sections)


def test_pictures_and_table_are_drawn_from_what_is_there(parts, tmp_path):
    row = {"what": "across", "tokens_per_second": 5e5, "share_of_peak": 0.5, "memory_bytes": 3e10}
    curve = [{"seconds": 1.0, "bits_per_byte": 3.0}, {"seconds": 2.0, "bits_per_byte": 2.0}]
    done = {"status": "done", "error": None, "seconds": 1.0}
    result = {
        "sections": {
            "minna-124m": done | {"results": [row]},
            "trainer-124m": done | {"results": [{"what": "eager", "error": "OutOfMemoryError"}]},
            "speedrun": done | {"results": [row | {"curve": curve}]},
            "minna-336m": done | {"status": "out of time", "error": "compiling", "results": []},
        }
    }
    assert parts.gpu_plots.draw(result, tmp_path) == ["training.svg", "speedrun.svg"]
    assert (tmp_path / "training.svg").stat().st_size > 1000
    table = parts.gpu_pack.summary(result)
    assert "| minna-124m | across | 500,000 | 50.0% | 30.0 |" in table
    assert "out of time: compiling" in table
    assert parts.gpu_plots.draw({"sections": {}}, tmp_path) == []


def test_it_says_what_is_missing(parts):
    assert parts.gpu_pack.missing(parts.gpu_pack.NEEDED) == []
    assert parts.gpu_pack.missing({"no_such_library": "x"}) == ["no_such_library"]


@pytest.mark.full
def test_the_whole_pack_runs_at_toy_size_on_cpu(inputs, tmp_path):
    corpus, tokenizer = inputs
    command = [sys.executable, str(ROOT / "bench" / "gpu_pack.py")]
    made = [*command, "--pack", str(tmp_path / "b"), "--corpus", str(corpus)]
    subprocess.run([*made, "--tokenizer", str(tokenizer)], check=True)
    where = ["--data", str(tmp_path / "b"), "--out", str(tmp_path / "r")]
    subprocess.run([*command, *where, "--device", "cpu", "--tiny"], check=True)
    result = json.loads((tmp_path / "r" / "result.json").read_text(encoding="utf-8"))
    validate(result, SCHEMA)
    sections = result["sections"]
    assert list(sections) == [
        *("peak", "minna-124m", "trainer-124m", "speedrun", "attention", "generate"),
        "compile-modes",
    ]
    assert {section["status"] for section in sections.values()} == {"done"}
    ours, theirs = (sections[name]["results"][0]["loss"] for name in ("minna-124m", "trainer-124m"))
    assert ours == pytest.approx(theirs, rel=2e-3)  # the same weights, rows and updates
    failed = [
        row["what"] for part in sections.values() for row in part["results"] if "error" in row
    ]
    assert failed == ["variable length"]  # torch has no CPU kernel for it
    run = sections["speedrun"]["results"][0]
    assert run["curve"][-1]["bits_per_byte"] < run["curve"][0]["bits_per_byte"]
    assert result["pictures"] == ["training.svg", "speedrun.svg"]
