"""The tokenizer of any Hugging Face folder: ids as transformers gives them, text streamed exactly."""

from __future__ import annotations

import itertools
import json
import shutil

import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.evaluate.toy_models import SHAPE, train_sentencepiece, write_weights
from tests.runtime.conftest import TEXT
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from minna.errors import ArtifactError, DataError
from minna.runtime import GenerateSettings, generate, load_model, stream_text
from minna.tokenizer.coder import SentencePieceCoder, load_coder, open_tokenizer
from minna.tokenizer.fast import FastTokenizer
from minna.tokenizer.load import Tokenizer as SentencePieceTokenizer
from minna.tokenizer.proto import without_prefix

LINES = TEXT.splitlines() * 3
SAMPLES = [
    "",
    "吾輩は猫である。名前はまだ無い。",
    "The quick brown fox",
    " leading and trailing ",
    "改行\n\n二つ\tタブ",
    "絵文字🐈と𠮷野家 ﾊﾝｶｸ é",
    "<0x41> Ġ ▁ a",
]
SPECIALS = ["<unk>", "<s>", "</s>"]


def byte_level():
    """GPT-2's kind: bytes as characters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    return tokenizer


def unigram(decoder):
    """SentencePiece's kind: spaces as U+2581, unknown characters as bytes."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    found = Tokenizer(models.Unigram())
    found.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=SPECIALS, unk_token="<unk>", show_progress=False
    )
    found.train_from_iterator(LINES, trainer)
    pieces = json.loads(found.to_str())["model"]["vocab"]
    whole = pieces[:3] + [[text, -20.0] for text in bytes_] + pieces[3:]
    tokenizer = Tokenizer(models.Unigram([tuple(p) for p in whole], unk_id=0, byte_fallback=True))
    tokenizer.normalizer = found.normalizer
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens(SPECIALS)
    return tokenizer


LLAMA = decoders.Sequence(
    [
        decoders.Replace("▁", " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ]
)
METASPACE = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])


def save(tokenizer, path, **config):
    """Write it as transformers would, with special tokens added in front unless told otherwise."""
    from transformers import PreTrainedTokenizerFast

    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{config['bos_token']} $A", special_tokens=[(config["bos_token"], 1)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def byte_folder(tmp_path_factory):
    return save(
        byte_level(),
        tmp_path_factory.mktemp("bytes"),
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        additional_special_tokens=["<|user|>"],
    )


@pytest.fixture(scope="module", params=["llama", "metaspace"])
def piece_folder(request, tmp_path_factory):
    return save(
        unigram({"llama": LLAMA, "metaspace": METASPACE}[request.param]),
        tmp_path_factory.mktemp(request.param),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


@pytest.fixture(scope="module")
def folders(byte_folder, piece_folder):
    return [byte_folder, piece_folder]


def streamed(coder, ids):
    stream = coder.stream()
    return "".join([stream.feed(number) for number in ids]) + stream.close()


@pytest.mark.parametrize("text", SAMPLES)
def test_ids_and_text_of_a_tokenizer_json_are_transformers(folders, text):
    from transformers import AutoTokenizer

    for folder in folders:
        coder = load_coder(folder)
        theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        ids = coder.encode(text)
        assert ids == theirs.encode(text, add_special_tokens=False)
        expected = theirs.decode(ids, clean_up_tokenization_spaces=False)
        assert coder.decode_all(ids) == expected
        assert streamed(coder, ids) == coder.decode(ids)
        if "▁" not in text and "<0x" not in text:
            assert coder.decode(ids) == text


def test_special_tokens_typed_in_a_text_are_their_ids(byte_folder, piece_folder):
    coder = load_coder(byte_folder)
    ids = coder.encode("猫<|endoftext|>犬<|user|>")
    assert ids.count(coder.eos_id) == 1 and len({*ids} & {coder.eos_id, ids[-1]}) == 2
    assert coder.decode(ids) == "猫犬"
    assert coder.decode_all(ids) == "猫<|endoftext|>犬<|user|>"
    assert (coder.eos_text, coder.special_texts["bos_token"]) == ("<|endoftext|>",) * 2
    coder = load_coder(piece_folder)
    assert (coder.eos_id, coder.eos_text) == (2, "</s>")
    assert 2 in coder.encode("猫</s>犬") and "</s>" in coder.decode_all(coder.encode("猫</s>犬"))


@settings(max_examples=60, deadline=None)
@given(numbers=st.lists(st.integers(0, 399), max_size=30))
@example(numbers=[35])  # <0x20>: a space that no Metaspace wrote
def test_whatever_ids_come_streamed_and_whole_text_are_the_same(folders, numbers):
    for folder in folders:
        coder = cached(folder)
        ids = [number % coder.vocab_size for number in numbers]
        assert streamed(coder, ids) == coder.decode(ids)
        plain = [number for number in ids if coder.piece_bytes(number)]
        # the library says U+FFFD in other places for broken characters, and only there
        theirs = coder._tokenizer.decode(plain, skip_special_tokens=True)
        if "\ufffd" not in theirs:
            assert coder.decode(ids) == theirs


_OPEN: dict = {}


def cached(folder):
    if folder not in _OPEN:
        _OPEN[folder] = load_coder(folder)
    return _OPEN[folder]


def test_many_texts_at_once_are_the_same_ids(byte_folder):
    coder = load_coder(byte_folder)
    flat, offsets = coder.encode_batch(SAMPLES)
    rows = [flat[a:b].tolist() for a, b in itertools.pairwise(offsets)]
    assert rows == [coder.encode(text) for text in SAMPLES]
    with pytest.raises(DataError, match="Unicode"):
        coder.encode_batch(["ok", "\ud800"])
    with pytest.raises(DataError, match="Unicode"):
        coder.encode("\ud800")
    with pytest.raises(DataError, match="outside the vocabulary"):
        coder.decode([coder.vocab_size])


def test_vocab_and_merges_of_before_tokenizer_json_give_the_same_ids(byte_folder, tmp_path):
    model = json.loads((byte_folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    merges = [" ".join(pair) for pair in model["merges"]]
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges), encoding="utf-8")
    coder, whole = load_coder(tmp_path), load_coder(byte_folder)
    for text in [*SAMPLES, "猫<|endoftext|>犬"]:
        assert coder.encode(text) == whole.encode(text)
    assert coder.eos_id == whole.eos_id and len(coder.sha256) == 64
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "Qwen2Tokenizer"}', encoding="utf-8"
    )
    with pytest.raises(DataError, match="Qwen2Tokenizer"):
        load_coder(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1, "ab": 2}', encoding="utf-8")
    (tmp_path / "merges.txt").write_text("a b", encoding="utf-8")
    with pytest.raises(DataError, match="byte-level"):
        load_coder(tmp_path)


def test_a_model_dir_with_only_a_tokenizer_json_generates(folders, tmp_path):
    for number, folder in enumerate(folders):
        path = shutil.copytree(folder, tmp_path / str(number))
        coder = load_coder(path)
        write_weights(path, shape=SHAPE, vocab=coder.vocab_size + 5)
        model = load_model(path, device="cpu", dtype="fp32")
        assert isinstance(model.tokenizer, FastTokenizer)
        asked = GenerateSettings(max_new_tokens=20)
        (result,) = generate(model, ["吾輩は"], settings=asked)
        assert max(result.ids) < coder.vocab_size
        ends = [n for n in result.ids if n in model.eos_ids]
        assert result.text == coder.decode(result.ids[: -len(ends) or None])
        assert "".join(stream_text(model, "吾輩は", settings=asked)) == result.text


# --- SentencePiece


@pytest.fixture(scope="module")
def rinna(tmp_path_factory):
    """rinna's settings: no space in front, white space kept, bytes, "<NL>" a piece."""
    path = tmp_path_factory.mktemp("rinna")
    train_sentencepiece(path, kind="unigram", vocab=360, user_defined_symbols=["<NL>"])
    (path / "tokenizer.model").rename(path / "spiece.model")
    specials = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "T5Tokenizer", **specials}), encoding="utf-8"
    )
    return path


def llama(path, *, legacy):
    train_sentencepiece(path, add_dummy_prefix=True)
    config = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": {"__type": "AddedToken", "content": "<s>"},
        "eos_token": {"__type": "AddedToken", "content": "</s>"},
        "legacy": legacy,
        "added_tokens_decoder": {
            "0": {"content": "<unk>", "special": True},
            "380": {"content": "<|turn|>", "special": True},
            "381": {"content": "<tab>", "special": False},
        },
    }
    (path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


RINNA_PROMPT = "ユーザー: 質問：猫<NL>選択肢：<NL>- 犬<NL>システム: "
LLAMA_PROMPT = "<s>[INST] <<SYS>>\n猫\n<</SYS>>\n\n犬 [/INST] 吾輩 </s><s>[INST]  二つ"


def test_rinnas_prompts_are_sentencepieces_own_ids(rinna):
    coder = load_coder(rinna)
    sp = sentencepiece.SentencePieceProcessor(model_file=str(rinna / "spiece.model"))
    ids = coder.encode(RINNA_PROMPT)
    assert ids == sp.encode(RINNA_PROMPT)
    assert ids.count(sp.piece_to_id("<NL>")) == 3
    assert coder.decode(ids) == coder.decode_all(ids) == RINNA_PROMPT == streamed(coder, ids)
    assert (coder.eos_id, coder.eos_text, coder.vocab_size) == (2, "</s>", 360)
    assert len(coder.sha256) == 64 and coder.chat_template is None


def test_llama_2_prompts_are_cut_at_their_special_tokens_and_each_stretch_has_its_space(tmp_path):
    coder = load_coder(llama(tmp_path, legacy=True))
    sp = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    first = "[INST] <<SYS>>\n猫\n<</SYS>>\n\n犬 [/INST] 吾輩 "
    expected = [1, *sp.encode(first), 2, 1, *sp.encode("[INST]  二つ")]
    assert coder.encode(LLAMA_PROMPT) == expected
    assert coder.decode_all(expected) == LLAMA_PROMPT


def test_without_legacy_only_the_first_stretch_has_a_space_in_front(tmp_path):
    coder = load_coder(llama(tmp_path, legacy=False))
    content = (tmp_path / "tokenizer.model").read_bytes()
    bare = sentencepiece.SentencePieceProcessor(model_proto=without_prefix(content))

    def stretch(text):  # as transformers writes it: behind an unknown token, which is dropped
        return bare.encode("<unk>" + text, out_type=str)[len(bare.encode("<unk>")) :]

    first = "[INST] <<SYS>>\n猫\n<</SYS>>\n\n犬 [/INST] 吾輩 "
    expected = ["<s>", *stretch(first), "</s>", "<s>", *stretch("[INST]  二つ")]
    assert coder.encode(LLAMA_PROMPT) == [bare.piece_to_id(piece) for piece in expected]
    assert coder.decode_all(coder.encode(LLAMA_PROMPT)) == LLAMA_PROMPT
    whole = sentencepiece.SentencePieceProcessor(model_proto=content)
    assert coder.encode("犬 [/INST]") == whole.encode("犬 [/INST]")


def test_tokens_added_behind_the_vocabulary_are_known(tmp_path):
    coder = load_coder(llama(tmp_path, legacy=True))
    ids = coder.encode("<|turn|>猫<tab>犬")
    assert coder.vocab_size == 382 and ids[0] == 380 and 381 in ids
    assert coder.decode(ids) == "猫<tab>犬" == streamed(coder, ids)
    assert coder.decode_all(ids) == "<|turn|>猫<tab>犬"


def test_a_folder_that_asks_for_literals_keeps_special_tokens_text(rinna, tmp_path):
    shutil.copy(rinna / "spiece.model", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(
        '{"eos_token": "</s>", "split_special_tokens": true}', encoding="utf-8"
    )
    coder = load_coder(tmp_path)
    assert 2 not in coder.encode("猫</s>") and coder.decode(coder.encode("猫</s>")) == "猫</s>"


def test_rinnas_first_tokenizer_gives_its_golden_ids(shared_data, tmp_path):
    shutil.copy(shared_data / "rinna" / "google_sp.model", tmp_path / "spiece.model")
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "eos_token": "</s>"}
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(names | {"do_lower_case": True}), encoding="utf-8"
    )
    coder = load_coder(tmp_path)
    ids = coder.encode("[CLS]4年に1度オリンピックは開かれる。")
    assert ids == [4, 1602, 44, 24, 368, 1462, 11, 21583, 8]
    assert coder.encode("Hello World ABC") == [9, 22848, 463, 7375, 9, 8493]


# --- folders


def test_a_chat_template_is_found_in_each_of_its_places(rinna, tmp_path):
    shutil.copy(rinna / "spiece.model", tmp_path)
    config = tmp_path / "tokenizer_config.json"
    config.write_text('{"chat_template": "one"}', encoding="utf-8")
    assert load_coder(tmp_path).chat_template == "one"
    templates = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "two"}]
    config.write_text(json.dumps({"chat_template": templates}), encoding="utf-8")
    assert load_coder(tmp_path).chat_template == "two"
    (tmp_path / "chat_template.json").write_text('{"chat_template": "three"}', encoding="utf-8")
    assert load_coder(tmp_path).chat_template == "three"
    (tmp_path / "chat_template.jinja").write_text("{{ 四 }}\n", encoding="utf-8")
    assert load_coder(tmp_path).chat_template == "{{ 四 }}\n"


def test_end_of_text_is_found_where_only_the_model_names_it(tmp_path):
    byte_level().save(str(tmp_path / "tokenizer.json"))
    assert load_coder(tmp_path).eos_id == -1
    (tmp_path / "config.json").write_text('{"eos_token_id": [0, 5]}', encoding="utf-8")
    coder = load_coder(tmp_path)
    assert (coder.eos_id, coder.eos_text) == (0, "<|endoftext|>")


def test_one_model_file_of_any_name_is_taken_and_two_are_not(rinna, byte_folder, tmp_path):
    shutil.copy(rinna / "spiece.model", tmp_path / "own.model")
    assert isinstance(load_coder(tmp_path), SentencePieceCoder)
    assert isinstance(open_tokenizer(tmp_path), SentencePieceTokenizer)
    shutil.copy(rinna / "spiece.model", tmp_path / "other.model")
    with pytest.raises(ArtifactError, match="no tokenizer"):
        load_coder(tmp_path)


def test_a_tokenizer_model_of_another_maker_gives_way_to_tokenizer_json(byte_folder, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\n")
    with pytest.raises(DataError, match="SentencePiece"):
        load_coder(tmp_path)
    shutil.copy(byte_folder / "tokenizer.json", tmp_path)
    assert isinstance(load_coder(tmp_path), FastTokenizer)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="not a directory"):
        load_coder(tmp_path / "nowhere")
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        load_coder(tmp_path)
    tokenizer = byte_level()
    tokenizer.decoder = decoders.Sequence([decoders.Replace(Regex("a+"), "b")])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(DataError, match="decoder that is not known"):
        load_coder(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="not JSON"):
        load_coder(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="JSON object"):
        load_coder(tmp_path)


def test_bos_is_put_in_front_only_where_the_tokenizer_itself_says_so(rinna, piece_folder, tmp_path):
    def told(folder, name, value):
        copy = tmp_path / name
        shutil.copytree(folder, copy)
        file = copy / "tokenizer_config.json"
        content = json.loads(file.read_text(encoding="utf-8")) | {"add_bos_token": value}
        file.write_text(json.dumps(content), encoding="utf-8")
        return load_coder(copy).bos_ids

    (tmp_path / "llama").mkdir()
    plain = llama(tmp_path / "llama", legacy=True)
    assert load_coder(rinna).bos_ids == load_coder(plain).bos_ids == ()
    assert told(plain, "yes", True) == (1,)
    assert told(plain, "no", False) == ()
    # a tokenizer.json says it by its post-processor
    assert load_coder(piece_folder).bos_ids == (1,)
    assert told(piece_folder, "json-no", False) == ()
