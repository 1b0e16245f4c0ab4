"""Going on from a model dir made elsewhere: its weights, its shape, its tokenizer."""

from __future__ import annotations

import json
import shutil

import pytest
from tests.cli.test_cli import run as call
from tests.recipe.test_recipes_shrunk import SMALL, shrink
from tests.toy_chain import make_corpus

from minna import recipe
from minna.export import export_run
from minna.runtime.load import load_model
from minna.tokenizer import TokenizerSettings, load_tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A corpus, and a model dir as transformers would have written it: no manifest of ours."""
    root = tmp_path_factory.mktemp("foreign")
    corpus = make_corpus(root)
    words = train_tokenizer(corpus, out=root / "words", settings=TokenizerSettings(vocab_size=420))
    small = shrink("youri-7b", vocab=420, more=("init.from=",))
    done = recipe.run_recipe(small, corpus=corpus, tokenizer=words, out=root / "run")
    base = export_run(done, out=root / "base")
    (base / "minna.json").unlink()
    return corpus, base


def test_youri_goes_on_from_a_llama_with_its_tokenizer(foreign, tmp_path, monkeypatch, capsys):
    corpus, base = foreign
    shape = [word for word in SMALL if not word.startswith("model.heads")]
    more = ["model.kv_heads=2", "model.heads=2", "model.ffn=86", "model.context=128"]
    more += ["stream.row_tokens=128", "train.tokens_per_step=1024", "model.vocab=420"]
    more += ["tokenizer.vocab_size=420", f"init.from={base.as_posix()}", "optim.lr=1e-30"]
    out = tmp_path / "run"
    command = f"minna train youri-7b {' '.join([*shape, *more])} --corpus {corpus} --out {out}"
    status, _, err = call(command, monkeypatch, capsys)
    assert status == 0, err
    status, _, err = call(command, monkeypatch, capsys)
    assert status == 0, err
    model = export_run(out, out=tmp_path / "model")
    assert load_tokenizer(model).sha256 == load_tokenizer(base).sha256
    before, after = (
        load_model(m, device="cpu", dtype="fp32", layout="plain") for m in (base, model)
    )
    theirs = after.decoder.state_dict()
    for name, tensor in before.decoder.state_dict().items():
        assert float((tensor - theirs[name]).abs().max()) < 1e-6, name
    assert json.loads((model / "config.json").read_text(encoding="utf-8"))["model_type"] == "llama"


def test_a_base_without_a_sentencepiece_model_is_refused(foreign, tmp_path, monkeypatch, capsys):
    corpus, base = foreign
    bare = tmp_path / "bare"
    shutil.copytree(base, bare)
    (bare / "tokenizer.model").unlink()
    command = f"minna train youri-7b init.from={bare} --corpus {corpus} --out {tmp_path / 'run'}"
    status, _, err = call(command, monkeypatch, capsys)
    assert status == 1 and "holds no SentencePiece model" in err
    assert not (tmp_path / "run").exists()
