"""Everything that decides a vocabulary, and the presets: minna's own, and rinna's three as data.

minna's default (BPE, byte fallback, identity, no space in front) is the one setting with byte
fallback whose ids are equal in SentencePiece, tokenizer.json and GGUF (8 of 8 hard strings; with a
space in front, 7). rinna's are what its `google_sp.model` holds field by field, and, for the two
models whose files are not to be had, what their cards say; what no card says is our choice.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, Tag, model_validator
from pydantic.dataclasses import dataclass

from minna.settings import by_kind
from minna.tokenizer.sounds import sounds_of_inventory

SPACE = "\u2581"
"""How SentencePiece writes a space inside a piece."""
RUN = 32
"""Longest run of spaces that `whitespace = "separate"` makes one piece: eight levels of four."""

SpecialsName = Literal["minna", "rinna-32k", "rinna-44k", "rinna-neox"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TokenizerSettings:
    """Everything that decides a vocabulary: minna's by default, rinna's in `PRESETS`.

    Attributes:
        kind: the algorithm.
        vocab_size: pieces, special ones and bytes included.
        character_coverage: share of the sample's characters (of each language, where `languages`
            are named) that get a piece of their own; the rest are bytes, or unknown.
        sample_bytes: how much text is learnt from.
        seed: of the sample.
        normalisation: done inside the tokenizer. Identity leaves it to the corpus.
        byte_fallback: a character without a piece is its UTF-8 bytes, not unknown.
        dummy_prefix: a space is put in front of every text.
        fold_spaces: runs of spaces become one, those at both ends vanish.
        split_digits: every digit is a piece of its own.
        specials: the special pieces and their ids, a name in `SPECIALS`.
        whitespace: "joined" lets a piece begin with a space; "separate" makes a space, a newline, a
            tab and runs of up to 32 spaces pieces of their own, which no other piece touches.
        languages: share of each language in the sample, such as {ja = 0.5, en = 0.5}; needs a
            corpus with a column `language`. Empty: lines are drawn whatever their language.
    """

    kind: Literal["bpe", "unigram"] = "bpe"
    vocab_size: int = Field(default=8192, ge=8, le=1 << 20)
    character_coverage: float = Field(default=0.9995, gt=0.9, le=1.0)
    sample_bytes: int = Field(default=32_000_000, ge=1000)
    seed: int = Field(default=0, ge=0)
    normalisation: Literal["identity", "nfkc", "nmt_nfkc"] = "identity"
    byte_fallback: bool = True
    dummy_prefix: bool = False
    fold_spaces: bool = False
    split_digits: bool = False
    specials: SpecialsName = "minna"
    whitespace: Literal["joined", "separate"] = "joined"
    languages: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fit_together(self) -> TokenizerSettings:
        total = sum(self.languages.values())
        if self.languages and (
            not math.isclose(total, 1.0, abs_tol=1e-6) or min(self.languages.values()) <= 0
        ):
            raise ValueError(
                f"languages must be shares above 0 that sum to 1, not {self.languages}"
            )
        for name, needs in (("languages", self.languages), ("whitespace", self.separate)):
            if needs and not self._identity:
                raise ValueError(
                    f"{name} needs normalisation = 'identity', fold_spaces = false and "
                    f"dummy_prefix = false, not {self.normalisation!r}, {self.fold_spaces} and "
                    f"{self.dummy_prefix}"
                )
        return self

    @property
    def _identity(self) -> bool:
        return self.normalisation == "identity" and not (self.fold_spaces or self.dummy_prefix)

    @property
    def separate(self) -> bool:
        """Whether white space is pieces of its own."""
        return self.whitespace == "separate"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BaseTokenizerSettings:
    """The tokenizer of the model that training goes on from (`init.from`): nothing is trained.

    Attributes:
        kind: says so.
        vocab_size: ids it has; the model may have more rows.
    """

    kind: Literal["base"]
    vocab_size: int = Field(ge=8, le=1 << 20)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SoundsSettings:
    """The symbols of a recogniser of speech: a blank, a boundary between words, and sounds.

    Attributes:
        kind: says so.
        inventory: "julius" has the 40 phones of the paper's 42 symbols, "open-jtalk" those in which
            corpora are written; "kana" writes katakana as pronounced.
    """

    kind: Literal["sounds"]
    inventory: Literal["julius", "open-jtalk", "kana"] = "julius"

    @property
    def vocab_size(self) -> int:
        """Symbols."""
        return sounds_of_inventory(self.inventory).size


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class NoTokenizerSettings:
    """Nothing is written: an encoder of speech learns from sound alone."""

    kind: Literal["none"]

    @property
    def vocab_size(self) -> int:
        """No symbols."""
        return 0


OwnVocabulary = SoundsSettings | NoTokenizerSettings
"""What a run writes itself: no text has to be read for it."""

AnyTokenizerSettings = Annotated[
    Annotated[TokenizerSettings, Tag("trained")]
    | Annotated[BaseTokenizerSettings, Tag("base")]
    | Annotated[SoundsSettings, Tag("sounds")]
    | Annotated[NoTokenizerSettings, Tag("none")],
    by_kind("trained", "base", "sounds", "none"),
]
"""A recipe's [tokenizer]; `kind` may be left out for one that is trained."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Specials:
    """Special pieces by id. `unk`, `bos`, `eos`, `pad` are those SentencePiece itself knows.

    Attributes:
        unk: id and text of the unknown piece.
        bos: id and text of the beginning of a text.
        eos: id and text of its end.
        pad: id and text, or None where the pad is only one more control piece by name (as in
            rinna's first tokenizer, whose file says pad_id = -1).
        controls: further control pieces; they fill the ids that are left, in this order.
    """

    unk: tuple[int, str] = (0, "<unk>")
    bos: tuple[int, str] = (1, "<s>")
    eos: tuple[int, str] = (2, "</s>")
    pad: tuple[int, str] | None = None
    controls: tuple[str, ...] = ()

    def for_sentencepiece(self) -> dict[str, Any]:
        """The same as arguments of SentencePiece's trainer; what is its default is left out."""
        values: dict[str, Any] = {"pad_id": -1}
        for name, standard in (("unk", "<unk>"), ("bos", "<s>"), ("eos", "</s>"), ("pad", "<pad>")):
            found: tuple[int, str] | None = getattr(self, name)
            if found is None:
                continue
            values[f"{name}_id"] = found[0]
            if found[1] != standard:
                values[f"{name}_piece"] = found[1]
        if self.controls:
            values["control_symbols"] = list(self.controls)
        return values


SPECIALS: Mapping[SpecialsName, Specials] = MappingProxyType(
    {
        "minna": Specials(pad=(3, "<pad>")),
        # read from google_sp.model: 3 [PAD], 4 [CLS], 5 [SEP], 6 [MASK]
        "rinna-32k": Specials(controls=("[PAD]", "[CLS]", "[SEP]", "[MASK]")),
        # bos 2, eos 3 from gpt-1b's config; 0 and 4 to 6 are inferred from others' scripts
        "rinna-44k": Specials(
            unk=(1, "<unk>"),
            bos=(2, "<s>"),
            eos=(3, "</s>"),
            controls=("[CLS]", "[PAD]", "[SEP]", "[MASK]"),
        ),
        # bos 2, eos 3 from the configs; pad 0 and unk 1 recalled; [SEP] is used by nue-asr
        "rinna-neox": Specials(
            unk=(1, "[UNK]"),
            bos=(2, "<s>"),
            eos=(3, "</s>"),
            pad=(0, "[PAD]"),
            controls=("[CLS]", "[SEP]", "[MASK]"),
        ),
    }
)

PRESETS: Mapping[str, TokenizerSettings] = MappingProxyType(
    {
        "minna": TokenizerSettings(),
        "rinna": TokenizerSettings(
            kind="unigram",
            vocab_size=32_000,
            normalisation="nmt_nfkc",
            byte_fallback=False,
            dummy_prefix=True,
            fold_spaces=True,
            specials="rinna-32k",
        ),
        "rinna-3.6b": TokenizerSettings(kind="unigram", vocab_size=32_000, specials="rinna-neox"),
        "rinna-bilingual": TokenizerSettings(
            kind="unigram",
            vocab_size=65_536,
            specials="rinna-neox",
            whitespace="separate",
            languages={"ja": 0.5, "en": 0.5},
        ),
    }
)
"""`rinna` is japanese-gpt2-*, -roberta-base and -clip; the others are named after their models."""
