"""The figures of docs/cleaning.md come from a command that runs, and prints them in that form."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    file = ROOT / "bench" / "bench_cleaning.py"
    spec = importlib.util.spec_from_file_location("bench_cleaning", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_cleaning"] = module
    spec.loader.exec_module(module)
    return module


def test_it_counts_what_is_dropped_and_masked_and_times_every_step(bench: ModuleType) -> None:
    texts = ["吾輩は猫である。", "…", "連絡はa@example.comへ。"] * 5
    found = bench.clean("made", iter(texts))
    assert found.documents == 15 and sum(map(len, found.dropped.values())) == 5
    assert found.masked == {"email": 5} and len(found.smell) == 15
    assert set(found.seconds) == set(found.bytes) == set(bench._STEPS)
    assert "| made | masked: email | 5 |  |" in bench.drops([found])
    assert bench.speeds([found]).count("MB/s") == 4


def test_the_smell_of_the_data_beside_the_project_is_the_one_in_the_docs(
    bench: ModuleType, shared_data: Path
) -> None:
    page = (ROOT / "docs" / "cleaning.md").read_text(encoding="utf-8")
    scores = bench.Cleaned(name="x", smell=[0.0])
    rows = bench.smell_table(scores, scores, data=shared_data).splitlines()
    checked = [row for row in rows if "| 1 | 0.000" not in row]
    assert len(checked) == 7
    for row in checked:
        assert row in page, row
