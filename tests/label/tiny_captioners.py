"""Tiny random models that caption: an image encoder with a text decoder, and a BLIP."""

from __future__ import annotations

import json

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BlipConfig,
    BlipForConditionalGeneration,
    GPT2Config,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)

WORDS = [
    "[PAD]", "[BOS]", "[EOS]", "[UNK]", "a", "the", "red", "blue", "green", "cat", "dog", "house", "tree",
    "sky", "on", "in", "under", "of", "and", "picture",
]  # fmt: skip
PAD, BOS, EOS = 0, 1, 2


def write_tokenizer(path):
    words = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        bos_token="[BOS]",
        eos_token="[EOS]",
        unk_token="[UNK]",
    ).save_pretrained(path)


def write_preprocess(path, size=16):
    content = {
        "image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": size, "width": size},
        "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
        "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
    }  # fmt: skip
    (path / "preprocessor_config.json").write_text(json.dumps(content), encoding="utf-8")


def encoder_decoder(path):
    """A ViT and a GPT-2 that looks at it; captions end now and then."""
    torch.manual_seed(3)
    vision = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=16,
        patch_size=8, initializer_range=0.8,
    )  # fmt: skip
    text = GPT2Config(
        vocab_size=len(WORDS), n_positions=64, n_embd=16, n_layer=1, n_head=2, is_decoder=True,
        add_cross_attention=True, initializer_range=0.8, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD,
    )  # fmt: skip
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(vision, text)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = BOS, PAD, EOS
    model = VisionEncoderDecoderModel(config)
    model.generation_config.decoder_start_token_id = BOS
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = PAD, EOS
    model.generation_config.bos_token_id = BOS
    model.save_pretrained(path)
    write_tokenizer(path)
    write_preprocess(path)
    return path


def blip(path):
    """A BLIP."""
    torch.manual_seed(4)
    size = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    config = BlipConfig(
        text_config={
            **size, "vocab_size": len(WORDS), "encoder_hidden_size": 16, "projection_dim": 16,
            "max_position_embeddings": 64, "bos_token_id": BOS, "pad_token_id": PAD, "eos_token_id": EOS,
            "sep_token_id": EOS, "initializer_range": 0.8,
        },
        vision_config={**size, "image_size": 16, "patch_size": 8, "projection_dim": 16, "initializer_range": 0.8},
        projection_dim=16, image_text_hidden_size=16,
    )  # fmt: skip
    BlipForConditionalGeneration(config).save_pretrained(path)
    write_tokenizer(path)
    write_preprocess(path)
    return path


def bert(path):
    """No captioner at all."""
    path.mkdir(parents=True)
    BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2
    ).save_pretrained(path)
    return path
