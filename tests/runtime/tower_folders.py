"""Tiny model dirs of two towers, written by transformers: what the tests open and compare with.

`plain_*` functions compute features the straightforward way, with transformers' modules and what the
fact sheets say of rinna's code: every text padded to 77, a mask, positions from 0, first state.
"""

from __future__ import annotations

import json

import numpy as np
import sentencepiece
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

TEXTS = [
    "犬",
    "桜の花",
    "赤い車の写真",
    "The quick BROWN fox",
    "名前はまだ無い。",
    "",
    "猫、犬と 鳥!",
]
PROSE = """吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。
犬と猫と鳥の写真。赤い車の絵。桜の花、青い空、白い雲、山と海。
the quick brown fox jumps over the lazy dog.
"""
LONG = "吾輩は猫である。" * 40


def pictures():
    draw = np.random.default_rng(3)
    shapes = [(40, 40), (70, 33), (31, 90)]
    return [Image.fromarray(draw.integers(0, 256, (h, w, 3), np.uint8)) for w, h in shapes]


def sentence_model(folder, name, **fields):
    """A SentencePiece model of a few sentences."""
    text = folder / "prose.txt"
    text.write_text(PROSE, encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / name), vocab_size=110, model_type="unigram",
        hard_vocab_limit=False, minloglevel=2, **fields,
    )  # fmt: skip
    return folder / f"{name}.model"


def rinnas_words(folder, shared=None):
    """rinna's own vocabulary where it is at hand, else one of its kind."""
    own = shared / "rinna" / "google_sp.model" if shared else folder / "none"
    if own.is_file():
        (folder / "spiece.model").write_bytes(own.read_bytes())
        return 32000
    specials = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    made = sentence_model(folder, "spiece", control_symbols=specials, unk_id=0, bos_id=1, eos_id=2)
    return sentencepiece.SentencePieceProcessor(str(made)).vocab_size()


def shake(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model.eval()


def parts_of_rinna(vocab, *, native=False):
    """The two towers as rinna's class builds them, without poolers."""
    import transformers as hub

    text = hub.RobertaModel(
        hub.RobertaConfig(
            vocab_size=vocab, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=48, max_position_embeddings=90, type_vocab_size=2,
            layer_norm_eps=1e-12, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
        ),
        add_pooling_layer=False,
    )  # fmt: skip
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    sizes |= {"intermediate_size": 40, "image_size": 32, "patch_size": 8}
    image = (
        hub.CLIPVisionModel(hub.CLIPVisionConfig(**sizes))
        if native
        else hub.ViTModel(hub.ViTConfig(**sizes), add_pooling_layer=False)
    )
    return shake(text, 1), shake(image, 2)


def write_rinna(folder, *, scores="clip", native=False, form="safetensors", shared=None):
    """Write a checkpoint in rinna's layout; return what computes its features."""
    vocab = rinnas_words(folder, shared)
    text, image = parts_of_rinna(vocab, native=native)
    torch.manual_seed(4)
    visual, words = torch.randn(16, 24) * 0.2, torch.randn(16, 32) * 0.2
    state = {f"text_model.{k}": v for k, v in saved_names(text, folder).items()}
    state |= {f"vision_model.{k}": v for k, v in saved_names(image, folder).items()}
    state["text_model.embeddings.position_ids"] = torch.arange(90)[None]
    state["text_model.embeddings.token_type_ids"] = torch.zeros(1, 90, dtype=torch.int64)
    state |= {"visual_projection.weight": visual, "text_projection.weight": words}
    if scores == "clip":
        state["logit_scale"] = torch.tensor(3.1)
    content = {
        "model_type": scores,
        "projection_dim": 16,
        "text_config": text.config.to_dict(),
        "vision_config": image.config.to_dict(),
    }
    content |= {"init_inv_tau": 25.0, "scale_hopfield": 15.0} if scores == "cloob" else {}
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    if form == "safetensors":
        save_file(
            {k: v.contiguous().clone() for k, v in state.items()}, folder / "model.safetensors"
        )
    else:
        torch.save(state, folder / "pytorch_model.bin")
    return PlainRinna(text, image, words=words, visual=visual, folder=folder)


def saved_names(model, folder):
    """Tensors under the names of files, which newer classes translate."""
    model.save_pretrained(folder / "saved")
    state = load_file(folder / "saved" / "model.safetensors")
    for file in (folder / "saved").iterdir():
        file.unlink()
    (folder / "saved").rmdir()
    return state


class PlainRinna:
    """What rinna's package does, line by line of the facts."""

    def __init__(self, text, image, *, words, visual, folder):
        self.text, self.image, self.words, self.visual = text, image, words, visual
        self.pieces = sentencepiece.SentencePieceProcessor(str(folder / "spiece.model"))

    @torch.no_grad()
    def texts(self, texts):
        rows, masks = [], []
        for text in texts:
            ids = self.pieces.encode(text.lower())[:76]
            rows.append([self.pieces.piece_to_id("[CLS]"), *ids] + [3] * (76 - len(ids)))
            masks.append([1] * (1 + len(ids)) + [0] * (76 - len(ids)))
        places = torch.arange(77).expand(len(rows), 77)
        hidden = self.text(
            torch.tensor(rows), attention_mask=torch.tensor(masks), position_ids=places
        ).last_hidden_state
        return normal(hidden[:, 0] @ self.words.T)

    @torch.no_grad()
    def images(self, pixels):
        return normal(self.image(pixel_values=pixels).last_hidden_state[:, 0] @ self.visual.T)


def plain_pixels(images, side):
    """Shorter side, bilinear, then the middle; OpenAI's means (Pillow and arithmetic)."""
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    std = np.array([0.26862954, 0.26130258, 0.27577711])
    out = []
    for image in images:
        short = min(image.size)
        w, h = (int(side * edge / short) for edge in image.size)
        small = image.resize((w, h), Image.Resampling.BILINEAR)
        left, top = (w - side) // 2, (h - side) // 2
        values = np.asarray(small.crop((left, top, left + side, top + side))) / 255
        out.append(((values - mean) / std).transpose(2, 0, 1))
    return torch.tensor(np.stack(out), dtype=torch.float32)


def normal(rows):
    return (rows / rows.norm(dim=-1, keepdim=True)).numpy()


def write_clip(folder, *, seed=0):
    """A CLIP of transformers with its own tokenizer; return model, tokenizer and processor."""
    import transformers as hub

    names = byte_characters()
    texts = [*names, *(f"{one}</w>" for one in names), "fo", "fox</w>", "qu"]
    texts += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {text: number for number, text in enumerate(texts)}
    merges = [("f", "o"), ("fo", "x</w>"), ("q", "u")]
    words = hub.CLIPTokenizer(vocab=vocab, merges=merges)
    end = vocab["<|endoftext|>"]
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    sizes |= {"intermediate_size": 40, "projection_dim": 16}
    marks = {"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end}
    text = {**sizes, **marks, "vocab_size": len(texts), "max_position_embeddings": 30}
    vision = {**sizes, "image_size": 32, "patch_size": 8}
    config = hub.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    model = shake(hub.CLIPModel(config), seed)
    see = hub.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)
    for part in (model, words, see):
        part.save_pretrained(folder)
    return model, words, see


def write_siglip(folder, *, seed=0):
    """A SigLIP of transformers with its own tokenizer; return model, tokenizer and processor."""
    import transformers as hub

    made = sentence_model(folder, "spiece", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    words = hub.SiglipTokenizer(vocab_file=str(made), model_max_length=24)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    sizes |= {"intermediate_size": 40}
    text = {**sizes, "vocab_size": words.vocab_size, "max_position_embeddings": 24}
    vision = {**sizes, "image_size": 32, "patch_size": 8}
    model = hub.SiglipModel(hub.SiglipConfig(text_config=text, vision_config=vision))
    model = shake(model, seed)
    see = hub.SiglipImageProcessorPil(size={"height": 32, "width": 32})
    for part in (model, words, see):
        part.save_pretrained(folder)
    return model, words, see


def byte_characters():
    """GPT-2's characters for the 256 bytes."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [chr(256 + n) for n in range(256 - len(plain))]
    return [chr(byte) for byte in plain] + rest
