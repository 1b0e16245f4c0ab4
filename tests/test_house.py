"""The house itself: no file too long, nothing that should not be in the repository."""

from __future__ import annotations

import re
import subprocess

from tests.conftest import ROOT


def tracked():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in done.stdout.splitlines()]


def test_no_source_file_is_over_the_ceiling():
    for file in tracked():
        if file.suffix == ".py" and "src" in file.parts:
            lines = file.read_text(encoding="utf-8").count("\n")
            assert lines <= 600, f"{file} has {lines} lines"


def test_no_pickle_and_no_remote_code():
    forbidden = re.compile(
        r"pickle\.loads?\(|trust_remote_code\s*=\s*True|weights_only\s*=\s*False"
    )
    for file in tracked():
        if file.suffix == ".py" and "src" in file.parts:
            assert not forbidden.search(file.read_text(encoding="utf-8")), file


def test_every_room_says_why_it_is_there():
    for file in tracked():
        if file.suffix == ".py" and "src" in file.parts:
            assert file.read_text(encoding="utf-8").lstrip().startswith(('"""', 'r"""')), file
