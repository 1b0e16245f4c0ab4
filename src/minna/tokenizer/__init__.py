"""Text to ids and back: SentencePiece driven directly, and its equal in Hugging Face format.

`train_tokenizer` makes a tokenizer directory from a corpus, `load_tokenizer` opens one (or any
model dir with a SentencePiece model in it), `audit_tokenizer` measures it on a corpus.
"""

from minna.tokenizer.audit import Audit, Held, audit_tokenizer, held_out
from minna.tokenizer.export import export_tokenizer
from minna.tokenizer.load import StreamDecoder, Tokenizer, load_tokenizer
from minna.tokenizer.match import Match, measure_match
from minna.tokenizer.settings import PRESETS, SPECIALS, Specials, TokenizerSettings
from minna.tokenizer.train import train_tokenizer

__all__ = [
    "PRESETS",
    "SPECIALS",
    "Audit",
    "Held",
    "Match",
    "Specials",
    "StreamDecoder",
    "Tokenizer",
    "TokenizerSettings",
    "audit_tokenizer",
    "export_tokenizer",
    "held_out",
    "load_tokenizer",
    "measure_match",
    "train_tokenizer",
]
