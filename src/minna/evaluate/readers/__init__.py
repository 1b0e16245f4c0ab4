"""Data sets in the formats their makers publish, a user's own rows, and copies from the Hub.

`read_data` finds a task's files, reads them strictly and gives `Splits`.
"""

from minna.evaluate.readers.read import read_data

__all__ = ["read_data"]
