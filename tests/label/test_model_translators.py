"""Translation models by transformers, causal ones by our engine: what they would say alone."""

from __future__ import annotations

import json
import random
import shutil

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from tests.toy_chain import make_chain, sentences
from transformers import AutoModelForSeq2SeqLM, MarianConfig, MarianMTModel, MarianTokenizer

from minna import artifact
from minna.errors import ArtifactError, UsageError
from minna.label import Direction, Refusal, TranslatorSettings, open_back, open_model
from minna.label.pieces import cut
from minna.label.wording import load
from minna.runtime import GenerateSettings, generate, load_model

ENJA = Direction(source="en", target="ja")
CPU = TranslatorSettings(device="cpu", dtype="fp32")
WORDS = [
    "the",
    "cat",
    "dog",
    "reads",
    "writes",
    "old",
    "new",
    "book",
    "letter",
    "in",
    "a",
    "park",
    "house",
    "every",
    "morning",
    "and",
    "night",
]


def english(count, *, seed):
    pick = random.Random(seed)
    return [
        " ".join(pick.choice(WORDS) for _ in range(pick.randint(2, 12))).capitalize() + "."
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def marian(tmp_path_factory):
    """A tiny random Marian with a tokenizer that was really trained."""
    root = tmp_path_factory.mktemp("marian")
    text = root / "text.txt"
    text.write_text("\n".join(english(300, seed=1) + sentences(300, seed=1)), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(root / "spm"), vocab_size=220, minloglevel=2,
        hard_vocab_limit=False,
    )  # fmt: skip
    spm = sentencepiece.SentencePieceProcessor(model_file=str(root / "spm.model"))
    pieces = ["</s>", "<unk>", *(spm.id_to_piece(n) for n in range(3, len(spm))), "<pad>"]
    (root / "vocab.json").write_text(json.dumps({p: n for n, p in enumerate(pieces)}))
    model = root / "model"
    tokenizer = MarianTokenizer(
        source_spm=str(root / "spm.model"),
        target_spm=str(root / "spm.model"),
        vocab=str(root / "vocab.json"),
    )
    tokenizer.save_pretrained(model)
    torch.manual_seed(1)
    config = MarianConfig(
        vocab_size=len(pieces), d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=64,
        pad_token_id=len(pieces) - 1, eos_token_id=0, decoder_start_token_id=len(pieces) - 1, init_std=1.0,
        forced_eos_token_id=0, num_beams=2,
    )  # fmt: skip
    net = MarianMTModel(config)
    with torch.no_grad():
        net.final_logits_bias[0, 0] = 8.0  # texts end now and then
    net.save_pretrained(model)
    return model


def alone(path, lines):
    """What transformers says of each line by itself; None where it did not end."""
    tokenizer, net = (
        MarianTokenizer.from_pretrained(path),
        AutoModelForSeq2SeqLM.from_pretrained(path).eval(),
    )
    found = {}
    for line in lines:
        ids = tokenizer([line], return_tensors="pt")
        most = min(63, 32 + 3 * ids["input_ids"].shape[1])
        (out,) = net.generate(**ids, max_new_tokens=most, do_sample=False)
        cut_off = len(out) > most
        found[line] = None if cut_off else tokenizer.decode(out, skip_special_tokens=True).strip()
    return found


def test_a_batch_says_what_each_line_says_alone(marian):
    lines = list(dict.fromkeys(english(24, seed=2)))
    translator = open_model(marian, direction=ENJA, settings=CPU)
    answers = dict(zip(lines, translator.translate(lines), strict=True))
    expected = alone(marian, lines)
    assert {line: None if isinstance(a, Refusal) else a for line, a in answers.items()} == expected
    assert len({text for text in expected.values() if text}) > 5 and None in expected.values()
    assert all("did not end" in a.why for a in answers.values() if isinstance(a, Refusal))


def test_lines_lists_and_code_keep_their_places(marian):
    translator = open_model(marian, direction=ENJA, settings=CPU)
    ended = [line for line, said in alone(marian, english(24, seed=2)).items() if said]
    first, second = ended[:2]
    said = alone(marian, [first, second])
    text = f"{first}\n\n- {second}\n```\nold = new  # the cat\n```\n  42"
    assert translator.translate([text]) == [
        f"{said[first]}\n\n- {said[second]}\n```\nold = new  # the cat\n```\n  42"
    ]


def test_a_line_that_is_too_long_goes_in_sentences_and_one_that_has_none_not_at_all(marian):
    translator = open_model(marian, direction=ENJA, settings=CPU)
    ended = [line for line, said in alone(marian, english(24, seed=2)).items() if said]
    size, most = translator._size, translator._opened.most
    assert most == 32
    pieces = cut(" ".join(ended), size=size, most=most)
    assert len(pieces) > 2 and all(size(piece.text) <= most for piece in pieces)
    assert "".join(piece.text for piece in pieces) == " ".join(ended)
    (answer,) = translator.translate(["cat " * 90])
    assert isinstance(answer, Refusal) and "longer than the model reads" in answer.why


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one line",
        "a\n\nb\n",
        "  - item one\n\t1. item two\r\n",
        "~~~\ncode words\n",
        "a b.  C d! (E f) 日本。本 \n> q",
    ],
)
@pytest.mark.parametrize("most", [2, 5, 100])
def test_pieces_joined_are_the_text(text, most):
    pieces = cut(text, size=lambda line: len(line.split()), most=most)
    assert pieces is None or "".join(piece.text for piece in pieces) == text


def test_many_languages_in_one_model_are_told_apart_by_codes(marian, tmp_path):
    own = tmp_path / "many.toml"
    token = "▁dog"
    own.write_text(
        f'name = "many"\ndescription = "d"\nsource = "s"\ncodes = {{en = "eng"}}\ntokens = {{ja = "{token}"}}\n',
        encoding="utf-8",
    )
    settings = TranslatorSettings(prompt=str(own), device="cpu", dtype="fp32")
    translator = open_model(marian, direction=ENJA, settings=settings)
    answers = [a for a in translator.translate(english(20, seed=2)) if isinstance(a, str)]
    assert answers and all(answer.startswith("dog") for answer in answers)
    assert translator._opened.tokenizer.src_lang == "eng"
    with pytest.raises(UsageError, match="no code for ja"):
        open_model(marian, direction=ENJA.back, settings=settings)
    nllb = TranslatorSettings(prompt="nllb", device="cpu", dtype="fp32")
    with pytest.raises(UsageError, match="no token 'jpn_Jpan'"):
        open_model(marian, direction=ENJA, settings=nllb).translate(["cat"])


def test_only_whole_safetensors_are_opened(marian, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(marian, broken)
    state = MarianMTModel.from_pretrained(marian).state_dict()
    (broken / "model.safetensors").unlink()
    torch.save(state, broken / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match="safetensors"):
        open_model(broken, direction=ENJA, settings=CPU).translate(["cat"])
    shutil.copyfile(marian / "model.safetensors", broken / "model.safetensors")
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"decoder_layers": 2}))
    with pytest.raises(ArtifactError, match="weights are missing"):
        open_model(broken, direction=ENJA, settings=CPU).translate(["cat"])
    (broken / "config.json").write_text(json.dumps(config | {"model_type": "nosuch"}))
    with pytest.raises(ArtifactError, match="cannot open"):
        open_model(broken, direction=ENJA, settings=CPU).translate(["cat"])


def test_the_identity_changes_with_weights_tokenizer_and_wording(marian, tmp_path):
    usual = open_model(marian, direction=ENJA, settings=CPU).identity
    assert open_model(marian, direction=ENJA, settings=CPU).identity == usual
    twin = tmp_path / "twin"
    shutil.copytree(marian, twin)
    assert open_model(twin, direction=ENJA, settings=CPU).identity == usual
    (twin / "vocab.json").write_text((marian / "vocab.json").read_text() + " ")
    assert open_model(twin, direction=ENJA, settings=CPU).identity != usual
    t5 = tmp_path / "t5.toml"
    t5.write_text(
        'name = "t5"\ndescription = "d"\nsource = "s"\nuser = "translate {source} to {target}: {text}"\n'
    )
    other = TranslatorSettings(prompt=str(t5), device="cpu", dtype="fp32")
    assert open_model(marian, direction=ENJA, settings=other).identity != usual


def test_a_translation_model_has_no_prompt_format_and_no_4_bits(marian, tmp_path):
    with pytest.raises(UsageError, match="--format"):
        open_model(marian, direction=ENJA, settings=TranslatorSettings(format="minna"))
    with pytest.raises(UsageError, match="int4"):
        open_model(marian, direction=ENJA, settings=TranslatorSettings(dtype="int4"))
    with pytest.raises(ArtifactError, match=r"config\.json"):
        open_model(tmp_path, direction=ENJA, settings=CPU)


def test_a_model_of_one_pair_does_not_translate_back(marian, tmp_path):
    with pytest.raises(UsageError, match="--back-model"):
        open_back(marian, direction=ENJA.back, settings=CPU)
    prefix = tmp_path / "prefix.toml"
    content = 'name = "t5"\ndescription = "d"\nsource = "s"\nuser = "to {target}: {text}"\n'
    prefix.write_text(content, encoding="utf-8")
    both = open_back(marian, direction=ENJA.back, settings=TranslatorSettings(prompt=str(prefix)))
    assert both.identity["target"] == "en"


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return make_chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture(scope="module")
def loud(chain, tmp_path_factory):
    """The same with larger weights, so that it says different things; a stranger's model dir."""
    folder = tmp_path_factory.mktemp("loud") / "model"
    shutil.copytree(chain.model, folder)
    (folder / "minna.json").unlink()
    state = load_file(folder / "model.safetensors")
    state = {name: tensor * 24 if tensor.ndim > 1 else tensor for name, tensor in state.items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


STOPS = ("母", "ー", "。", "の")


def short(tmp_path, **settings):
    own = tmp_path / "short.toml"
    content = 'name = "short"\ndescription = "d"\nsource = "s"\nuser = "{text}："\n'
    own.write_text(f"{content}stops = {json.dumps(STOPS)}\n", encoding="utf-8")
    return TranslatorSettings(prompt=str(own), device="cpu", dtype="fp32", **settings)


def test_a_causal_model_goes_on_as_generate_does(loud, tmp_path):
    texts = [
        "猫は海",
        "駅で寝ていた",
        "先生は学校",
        "母",
        "彼女は公園",
        "友達と京都",
        "夏休みに図書館で本を読みました" * 9,
    ]
    translator = open_model(loud, direction=ENJA, settings=short(tmp_path))
    answers = translator.translate(texts)
    assert isinstance(answers[-1], Refusal) and "context" in answers[-1].why
    model = load_model(loud, device="cpu", dtype="fp32")
    outcomes = set()
    for text, answer in zip(texts[:-1], answers[:-1], strict=True):
        room = 64 - len(model.tokenizer.encode(f"{text}："))
        most = min(room, 32 + 3 * len(model.tokenizer.encode(text)))
        (said,) = generate(
            model, [f"{text}："], settings=GenerateSettings(max_new_tokens=most, stop_texts=STOPS)
        )
        outcomes.add(said.finish)
        if said.finish == "length":
            assert isinstance(answer, Refusal) and "did not end" in answer.why
        else:
            assert answer == said.text.strip()
    assert {"length", "stop-text"} <= outcomes
    shorter = open_model(loud, direction=ENJA, settings=short(tmp_path, max_new_tokens=1))
    assert all(isinstance(a, Refusal) or len(a) < 4 for a in shorter.translate(texts))


def test_a_causal_model_is_identified_by_its_manifest_or_its_content(chain, loud, tmp_path):
    ours = open_model(chain.model, direction=ENJA, settings=short(tmp_path))
    assert ours.parent.sha256 == artifact.parent_of(chain.model, role="x").sha256
    assert ours.licence == "CC0-1.0" and ours.name == "model"
    theirs = open_model(loud, direction=ENJA, settings=short(tmp_path))
    assert theirs.licence == "" and theirs.identity["model"] != ours.identity["model"]
    (loud / "README.md").write_text("---\nlicense: llama2\n---\n")
    assert open_model(loud, direction=ENJA, settings=short(tmp_path)).licence == "llama2"
    assert ours.identity != open_model(chain.model, direction=ENJA, settings=CPU).identity


def test_a_format_lays_out_the_prompt_and_its_line_breaks_come_back(chain):
    wording = load("instruct-ja", format_name="rinna-3.6b")
    prompt = wording.prompt("Hi\nthere", direction=ENJA, end="</s>")
    assert prompt.startswith("ユーザー: 次の英語の") and prompt.endswith(
        "Hi<NL>there<NL>システム: "
    )
    assert wording.answer(" やあ<NL>皆さん ") == "やあ\n皆さん"
    assert load("pairs").answer("a<NL>b ") == "a<NL>b"
    assert load("pairs").stop_texts(direction=ENJA) == ("\n英語:", "\n日本語:")


def test_a_run_is_no_model(chain):
    with pytest.raises(ArtifactError):
        open_model(chain.run, direction=ENJA, settings=CPU)
