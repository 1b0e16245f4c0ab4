"""Pure functions that turn answers, counts and likelihoods into figures: no model, no corpus.

Every figure comes with an interval, or with the reason why it has none; a comparison of two models
comes with a paired test. Only numpy is needed to import them; what a single metric needs beyond it
(MeCab, sacrebleu) is imported there.
"""

from minna.metrics.bits import bits_per_byte, document_bytes
from minna.metrics.compression import Compression, xz_bits_per_byte
from minna.metrics.interval import (
    Interval,
    mean_interval,
    ratio_interval,
    standard_error,
    statistic_interval,
)
from minna.metrics.ngram import KneserNey
from minna.metrics.paired import (
    Difference,
    holm,
    mcnemar,
    mean_difference,
    statistic_difference,
)

__all__ = [
    "Compression",
    "Difference",
    "Interval",
    "KneserNey",
    "bits_per_byte",
    "document_bytes",
    "holm",
    "mcnemar",
    "mean_difference",
    "mean_interval",
    "ratio_interval",
    "standard_error",
    "statistic_difference",
    "statistic_interval",
    "xz_bits_per_byte",
]
