"""Pure functions that turn counts and likelihoods into figures: no model, no corpus, only numpy.

Every figure comes with an interval, or with the reason why it has none.
"""

from minna.metrics.bits import bits_per_byte, document_bytes
from minna.metrics.compression import Compression, xz_bits_per_byte
from minna.metrics.interval import Interval, ratio_interval
from minna.metrics.ngram import KneserNey

__all__ = [
    "Compression",
    "Interval",
    "KneserNey",
    "bits_per_byte",
    "document_bytes",
    "ratio_interval",
    "xz_bits_per_byte",
]
