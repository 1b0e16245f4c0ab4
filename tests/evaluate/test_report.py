"""A report says the truth about the documents, and its format is the one that is written down."""

from __future__ import annotations

import html
import json
import math
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from tests.toy_chain import Chain, make_corpus, make_model

from minna import artifact
from minna.artifact.verify import verify
from minna.corpus import texts
from minna.errors import ArtifactError, DataError
from minna.evaluate import EvaluateSettings, evaluate, read_report
from minna.evaluate.report import json_schema, write_schema
from minna.runtime.load import LoadedModel, load_model


def slow_nats(model: LoadedModel, text: str) -> float:
    """Straight from the definition: one document, one token at a time, after one </s>."""
    eos = model.eos_ids[0]
    ids = [*model.tokenizer.encode(text), eos]
    with torch.no_grad():
        hidden = model.decoder(torch.tensor([[eos, *ids[:-1]]]))
        logprobs = model.decoder.logits(hidden).double().log_softmax(-1)[0]
    return -sum(float(logprobs[place, token]) for place, token in enumerate(ids))


def test_bits_per_byte_equals_the_definition(chain: Chain, report: Path) -> None:
    model = load_model(chain.model, device="cpu", dtype="fp32", layout="plain")
    documents = list(texts(chain.corpus, split="test"))
    nats = [slow_nats(model, document.text) for document in documents]
    size = sum(len(document.text.encode()) + 1 for document in documents)
    characters = sum(len(document.text) + 1 for document in documents)
    tokens = sum(len(model.tokenizer.encode(d.text)) + 1 for d in documents)
    task = read_report(report).task("bits_per_byte")
    assert task.n == len(documents)
    figures = {name: metric.value for name, metric in task.metrics.items()}
    bits = sum(nats) / math.log(2)
    assert figures["bits_per_byte"] == pytest.approx(bits / size, rel=1e-5)
    assert figures["bits_per_character"] == pytest.approx(bits / characters, rel=1e-5)
    assert figures["tokens_per_byte"] == pytest.approx(tokens / size)
    assert figures["perplexity_per_token"] == pytest.approx(math.exp(sum(nats) / tokens), rel=1e-4)


def test_every_interval_surrounds_its_value(report: Path) -> None:
    task = read_report(report).task("bits_per_byte")
    for metric in task.metrics.values():
        assert metric.low is not None and metric.high is not None
        assert metric.low < metric.value < metric.high


def test_items_add_up_to_the_figure_and_name_every_document(chain: Chain, report: Path) -> None:
    lines = (report / "items" / "bits_per_byte.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["id"] for row in rows] == [d.id for d in texts(chain.corpus, split="test")]
    bits = sum(row["nats"] for row in rows) / math.log(2) / sum(row["bytes"] for row in rows)
    value = read_report(report).task("bits_per_byte").metrics["bits_per_byte"].value
    assert bits == pytest.approx(value, rel=1e-6)


def test_references_beat_a_random_model_on_repetitive_text_and_say_what_they_saw(
    chain: Chain, report: Path
) -> None:
    task = read_report(report).task("bits_per_byte")
    ngrams, xz = task.references["kneser-ney"], task.references["xz"]
    value = task.metrics["bits_per_byte"].value
    assert ngrams.metrics["bits_per_byte"].value < xz.metrics["bits_per_byte"].value < value
    difference = ngrams.metrics["model_minus_reference"]
    assert difference.low is not None and difference.low > 0
    assert xz.metrics["bits_per_byte"].low is None
    train = list(texts(chain.corpus, split="train"))
    assert ngrams.conditions["training_documents"] == len(train)
    assert xz.conditions["training_bytes"] == sum(len(d.text.encode()) + 1 for d in train)


def test_a_cap_thins_the_training_text_of_the_references_evenly(
    chain: Chain, report: Path, tmp_path: Path
) -> None:
    settings = EvaluateSettings(
        references=("kneser-ney", "xz"), kneser_ney_tokens=1000, xz_bytes=6000, resamples=10
    )
    evaluate(chain.model, corpus=chain.corpus, out=tmp_path / "capped", settings=settings)
    capped = read_report(tmp_path / "capped").task("bits_per_byte").references
    whole = read_report(report).task("bits_per_byte").references
    conditions: dict[str, Any] = {name: item.conditions for name, item in capped.items()}
    assert 500 < conditions["kneser-ney"]["training_tokens"] <= 1000
    assert 3000 < conditions["xz"]["training_bytes"] <= 6000
    for name, reference in capped.items():
        value = reference.metrics["bits_per_byte"].value
        assert value > whole[name].metrics["bits_per_byte"].value


def test_the_schema_in_the_package_is_current_and_fits_what_is_written(report: Path) -> None:
    from importlib import resources

    file = resources.files("minna") / "artifact" / "schemas" / "report.json"
    stored = json.loads(file.read_text(encoding="utf-8"))
    assert stored == json_schema(), f"run {write_schema.__module__}.write_schema()"
    content = json.loads((report / "report.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(stored).validate(content)
    del content["tasks"][0]["n"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(stored).validate(content)


def test_the_directory_is_intact_and_names_its_parents(chain: Chain, report: Path) -> None:
    manifest = verify(report)
    assert manifest.kind == "report"
    assert {p.role: p.path for p in manifest.parents} == {
        "model": chain.model.as_posix(),
        "corpus": chain.corpus.as_posix(),
    }
    assert read_report(report).model == manifest.parent("model").sha256
    assert manifest.licences[0].attribution == "作り話製作委員会"


def test_the_same_work_is_not_done_twice(
    chain: Chain, report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (report / "minna.json").stat().st_mtime_ns
    settings = EvaluateSettings(references=("kneser-ney", "xz"))
    evaluate(chain.model, corpus=chain.corpus, out=report, settings=settings)
    assert (report / "minna.json").stat().st_mtime_ns == before
    assert "already" in capsys.readouterr().err


def test_the_page_is_self_contained_readable_on_a_phone_and_escapes_text(
    chain: Chain, report: Path, tmp_path: Path
) -> None:
    page = (report / "report.html").read_text(encoding="utf-8")
    assert 'name="viewport"' in page
    assert not re.search(r"""(src|href)\s*=|https?://|@import|url\(""", page)
    assert "Kneser-Ney" in page and "training text in front" in page
    examples = re.findall(r'class="sample"><small[^>]*>[^<]*</small>([^<]*)', page)
    known = {document.text for document in texts(chain.corpus, split="test")}
    assert len(examples) == 12
    assert {html.unescape(text) for text in examples} <= known
    widths = [float(width) for width in re.findall(r"width: ([\d.]+)%\"></div>\s", page)]
    assert all(0 < width <= 100 for width in widths)


def test_a_limit_spreads_over_the_split(chain: Chain, tmp_path: Path) -> None:
    settings = EvaluateSettings(limit=7, resamples=10)
    evaluate(chain.model, corpus=chain.corpus, out=tmp_path / "few", settings=settings)
    rows = (
        (tmp_path / "few" / "items" / "bits_per_byte.jsonl")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    every = [document.id for document in texts(chain.corpus, split="test")]
    places = [every.index(json.loads(row)["id"]) for row in rows]
    assert places == [number * len(every) // 7 for number in range(7)]


def test_a_damaged_model_is_refused(chain: Chain, tmp_path: Path) -> None:
    model = make_model(
        tmp_path / "model", run=chain.run, tokenizer=chain.tokenizer, family="gpt_neox"
    )
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged"):
        evaluate(model, corpus=chain.corpus, out=tmp_path / "report", settings=EvaluateSettings())
    assert not (tmp_path / "report").exists()


def test_a_run_is_no_model_and_the_error_says_what_to_do(chain: Chain, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="minna export"):
        evaluate(
            chain.run, corpus=chain.corpus, out=tmp_path / "report", settings=EvaluateSettings()
        )


def test_an_empty_split_is_refused(chain: Chain, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "tiny", count=3)
    assert artifact.read_manifest(corpus).counts["valid"].value == 0
    with pytest.raises(DataError, match="no documents"):
        evaluate(
            chain.model,
            corpus=corpus,
            out=tmp_path / "report",
            settings=EvaluateSettings(split="valid"),
        )


def test_likelihoods_that_are_no_numbers_are_refused(chain: Chain, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    parents = [artifact.parent_of(chain.run, role="run")]
    with artifact.writing(tmp_path / "nan", kind="model", settings={}, parents=parents) as draft:
        for name in artifact.read_manifest(chain.model).files:
            (draft.path / name).write_bytes((chain.model / name).read_bytes())
        state = load_file(draft.path / "model.safetensors")
        state["gpt_neox.final_layer_norm.weight"][0] = float("nan")
        save_file(state, draft.path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match="no finite likelihood"):
        evaluate(
            tmp_path / "nan",
            corpus=chain.corpus,
            out=tmp_path / "report",
            settings=EvaluateSettings(limit=5),
        )
