"""Where what can be made or fetched again is kept between runs: archives, built kernels."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_directory() -> Path:
    """Where archives and built kernels stay: MINNA_CACHE, else the platform's place for caches."""
    if chosen := os.environ.get("MINNA_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "minna"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "minna"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "minna"
