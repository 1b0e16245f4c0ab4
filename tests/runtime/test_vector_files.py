"""Vectors on disk are those that were given, in every form, and a stopped write leaves no half."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from minna.errors import UsageError
from minna.runtime.vector_files import write_vectors

VECTORS = np.random.default_rng(0).normal(size=(1203, 5)).astype(np.float32)
NAMES = [f"行 {number}" for number in range(1203)]


def batches(size=100):
    for start in range(0, len(NAMES), size):
        yield NAMES[start : start + size], VECTORS[start : start + size]


def test_each_form_gives_back_the_same(tmp_path):
    for name in ("v.npy", "v.parquet", "v.jsonl"):
        assert write_vectors(tmp_path / name, batches(), width=5, what="text") == 1203
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy", mmap_mode="r"), VECTORS)
    assert (tmp_path / "v.npy.rows.txt").read_text(encoding="utf-8").splitlines() == NAMES
    table = pq.read_table(tmp_path / "v.parquet")
    assert table["text"].to_pylist() == NAMES
    np.testing.assert_array_equal(np.array(table["vector"].to_pylist(), np.float32), VECTORS)
    rows = [json.loads(line) for line in (tmp_path / "v.jsonl").open(encoding="utf-8")]
    assert [row["text"] for row in rows] == NAMES
    np.testing.assert_array_equal(np.array([row["vector"] for row in rows], np.float32), VECTORS)


@pytest.mark.parametrize("name", ["v.npy", "v.parquet", "v.jsonl"])
def test_an_error_leaves_the_old_file(tmp_path, name):
    write_vectors(tmp_path / name, [(["a"], VECTORS[:1])], width=5, what="path")
    before = (tmp_path / name).read_bytes()

    def breaks():
        yield from batches()
        raise UsageError("stop")

    with pytest.raises(UsageError, match="stop"):
        write_vectors(tmp_path / name, breaks(), width=5, what="path")
    assert (tmp_path / name).read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"\.npz does not say"):
        write_vectors(tmp_path / "v.npz", batches(), width=5, what="text")
