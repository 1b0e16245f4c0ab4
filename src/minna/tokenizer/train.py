"""Learn a vocabulary from a corpus and write a tokenizer directory.

The default (BPE, byte fallback, identity, no space in front) is the one setting with byte fallback
whose ids are equal in SentencePiece, tokenizer.json and GGUF (8 of 8 hard strings; with a space in
front, 7). Text is normalised once, in the corpus. On Tatoeba: 4.94 held-out bytes per token at 4k
pieces and 5.94 at 8k, against unigram's 4.88 and 5.84.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from minna import artifact
from minna.artifact.atomic import Draft
from minna.artifact.files import replace_file, write_text_atomically
from minna.console import say, warn
from minna.errors import DataError
from minna.tokenizer.export import SPACE, export_tokenizer
from minna.tokenizer.match import LINES, Match, measure_match
from minna.tokenizer.proto import snap_scores
from minna.tokenizer.sample import MAX_LINE_BYTES, Sample, draw_sample

# SentencePiece splits its sums by thread and writes the number into the model: another number of
# threads is another file. It is a constant, so that every machine makes the same bytes.
_THREADS = 4
# SentencePiece adds unigram scores in 32 bits, `tokenizers` in 64: a line of dashes, all ties, came
# out differently in 439 of 32,697 lines of Aozora Bunko and a tenth of its works. On this grid sums
# are exact in both up to 262,144 (some 30,000 tokens): no line and no work differs any more, for
# 1,745,765 tokens instead of 1,745,782.
_SCORE_STEP = 2.0**-6
_TOO_LARGE = re.compile(r"Vocabulary size too high .*value <= (\d+)")
_TOO_SMALL = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TokenizerSettings:
    """Everything that decides a vocabulary: minna's by default, rinna's in RINNA_SETTINGS."""

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


RINNA_SETTINGS = TokenizerSettings(
    kind="unigram",
    vocab_size=32_000,
    normalisation="nmt_nfkc",
    byte_fallback=False,
    dummy_prefix=True,
    fold_spaces=True,
)
"""What google_sp.model, the tokenizer of japanese-gpt2-* and -roberta-base, was trained with."""


def train_tokenizer(corpus: Path, *, out: Path, settings: TokenizerSettings) -> Path:
    """Train on the split "train" of `corpus` and write the tokenizer directory `out`.

    Raises:
        DataError: an empty split, a vocabulary the text cannot fill or too small for its
            characters, or (never seen) a BPE export whose ids differ from SentencePiece's.
        ArtifactError: `corpus` is not a corpus, or `out` holds something else.
    """
    from minna.corpus.read import text_batches  # brings pyarrow

    parent = artifact.parent_of(corpus, role="corpus", kind="corpus")
    values = dataclasses.asdict(settings)
    if artifact.unchanged(out, key=artifact.key_of("tokenizer", settings=values, parents=[parent])):
        say(f"{out} is already the tokenizer of these settings and this corpus; nothing to do")
        return out
    with artifact.writing(out, kind="tokenizer", settings=values, parents=[parent]) as draft:
        batches = (texts for texts, _ in text_batches(corpus, split="train"))
        sample = draw_sample(batches, limit_bytes=settings.sample_bytes, seed=settings.seed)
        if not sample.lines:
            raise DataError(
                f'the split "train" of {corpus} holds no text ({sample.documents} documents)',
                remedy="build the corpus again with documents in that split",
            )
        model = draft.path / "tokenizer.model"
        with replace_file(model) as file:
            file.write(train_model(sample.lines, settings=settings))
        export_tokenizer(model, out=draft.path)
        match = measure_match(draft.path, lines=_spread(sample.lines, LINES))
        _judge(match, settings)
        text = json.dumps(match.as_json(), ensure_ascii=False, indent=1)
        write_text_atomically(draft.path / "match.json", text + "\n")
        _count(draft, sample, match, settings)
        draft.licences = list(artifact.read_manifest(corpus).licences)
    return out


def train_model(lines: list[str], *, settings: TokenizerSettings) -> bytes:
    """Train on lines of at most MAX_LINE_BYTES bytes and return the bytes of the `.model` file.

    Raises:
        DataError: the vocabulary does not fit the text.
    """
    from sentencepiece import SentencePieceTrainer

    written = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=written,
            model_type=settings.kind,
            vocab_size=settings.vocab_size,
            character_coverage=settings.character_coverage,
            normalization_rule_name=settings.normalisation,
            byte_fallback=settings.byte_fallback,
            add_dummy_prefix=settings.dummy_prefix,
            remove_extra_whitespaces=settings.fold_spaces,
            split_digits=settings.split_digits,
            max_sentence_length=MAX_LINE_BYTES,
            # Japanese corpora may hold no space at all; as three bytes it would come back as U+2581
            required_chars=SPACE,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=3,
            num_threads=_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _explain(error, settings) from error
    model = written.getvalue()
    return snap_scores(model, step=_SCORE_STEP) if settings.kind == "unigram" else model


def _explain(error: RuntimeError, settings: TokenizerSettings) -> DataError:
    message = str(error)
    if found := _TOO_LARGE.search(message):
        return DataError(
            f"this text fills at most {found[1]} pieces, and vocab_size is {settings.vocab_size}",
            remedy=f"use --vocab-size {found[1]} or less, or a larger corpus",
        )
    if found := _TOO_SMALL.search(message):
        return DataError(
            f"this text needs at least {found[1]} pieces for its characters"
            f"{' and the 256 bytes' if settings.byte_fallback else ''}, "
            f"and vocab_size is {settings.vocab_size}",
            remedy=f"use --vocab-size {int(found[1]) + 1} or more, or a lower character_coverage",
        )
    return DataError(
        f"SentencePiece could not train on this text: {message}",
        remedy="check the corpus with `minna corpus cat`",
    )


def _judge(match: Match, settings: TokenizerSettings) -> None:
    if not match.differing:
        return
    said = (
        f"tokenizer.json gives other ids than tokenizer.model for {match.differing} of "
        f"{match.probes + match.lines} strings, such as {match.examples[0]!r}"
    )
    remedy = "use the .model file, as minna does, or the default settings"
    if settings == dataclasses.replace(
        TokenizerSettings(),
        vocab_size=settings.vocab_size,
        character_coverage=settings.character_coverage,
        sample_bytes=settings.sample_bytes,
        seed=settings.seed,
        split_digits=settings.split_digits,
    ):
        raise DataError(said, remedy=remedy)
    warn(f"{said} (match rate {match.rate:.2%}); {remedy}")


def _count(draft: Draft, sample: Sample, match: Match, settings: TokenizerSettings) -> None:
    draft.count("vocab_size", settings.vocab_size, "pieces")
    draft.count("documents", sample.documents, "documents")
    draft.count("corpus_bytes", sample.corpus_bytes, "bytes")
    draft.count("sampled_bytes", sample.sampled_bytes, "bytes")
    draft.count("sampled_lines", len(sample.lines), "lines")
    draft.count("match_rate", match.rate, "of probe strings and corpus lines")


def _spread(lines: list[str], count: int) -> list[str]:
    """`count` lines at even distances (all of them, when there are fewer)."""
    if len(lines) <= count:
        return lines
    return [lines[i * len(lines) // count] for i in range(count)]
