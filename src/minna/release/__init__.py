"""From a model dir and its reports to a folder that can be published.

`release` writes it, `plan` says beforehand what it would hold, `push` uploads it where asked.
"""

from minna.release.build import PlannedFile, plan, release
from minna.release.hub import HubApi, PushError, PushSettings, push
from minna.release.settings import ReleaseSettings

__all__ = [
    "HubApi",
    "PlannedFile",
    "PushError",
    "PushSettings",
    "ReleaseSettings",
    "plan",
    "push",
    "release",
]
