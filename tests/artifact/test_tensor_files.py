"""Files of tensors are as readable as all other files that are written."""

from __future__ import annotations

import os
import stat

import torch

from minna.artifact.tensors import save_tensors


def test_everybody_whom_the_umask_lets_may_read_them(tmp_path):
    before = os.umask(0o027)
    try:
        save_tensors({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model.safetensors").stat().st_mode) == 0o640
