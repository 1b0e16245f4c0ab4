"""A SentencePiece model as a Hugging Face tokenizer folder that gives the same ids.

The `.model` file stays the truth; tokenizer.json is a translation of it, and the usual translations
of Japanese vocabularies differ (they leave half-width "ｶﾞ" in two parts and take a typed "<0x41>"
for a byte). So every folder is measured when it is written (`match`). What this translation does:

- BPE: SentencePiece joins any two neighbours whose joint text is a piece, best score first; so the
  merges are *all* splits of every piece, in the order of the scores. It needs no pre-tokenizer:
  102 kB in one string takes 16 ms, against 6 ms in SentencePiece.
- unigram: `tokenizers` also finds control and byte pieces in plain text, so such literals are cut
  first. Its character map looks up "ｶ" and "ﾞ" one by one; NFC after it joins what stays apart.
  With the scores `train` writes, 32,697 lines and 150 whole works of Aozora Bunko get equal ids.
  What remains: other makers' scores are summed in 32 bits there and in 64 here, so in long strings
  a near-tie can fall to the other side (rinna's: one place in 17,765 tokens); and where "<" is
  unknown and there are no bytes, a typed "</s>" is two unknown pieces, not one.
- Pieces of white space (`whitespace = "separate"`) are added tokens here. A run longer than the
  longest of them is two pieces either way; unigram's SentencePiece may cut it elsewhere.
- A typed "</s>" stays text (`split_special_tokens`), as in SentencePiece: a stranger's text must
  not be able to end a document. Chat templates write control tokens as text, so the exporter of a
  chat model asks for `literals="control"`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from minna.artifact.files import write_text_atomically
from minna.errors import DataError
from minna.tokenizer.proto import ModelFields, PieceType, read_model
from minna.tokenizer.settings import SPACE

if TYPE_CHECKING:
    from tokenizers import Tokenizer as HuggingFaceTokenizer

TRANSLATED = ("bpe", "unigram")
"""Kinds of SentencePiece models that have an equal in `tokenizers`."""
ROLES = {
    "bos_token": ("<s>",),
    "eos_token": ("</s>",),
    "pad_token": ("<pad>", "[PAD]"),
    "cls_token": ("[CLS]",),
    "sep_token": ("[SEP]",),
    "mask_token": ("[MASK]",),
}
"""Under which names transformers' special tokens are known in a vocabulary."""


def export_tokenizer(
    model: Path, *, out: Path, literals: Literal["text", "control"] = "text"
) -> None:
    """Write tokenizer.json, tokenizer_config.json and special_tokens_map.json into `out`.

    Args:
        model: a SentencePiece `.model` file, BPE or unigram.
        out: an existing folder (a draft of `minna.artifact.writing`).
        literals: what a "</s>" in the text is for transformers: text, or the control token.

    Raises:
        DataError: the model is of a kind that has no equal in `tokenizers`.
    """
    fields = read_model(model)
    translated = translate(fields)
    specials = special_tokens(fields)
    write_text_atomically(out / "tokenizer.json", translated.to_str(pretty=False))
    _write_json(out / "special_tokens_map.json", specials)
    _write_json(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **specials,
            "add_bos_token": False,
            "add_eos_token": False,
            "clean_up_tokenization_spaces": False,
            "split_special_tokens": literals == "text",
            "model_max_length": 10**30,
        },
    )


def special_tokens(fields: ModelFields) -> dict[str, str]:
    """Which of the special tokens the model has, by the role transformers gives them."""
    unknown = {p.text: "unk_token" for p in fields.pieces if p.type == PieceType.UNKNOWN}
    controls = {piece.text for piece in fields.pieces if piece.type == PieceType.CONTROL}
    named = {role: text for role, texts in ROLES.items() for text in texts if text in controls}
    return {role: text for text, role in unknown.items()} | named


def translate(fields: ModelFields) -> HuggingFaceTokenizer:
    """Build the equal of a SentencePiece model in the `tokenizers` library.

    Raises:
        DataError: not BPE or unigram, or spaces are suffixes or not escaped.
    """
    from tokenizers import AddedToken, Tokenizer, decoders

    if fields.kind not in TRANSLATED or fields.whitespace_as_suffix:
        suffix = " with spaces as suffixes" if fields.whitespace_as_suffix else ""
        raise DataError(
            f"a Hugging Face folder can be written for bpe and unigram models, not {fields.kind}"
            f"{suffix}",
            remedy="use the .model file directly: minna does",
        )
    tokenizer = Tokenizer(_bpe(fields) if fields.kind == "bpe" else _unigram(fields))
    steps = list(_normalisers(fields))
    if steps:
        from tokenizers import normalizers

        tokenizer.normalizer = normalizers.Sequence(steps)
    if fields.kind == "unigram":
        tokenizer.pre_tokenizer = _keep_literals(fields)
    back: list[Any] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if fields.dummy_prefix:
        back.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(back)
    tokenizer.add_special_tokens(
        [
            AddedToken(piece.text, special=True, normalized=False)
            for piece in fields.pieces
            if piece.type in (PieceType.CONTROL, PieceType.UNKNOWN)
        ]
    )
    # SentencePiece cuts its user-defined pieces out first, longest first, as these are
    tokenizer.add_tokens(
        [
            AddedToken(piece.text, special=False, normalized=True)
            for piece in fields.pieces
            if piece.type == PieceType.USER_DEFINED
        ]
    )
    tokenizer.encode_special_tokens = True
    return tokenizer


def _bpe(fields: ModelFields) -> Any:
    from tokenizers import models

    normal = [piece for piece in fields.pieces if piece.type == PieceType.NORMAL]
    known = {piece.text for piece in normal}
    merges = [
        (piece.text[:cut], piece.text[cut:])
        for piece in sorted(normal, key=lambda piece: -piece.score)
        for cut in range(1, len(piece.text))
        if piece.text[:cut] in known and piece.text[cut:] in known
    ]
    return models.BPE(
        vocab={piece.text: number for number, piece in enumerate(fields.pieces)},
        merges=merges,
        unk_token=_unknown(fields)[1],
        fuse_unk=True,
        byte_fallback=fields.byte_fallback,
    )


def _unigram(fields: ModelFields) -> Any:
    from tokenizers import models

    return models.Unigram(
        vocab=[(piece.text, piece.score) for piece in fields.pieces],
        unk_id=_unknown(fields)[0],
        byte_fallback=fields.byte_fallback,
    )


def _unknown(fields: ModelFields) -> tuple[int, str]:
    for number, piece in enumerate(fields.pieces):
        if piece.type == PieceType.UNKNOWN:
            return number, piece.text
    raise DataError("the SentencePiece model has no unknown piece", remedy="train it again")


def _normalisers(fields: ModelFields) -> Iterator[Any]:
    from tokenizers import Regex, normalizers

    if fields.charsmap:
        yield normalizers.Precompiled(fields.charsmap)
        yield normalizers.NFC()
    if fields.fold_spaces:
        yield normalizers.Replace(Regex(r"\A +| +\z"), "")
        yield normalizers.Replace(Regex(" {2,}"), " ")
    if fields.dummy_prefix:
        yield normalizers.Prepend(" ")
    if fields.escape_spaces:
        yield normalizers.Replace(" ", SPACE)


def _keep_literals(fields: ModelFields) -> Any:
    """Cut special pieces that stand in the text as text, where no normal piece crosses the cut."""
    from tokenizers import Regex, pre_tokenizers

    normal = [piece.text for piece in fields.pieces if piece.type == PieceType.NORMAL]
    pairs = {text[i : i + 2] for text in normal for i in range(len(text) - 1)}
    patterns: list[str] = []
    for piece in fields.pieces:
        text = piece.text
        if piece.type in (PieceType.NORMAL, PieceType.USER_DEFINED) or len(text) == 1:
            continue
        cuts = range(1, len(text))
        cut = next((cut for cut in cuts if text[cut - 1 : cut + 1] not in pairs), 1)
        patterns.append(f"{re.escape(text[:cut])}(?={re.escape(text[cut:])})")
    return pre_tokenizers.Split(Regex("|".join(patterns)), "merged_with_previous")


def _write_json(path: Path, value: dict[str, Any]) -> None:
    write_text_atomically(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")
