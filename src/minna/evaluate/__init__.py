"""Judging a model dir: how well it predicts text it has not seen, and beside what that stands.

`evaluate` writes a report directory, `compare` puts several beside each other and refuses what does
not compare.
"""

from minna.evaluate.comparison import Comparison, compare
from minna.evaluate.report import Report, read_report
from minna.evaluate.run import evaluate
from minna.evaluate.settings import REFERENCES, EvaluateSettings

__all__ = [
    "REFERENCES",
    "Comparison",
    "EvaluateSettings",
    "Report",
    "compare",
    "evaluate",
    "read_report",
]
