"""Going on from a model dir made elsewhere: its weights, its shape, its tokenizer."""

from __future__ import annotations

import json
import shutil

import pytest
from tests.cli.test_cli import run as call
from tests.models.test_families import random_qwen
from tests.recipe.test_init_from import mine
from tests.recipe.test_recipes_shrunk import SMALL, shrink
from tests.tokenizer.tiktoken_folder import tiktoken_folder
from tests.toy_chain import make_corpus

from minna import recipe
from minna.errors import DataError, UsageError
from minna.export import export_run
from minna.release import ReleaseSettings, release
from minna.release.licences import LicenceError
from minna.runtime.generate import GenerateSettings, generate
from minna.runtime.load import load_model
from minna.streams import TokenShards, write_tokens
from minna.tokenizer import TokenizerSettings, load_tokenizer, train_tokenizer
from minna.tokenizer.adopt import adopt_tokenizer
from minna.tokenizer.coder import training_tokenizer


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


@pytest.mark.parametrize("form", ["tiktoken", "json"])
def test_a_qwen_goes_on_whose_tokenizer_is_no_sentencepiece(form, foreign, tmp_path):
    corpus, _ = foreign
    words = tiktoken_folder(tmp_path / "words")
    if form == "json":
        adopted = adopt_tokenizer(words, out=tmp_path / "adopted")
        words = tmp_path / "plain"
        words.mkdir()
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(adopted / name, words / name)
    size = training_tokenizer(words).vocab_size
    base = tmp_path / "base"
    random_qwen(base, vocab_size=size + 5)
    for file in words.iterdir():
        shutil.copyfile(file, base / file.name)
    small = mine(tmp_path, base, "train.compile=off", "train.device=cpu")
    out = tmp_path / "run"
    recipe.run_recipe(small, corpus=corpus, tokenizer=out / recipe.OWN_TOKENIZER, out=out)
    model = export_run(out, out=tmp_path / "model")
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    assert (config["vocab_size"], config["eos_token_id"]) == (size + 5, size - 208)
    assert "auto_map" not in (model / "tokenizer_config.json").read_text(encoding="utf-8")
    loaded = load_model(model, device="cpu", dtype="fp32")
    assert loaded.tokenizer.encode("東京で") == training_tokenizer(base).encode("東京で")
    (told,) = generate(loaded, ["昨日、"], settings=GenerateSettings(max_new_tokens=4))
    assert isinstance(told.text, str)
    tokens = TokenShards(out / "tokens", split="train")
    ends = sum(int((shard.tokens == size - 208).sum()) for shard in tokens.shards)
    assert ends == tokens.documents


def test_a_base_without_a_tokenizer_is_refused(foreign, tmp_path, monkeypatch, capsys):
    corpus, base = foreign
    bare = tmp_path / "bare"
    shutil.copytree(base, bare)
    (bare / "tokenizer.model").unlink()
    (bare / "tokenizer.json").unlink()
    command = f"minna train youri-7b init.from={bare} --corpus {corpus} --out {tmp_path / 'run'}"
    status, _, err = call(command, monkeypatch, capsys)
    assert status == 1 and "holds no tokenizer" in err
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_that_names_no_end_of_text_is_refused(foreign, tmp_path):
    corpus, _ = foreign
    words = adopt_tokenizer(tiktoken_folder(tmp_path / "words"), out=tmp_path / "adopted")
    (words / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="names no token that ends a text"):
        write_tokens(corpus, tokenizer=words, out=tmp_path / "tokens")


def with_terms(base, folder, front):
    shutil.copytree(base, folder)
    (folder / "README.md").write_text(f"---\nlicense: {front}\n---\n", encoding="utf-8")
    (folder / "LICENSE").write_text("The agreement, in full.\n", encoding="utf-8")
    (folder / "NOTICE").write_text("Made by somebody.\n", encoding="utf-8")
    return folder


def test_terms_of_the_base_are_compared_before_training_and_go_all_the_way(foreign, tmp_path):
    corpus, base = foreign
    words = adopt_tokenizer(base, out=tmp_path / "words")
    under = with_terms(base, tmp_path / "llama", "llama2")
    given = {"corpus": corpus, "tokenizer": words, "out": tmp_path / "run"}
    start = f"init.from={under.as_posix()}"
    wrong = shrink("youri-7b", vocab=420, more=(start, "licence=apache-2.0"))
    with pytest.raises(UsageError, match="under llama2, which what is trained of it stays under"):
        recipe.run_recipe(wrong, **given)
    assert not (tmp_path / "run" / "recipe.toml").exists()
    done = recipe.run_recipe(shrink("youri-7b", vocab=420, more=(start,)), **given)
    shutil.rmtree(under)  # gone: the run has kept what it must
    model = export_run(done, out=tmp_path / "model")
    assert (model / "LICENSE").read_text(encoding="utf-8") == "The agreement, in full.\n"
    with pytest.raises(LicenceError, match="began under 'llama2' and stay under it"):
        release(model, reports=[], out=tmp_path / "no", settings=ReleaseSettings(licence="mit"))
    assert not (tmp_path / "no").exists()
    out = release(model, reports=[], out=tmp_path / "out")
    assert (out / "LICENSE").read_text(encoding="utf-8") == "The agreement, in full.\n"
    notice = (out / "NOTICE").read_text(encoding="utf-8")
    assert "Made by somebody." in notice and "LLAMA 2 Community License" in notice


def test_a_base_under_permissive_terms_may_become_what_the_recipe_says(foreign, tmp_path):
    corpus, base = foreign
    under = with_terms(base, tmp_path / "mit", "mit")
    start = (f"init.from={under.as_posix()}", "licence=apache-2.0")
    given = {"corpus": corpus, "tokenizer": adopt_tokenizer(base, out=tmp_path / "words")}
    done = recipe.run_recipe(
        shrink("youri-7b", vocab=420, more=start), **given, out=tmp_path / "run"
    )
    model = export_run(done, out=tmp_path / "model")
    out = release(model, reports=[], out=tmp_path / "out")
    assert "Apache License" in (out / "LICENSE").read_text(encoding="utf-8")
    assert "Made by somebody." in (out / "NOTICE").read_text(encoding="utf-8")
