"""Terms of weights from elsewhere: read from a model dir, kept in a run, told apart by kind."""

from __future__ import annotations

import pytest

from minna.artifact.terms import Terms, fingerprint, keep_terms, kept_terms, read_terms, stays
from minna.errors import DataError


def model_dir(folder, front, **texts):
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "README.md").write_text(f"---\n{front}\n---\n# Model\n", encoding="utf-8")
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("front", "licence"),
    [
        ("license: apache-2.0", "apache-2.0"),
        ("license: llama2", "llama2"),
        ("license: other\nlicense_name: tongyi-qianwen-license-agreement", "tongyi-qianwen"),
        ("license: other", "other"),
        ("language: ja", ""),
        ("license: CC-BY-SA-4.0", "cc-by-sa-4.0"),
    ],
)
def test_the_licence_is_what_the_card_names(front, licence, tmp_path):
    assert read_terms(model_dir(tmp_path / "m", front)).licence == licence


def test_only_some_licences_stay():
    assert [stays(name) for name in ("llama2", "Llama3.1", "gemma", "gpl-3.0")] == [
        "llama2",
        "llama3.1",
        "gemma",
        "gpl-3.0",
    ]
    assert not any(stays(name) for name in ("apache-2.0", "mit", "cc-by-4.0", "bsd-3-clause", ""))


def test_texts_are_found_kept_and_come_back_without_the_model_dir(tmp_path):
    base = model_dir(
        tmp_path / "m",
        "license: llama2",
        LICENSE__txt="agreement",
        Notice="noted",
        USE_POLICY__md="no",
    )
    (base / "notice_of_a_gigabyte").write_bytes(b"x" * 1_000_001)
    found = read_terms(base)
    assert found.texts == {"LICENSE.txt": "agreement", "Notice": "noted", "USE_POLICY.md": "no"}
    assert (found.text_of("licen"), found.text_of("notice")) == ("agreement", "noted")
    (tmp_path / "run").mkdir()
    assert kept_terms(tmp_path / "run") == Terms()
    keep_terms(found, tmp_path / "run")
    assert kept_terms(tmp_path / "run") == found


def test_a_damaged_card_is_named(tmp_path):
    base = model_dir(tmp_path / "m", "license: [unclosed")
    with pytest.raises(DataError, match=r"front matter of .*README\.md cannot be read"):
        read_terms(base)


def test_a_fingerprint_tells_weights_apart_wherever_they_differ(tmp_path):
    base = model_dir(tmp_path / "m", "license: mit")
    file = base / "model.safetensors"
    content = bytearray(3_000_000)
    file.write_bytes(content)
    before = fingerprint(base)
    assert fingerprint(base) == before
    content[1_499_999] = 1  # of 16 blocks of 64 KiB one holds the middle
    content[-1] = 1
    file.write_bytes(content)
    assert fingerprint(base) != before
