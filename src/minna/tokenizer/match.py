"""How often tokenizer.json and GGUF give SentencePiece's ids: measured, written down, enforced.

The probe strings are where exported Japanese tokenizers were seen to break (of eight such strings,
rinna's kind of vocabulary kept its ids in two once in GGUF); corpus lines are what users will send.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minna.errors import MissingExtraError
from minna.tokenizer.in_gguf import ids_in_gguf
from minna.tokenizer.load import Tokenizer, load_tokenizer

LINES = 2000
_EXAMPLES = 5

PROBES: tuple[str, ...] = (
    "",
    " ",
    "犬",
    "ひらがなとカタカナと漢字が混ざった文です。",
    "ｶﾀｶﾅ ﾊﾝｶｸ ｶﾞｷﾞｸﾞｹﾞｺﾞ ﾊﾟﾋﾟﾌﾟﾍﾟﾎﾟ",
    "か\u3099は\u309a",
    "Ｆｕｌｌ　ｗｉｄｔｈ　１２３",
    "①㈱㍿㎏Ⅳ",
    "～〜ー―…‥",
    "😀👨‍👩‍👧🏳️‍🌈🇯🇵👍🏽",
    "一行目\n二行目\r\n\n四行目\tタブ",
    "  先頭の空白",
    "末尾の空白  ",
    "空白    四つ",
    " \n 。 \n ",
    "<NL>ユーザー: こんにちは<NL>システム: ",
    "</s>",
    "文の途中の</s>と<s>と<unk>と<pad>",
    "<0x41><0xE3><0x",
    "𠮷野家で鷗外と髙橋が饂飩を食べる",
    "English日本語123한국어Русский",
    "é と e\u0301 と Å",
    "\u200bゼロ幅\u00adと\ufeffBOM\u3000全角",
    'def f(x):\n    return {"キー": x ** 2}  # コメント',
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GgufMatch:
    """The same for GGUF; `reason` says why nothing was measured, where nothing was."""

    measured: bool = False
    reason: str = ""
    probes_equal: int = 0
    lines_equal: int = 0
    examples: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match:
    """How many probe strings and corpus lines get the same ids from both, and some that do not."""

    probes: int
    probes_equal: int
    lines: int
    lines_equal: int
    examples: tuple[str, ...]
    gguf: GgufMatch = GgufMatch(reason="not asked for")

    @property
    def rate(self) -> float:
        """Share of all strings with equal ids, 0 to 1."""
        return (self.probes_equal + self.lines_equal) / (self.probes + self.lines)

    @property
    def differing(self) -> int:
        """Number of strings whose ids differ."""
        return self.probes + self.lines - self.probes_equal - self.lines_equal

    @property
    def gguf_rate(self) -> float | None:
        """The same share in GGUF, or None where it was not measured."""
        if not self.gguf.measured:
            return None
        equal = self.gguf.probes_equal + self.gguf.lines_equal
        return equal / (self.probes + self.lines)

    def as_json(self) -> dict[str, Any]:
        """The content of match.json."""
        return dataclasses.asdict(self) | {"rate": self.rate}


def measure_match(path: Path, *, lines: Sequence[str]) -> Match:
    """Compare tokenizer.json in the folder `path` with the SentencePiece model beside it.

    Args:
        path: a tokenizer folder with both files.
        lines: corpus lines to compare on, beside the probe strings.
    """
    from tokenizers import Tokenizer as HuggingFaceTokenizer

    ours = load_tokenizer(path, case="keep")
    theirs = HuggingFaceTokenizer.from_file(str(path / "tokenizer.json"))
    # what split_special_tokens in tokenizer_config.json makes transformers set
    theirs.encode_special_tokens = True
    texts = [*PROBES, *lines]
    encoded = theirs.encode_batch_fast(texts, add_special_tokens=False)
    expected = [ours.encode(text) for text in texts]
    equal = [ids == other.ids for ids, other in zip(expected, encoded, strict=True)]
    return Match(
        probes=len(PROBES),
        probes_equal=sum(equal[: len(PROBES)]),
        lines=len(lines),
        lines_equal=sum(equal[len(PROBES) :]),
        examples=_differing(texts, equal),
        gguf=_measure_gguf(ours, texts, expected),
    )


def _measure_gguf(ours: Tokenizer, texts: list[str], expected: list[list[int]]) -> GgufMatch:
    try:
        found = ids_in_gguf(ours, texts=texts)
    except MissingExtraError as error:
        return GgufMatch(reason=str(error.rule))
    equal = [ids == other for ids, other in zip(expected, found, strict=True)]
    return GgufMatch(
        measured=True,
        probes_equal=sum(equal[: len(PROBES)]),
        lines_equal=sum(equal[len(PROBES) :]),
        examples=_differing(texts, equal),
    )


def _differing(texts: list[str], equal: list[bool]) -> tuple[str, ...]:
    return tuple(t for t, same in zip(texts, equal, strict=True) if not same)[:_EXAMPLES]
