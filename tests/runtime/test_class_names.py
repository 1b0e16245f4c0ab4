"""Lists of names and templates: every published form is read, and nothing is guessed."""

from __future__ import annotations

import json

import pytest

from minna.errors import DataError, UsageError
from minna.runtime.class_names import classes_of, fill, read_classes, read_templates, shared_names


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def named(classes):
    return [(one.id, one.names) for one in classes]


def test_every_form_of_a_list_is_read(tmp_path):
    aliases = [("0", ("犬", "いぬ")), ("1", ("猫",))]
    assert named(read_classes(write(tmp_path / "a.txt", "\ufeff犬, いぬ\r\n\r\n猫\r\n"))) == aliases
    assert named(read_classes(write(tmp_path / "a.json", [["犬", "いぬ"], "猫"]))) == aliases
    assert (
        named(read_classes(write(tmp_path / "b.json", {"any": [["犬", "いぬ"], "猫"]}))) == aliases
    )
    assert named(classes_of(["犬,いぬ", "猫"])) == aliases
    rows = [("n1", ("犬", "いぬ")), ("n2", ("猫",))]
    assert named(read_classes(write(tmp_path / "a.tsv", "n1\t犬,いぬ\nn2\t猫\n"))) == rows
    assert (
        named(read_classes(write(tmp_path / "c.json", {"n1": ["犬", "いぬ"], "n2": "猫"}))) == rows
    )


def test_commas_within_a_name_of_json_stay(tmp_path):
    (first, _) = read_classes(write(tmp_path / "a.json", ["シーズー、シーズー, 犬", "猫"]))
    assert first.names == ("シーズー、シーズー, 犬",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("犬\n", "has 1"),
        ("", "has 0"),
        ("n1\t犬\nn1\t猫\n", "'n1' stands twice"),
        ("n1\t犬\textra\nn2\t猫\t\n", "3 columns"),
        ("n1\t犬\n猫\n", "line 2"),
        ("n1\t犬\nn2\t , \n", "line 2 .*'n2' has no name"),
    ],
)
def test_a_list_that_does_not_say_it_clearly_is_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_classes(write(tmp_path / "names.tsv", content))


def test_json_that_is_no_list_of_names_is_refused(tmp_path):
    for content in ("[1, 2", '["犬", 3]', '"犬"', '{"a": {"b": 1}, "c": "d"}'):
        with pytest.raises(DataError):
            read_classes(write(tmp_path / "names.json", content))
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        read_classes(tmp_path / "bytes.txt")
    with pytest.raises(UsageError, match="does not exist"):
        read_classes(tmp_path / "missing.txt")


def test_names_of_several_classes_are_told(tmp_path):
    classes = read_classes(write(tmp_path / "a.tsv", "a\tクレーン\nb\tクレーン,鶴\nc\t犬\n"))
    assert shared_names(classes) == {"クレーン": ("a", "b")}


def test_our_own_templates_have_a_slot_each_and_differ():
    for choice, count in (("drawings", 10), ("photos", 12)):
        texts = read_templates(choice).texts
        assert len(set(texts)) == len(texts) == count
        assert all(text.count("{}") == 1 for text in texts)
        assert fill(texts[0], "犬\\1 {}").count("犬\\1 {}") == 1
    assert read_templates("none").texts == ("{}",)


def test_templates_of_a_file_may_be_lines_or_json_with_either_slot(tmp_path):
    assert read_templates(str(write(tmp_path / "t.txt", "{}の絵\n\n赤い{}\n"))).texts == (
        "{}の絵",
        "赤い{}",
    )
    found = read_templates(str(write(tmp_path / "t.json", {"set": ["{c}の写真"]})))
    assert (found.title, fill(found.texts[0], "犬")) == ("t", "犬の写真")


def test_a_template_without_a_slot_is_named(tmp_path):
    file = write(tmp_path / "t.txt", "{}の絵\n\n犬の絵\n")
    with pytest.raises(DataError, match="template 2 .*'犬の絵'") as raised:
        read_templates(str(file))
    assert "{}" in raised.value.remedy
    with pytest.raises(DataError, match="no template"):
        read_templates(str(write(tmp_path / "empty.txt", "\n")))
    with pytest.raises(UsageError, match="'drawing'"):
        read_templates("drawing")


def test_the_papers_names_and_templates_are_read_whole(shared_data):
    folder = shared_data / "imagenet-ja"
    classes = read_classes(folder / "jp_classnames.json")
    assert len(classes) == 1000
    assert len(shared_names(classes)) == 9  # 18 classes that nobody can tell apart
    assert {len(ids) for ids in shared_names(classes).values()} == {2}
    assert (
        len(read_templates(str(folder / "jp_zeroshot_classification_templates.json")).texts) == 37
    )
    tiny = read_classes(shared_data / "tiny-imagenet" / "classes.ja.tsv")
    assert len(tiny) == 200
    assert all(one.id.startswith("n") for one in tiny)
