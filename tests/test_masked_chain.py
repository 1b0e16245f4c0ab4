"""RoBERTa from text to a folder that transformers loads, at toy size, for real."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from minna import recipe
from minna.cli.generate import generate
from minna.errors import ArtifactError, UsageError
from minna.export import export_run
from minna.release import release
from minna.runtime.fill import encode_masked, load_masked
from minna.runtime.load import load_model
from minna.tokenizer import train_tokenizer
from tests.test_chain import FAST
from tests.toy_chain import make_corpus

SMALL = (
    *FAST,
    "model.layers=2",
    "model.width=32",
    "model.heads=2",
    "model.ffn=64",
    "tokenizer.vocab_size=420",
)
PROMPT = "昨日、[MASK]は学校で本を読みました。"


@pytest.fixture(scope="module", params=["toy-roberta", "japanese-roberta-base"])
def trained(tmp_path_factory, request):
    root = tmp_path_factory.mktemp("masked")
    corpus = make_corpus(root)
    more = ("model.vocab=420", "stream.row_tokens=64", "schedule.warmup=2", "model.dropout=0.0")
    chosen = recipe.load(request.param, overrides=(*SMALL, *more))
    settings = dataclasses.replace(chosen.tokenizer, byte_fallback=True)
    tokenizer = train_tokenizer(corpus, out=root / "tokenizer", settings=settings)
    run = recipe.run_recipe(chosen, corpus=corpus, tokenizer=tokenizer, out=root / "run")
    return run, export_run(run, out=root / "model")


def test_it_learns_and_says_perplexity_and_accuracy(trained):
    run, _ = trained
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    looks = [line for line in lines if line["event"] == "evaluate"]
    assert looks[-1]["perplexity"] < looks[0]["perplexity"]
    assert 0 <= looks[-1]["accuracy"] <= 1
    assert any(line["event"] == "sample" and "[MASK]" in line["prompt"] for line in lines)
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "Perplexity" in report and "held-out perplexity" in report


def test_transformers_loads_the_export_and_gives_its_logits(trained):
    transformers = pytest.importorskip("transformers")
    _, model = trained
    ours, words = load_masked(model)
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(model).eval()
    ids = torch.tensor([encode_masked(words, PROMPT)])
    positions = torch.arange(ids.shape[1]).unsqueeze(0)
    with torch.no_grad():
        expected = theirs(ids, position_ids=positions).logits
        torch.testing.assert_close(ours.logits(ours(ids)), expected, rtol=0, atol=1e-4)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    assert tokenizer.mask_token == "[MASK]"
    assert tokenizer.mask_token_id == ids[0].tolist()[encode_masked(words, PROMPT).index(6)]


def test_generate_fills_the_gaps(trained, capsys):
    _, model = trained
    generate(model, [PROMPT], top_k=3, as_json=True)
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    assert answer["prompt"] == PROMPT
    (place,) = answer["places"]
    chances = [word["probability"] for word in place]
    assert len(place) == 3 and chances == sorted(chances, reverse=True)


def test_what_goes_on_or_has_another_objective_is_refused(trained):
    _, model = trained
    with pytest.raises(ArtifactError, match="masked language model"):
        load_model(model)
    with pytest.raises(ArtifactError, match="cards are of models that go on"):
        release(model, reports=[], out=model.with_name("released"))
    with pytest.raises(UsageError, match="learns by masked_lm"):
        recipe.load("toy-roberta", overrides=("objective.kind=causal_lm",))
    with pytest.raises(UsageError, match="reads a stream of kind 'masked'"):
        recipe.load("toy-roberta", overrides=("stream.kind=text",))
