"""Text to ids and back: SentencePiece driven directly, and its equal in Hugging Face format.

`train_tokenizer` makes a tokenizer directory from a corpus, `load_tokenizer` opens one (or any
model dir with a SentencePiece model in it), `audit_tokenizer` measures it on a corpus.
"""

from minna.tokenizer.audit import Audit, audit_tokenizer
from minna.tokenizer.export import export_tokenizer
from minna.tokenizer.load import StreamDecoder, Tokenizer, load_tokenizer
from minna.tokenizer.match import Match, measure_match
from minna.tokenizer.train import RINNA_SETTINGS, TokenizerSettings, train_tokenizer

__all__ = [
    "RINNA_SETTINGS",
    "Audit",
    "Match",
    "StreamDecoder",
    "Tokenizer",
    "TokenizerSettings",
    "audit_tokenizer",
    "export_tokenizer",
    "load_tokenizer",
    "measure_match",
    "train_tokenizer",
]
