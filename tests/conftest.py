"""Fixtures every room shares."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch is imported: the models of the tests are tiny, and threads that wait for each other on a
# busy machine cost more than they bring.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# What is found by chance must not decide whether a change is green: `make test` draws the same
# examples every time, `make test-full` new ones (--hypothesis-profile=default).
settings.register_profile("steady", derandomize=True)
settings.load_profile("steady")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data beside the project; tests that need it skip where it is missing."""
    path = Path(os.environ.get("MINNA_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"real data not found at {path} (set MINNA_SHARED_DATA)")
    return path
