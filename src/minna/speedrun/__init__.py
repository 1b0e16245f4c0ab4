"""The yardstick of speed: quality reached in a given time, on text that never changes.

Tokens per second say nothing of a change that learns more from each token, and steps nothing of one
that makes them slower. `run_track` trains a recipe for exactly the track's minutes and scores what
came out; `compare` ranks such records.
"""

from minna.speedrun.record import Record, read_record
from minna.speedrun.run import Call, run_track
from minna.speedrun.table import Standing, compare
from minna.speedrun.track import Track, load, names, resolved, source

__all__ = [
    "Call",
    "Record",
    "Standing",
    "Track",
    "compare",
    "load",
    "names",
    "read_record",
    "resolved",
    "run_track",
    "source",
]
