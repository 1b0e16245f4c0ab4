"""The emoji corpus out of packages made here: names, groups, drawings, and the terms of each."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.corpus.fake_npm import FakeNpm
from tests.corpus.made_pictures import annotations, emoji_row, package, saved, svg
from typer.testing import CliRunner

from minna import artifact
from minna.cli.corpus import app
from minna.corpus import Caption, PairSettings, build_pairs, emoji, read_pairs
from minna.corpus.emoji_groups import SERIES, group_concepts
from minna.corpus.emoji_names import key_of, key_of_file
from minna.corpus.emoji_packages import RENDERERS
from minna.corpus.pictures import open_picture
from minna.errors import DataError, MissingExtraError, UsageError

DOG, DOG_FACE, BALL, SUSHI, FACE, WAVE = "🐕️", "🐶", "⚽️", "🍣", "😀", "👋🏻"
NAMES = {
    DOG: ["イヌ", "動物", "犬"],
    DOG_FACE: ["イヌの顔", "ﾍﾟｯﾄ", "イヌの顔"],
    BALL: ["サッカー", "ボール"],
    SUSHI: ["すし"],
    FACE: ["にっこり笑う", "顔"],
}


def icons(**bodies):
    return {
        "icons.json": json.dumps(
            {
                "icons": {name: {"body": body} for name, body in bodies.items()},
                "width": 16,
                "height": 16,
            }
        ).encode()
    }


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder with all packages, each pinned."""
    folder = tmp_path / "archives"
    folder.mkdir()
    table = [
        emoji_row(FACE, "smileys-emotion", "face-smiling"),
        emoji_row(DOG_FACE, "animals-nature", "animal-mammal"),
        emoji_row(DOG, "animals-nature", "animal-mammal"),
        emoji_row("🦄", "animals-nature", "animal-mammal"),  # no name in Japanese
        emoji_row(SUSHI, "food-drink", "food-asian"),
        emoji_row(BALL, "activities", "sport"),
        emoji_row(WAVE, "people-body", "hands", skintone=1),
        emoji_row("▲", "extras-openmoji", "x"),
    ]
    webp = Image.new("RGBA", (64, 32), (0, 0, 0, 0))
    webp.paste((200, 30, 30, 255), (16, 0, 48, 32))
    made = {
        "NAMES": package(folder, "cldr-annotations-full", annotations("annotations", NAMES)),
        "DERIVED_NAMES": package(
            folder,
            "cldr-annotations-derived-full",
            annotations("annotationsDerived", {WAVE: ["手を振る: 薄い肌色", "手"]}),
        ),
        "OPENMOJI": package(
            folder,
            "openmoji",
            {
                "data/openmoji.json": json.dumps(table).encode(),
                **{
                    f"color/svg/{name}.svg": svg(colour)
                    for name, colour in (
                        ("1F436", "brown"), ("1F415", "tan"), ("1F363", "pink"), ("26BD", "black"),
                        ("1F600", "gold"), ("1F44B-1F3FB", "beige"), ("25B2", "red"), ("readme", "red"),
                    )
                },
            },
        ),
    }  # fmt: skip
    noto = icons(dog='<circle cx="8" cy="8" r="5" fill="#a52"/>', ball='<path d="M1 1h9v9z"/>')
    noto["chars.json"] = json.dumps({"1f436": "dog", "26bd": "ball", "1f363": "gone"}).encode()
    drawings = {
        "noto": package(folder, "@iconify-json/noto", noto),
        "twemoji": package(
            folder, "@twemoji/svg", {"1f436.svg": svg("blue"), "26bd.svg": b"<svg broken"}
        ),
        "fluent": package(
            folder,
            "@lobehub/fluent-emoji-3d",
            {"assets/26bd-fe0f.webp": saved(webp, "WEBP", lossless=True)},
        ),
        "apple": package(
            folder,
            "emoji-datasource-apple",
            {"img/apple/64/1f363.png": saved(Image.new("RGBA", (64, 64), "salmon"))},
        ),
    }
    for name, pin in made.items():
        monkeypatch.setattr(emoji, name, pin)
    for name, pin in (drawings | {"openmoji": made["OPENMOJI"]}).items():
        monkeypatch.setitem(RENDERERS, name, replace(RENDERERS[name], package=pin))
    return folder, [*made.values(), *drawings.values()]


def build(tmp_path, folder, **values):
    settings = PairSettings(source="emoji", path=folder, **{"workers": 1, "pixels": 32, **values})
    return build_pairs(settings=settings, out=tmp_path / "corpus")


def test_renderers_and_names_become_a_corpus(packages, tmp_path):
    report = build(tmp_path, packages[0])
    pairs = list(read_pairs(report.path, split="all"))
    assert [(pair.source, pair.concept) for pair in pairs] == [
        ("noto", "1f436"),
        ("noto", "26bd"),
        ("twemoji", "1f436"),
        ("fluent", "26bd"),
        ("openmoji", "1f436"),
        ("openmoji", "1f415"),
        ("openmoji", "1f363"),
        ("openmoji", "26bd"),
    ]
    assert report.dropped == {"undrawable": 1}
    face, dog = pairs[0], pairs[5]
    assert face.captions == (Caption("イヌの顔", "name", 1.0), Caption("ペット", "keyword", 1.0))
    assert dog.captions == (
        Caption("イヌ", "name", 1.0),
        Caption("動物", "keyword", 0.5),
        Caption("犬", "keyword", 0.5),
    )
    assert pairs[6].captions == (Caption("すし", "name", 1.0),)
    assert face.group == dog.group == "emoji-1f436" and pairs[6].group == "emoji-1f363"
    assert {pair.split for pair in pairs if pair.group == face.group} == {face.split}
    rows = pq.read_table(report.path / "data").to_pylist()
    licences = {row["source"]: row["licence"] for row in rows}
    assert licences == {
        "noto": "Apache-2.0",
        "twemoji": "CC BY 4.0",
        "fluent": "MIT",
        "openmoji": "CC BY-SA 4.0",
    }
    manifest = artifact.read_manifest(report.path)
    assert [one.source for one in manifest.licences] == ["cldr", *licences]
    assert all(one.attribution for one in manifest.licences)
    card = (report.path / "card.md").read_text(encoding="utf-8")
    assert "Noto Emoji © Google LLC" in card and "イヌの顔" in card and "Unicode-3.0" in card


def test_drawings_are_square_on_white_at_the_size_asked_for(packages, tmp_path):
    report = build(tmp_path, packages[0], pixels=48)
    images = [open_picture(pair.image) for pair in read_pairs(report.path, split="all")]
    assert all(image.size == (48, 48) for image in images)
    # a wide picture is padded, not stretched: red in the middle, white at the sides and above
    fluent = images[3]
    assert fluent.getpixel((24, 24))[0] > 150 and fluent.getpixel((24, 24))[1] < 60
    assert fluent.getpixel((2, 24)) == fluent.getpixel((24, 4)) == (255, 255, 255)
    assert all(image.getpixel((47, 0)) == (255, 255, 255) for image in images)
    colours = [image.getpixel((24, 24)) for image in images]
    assert colours[4] == (165, 42, 42)  # brown


def test_all_concepts_have_faces_and_skin_tones_too(packages, tmp_path):
    report = build(tmp_path, packages[0], concepts="all", renderers=("openmoji",))
    concepts = [pair.concept for pair in read_pairs(report.path, split="all")]
    assert concepts == ["1f600", "1f436", "1f415", "1f363", "26bd", "1f44b-1f3fb"]


def test_other_renderers_only_by_name_and_with_their_terms_said(packages, tmp_path, capsys):
    assert "apple" not in PairSettings(source="emoji").renderers
    build(tmp_path, packages[0], renderers=("openmoji",))
    assert "drawings of" not in capsys.readouterr().err
    report = build(tmp_path, packages[0], renderers=("apple",))
    told = " ".join(capsys.readouterr().err.split())
    assert "warning: drawings of apple" in told and "not licensed for commercial usage" in told
    assert [pair.source for pair in read_pairs(report.path, split="all")] == ["apple"]
    with pytest.raises(UsageError, match="did you mean 'twemoji'"):
        build(tmp_path, packages[0], renderers=("tweemoji",))
    with pytest.raises(UsageError, match="no renderer"):
        build(tmp_path, packages[0], renderers=())


def test_the_seed_moves_groups_between_splits(packages, tmp_path):
    splits = set()
    for seed in range(6):
        build(tmp_path, packages[0], seed=seed, valid=0.3, test=0.3, renderers=("openmoji",))
        pairs = list(read_pairs(tmp_path / "corpus", split="all"))
        by_group = {(pair.group, pair.split) for pair in pairs}
        assert len(by_group) == 3
        splits.add(tuple(pair.split for pair in pairs))
    assert len(splits) > 2


def test_a_second_build_needs_neither_package_nor_network(packages, tmp_path):
    assert build(tmp_path, packages[0]).state == "built"
    assert build(tmp_path, None).state == "unchanged"
    assert build(tmp_path, packages[0], pixels=33).state == "built"


def test_packages_are_fetched_through_npm_by_the_command_line(packages, tmp_path, monkeypatch):
    folder, pins = packages
    registry = FakeNpm(folder, pins)
    monkeypatch.setenv("npm_config_registry", registry.address)
    monkeypatch.setenv("MINNA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    words = [
        "build",
        "emoji",
        "--out",
        str(tmp_path / "c"),
        "--workers",
        "1",
        "pixels=32",
        "--json",
    ]
    done = CliRunner().invoke(app, words)
    registry.close()
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["sources"] == {
        "noto": 2,
        "twemoji": 1,
        "fluent": 1,
        "openmoji": 4,
    }
    asked = [one.path for one in registry.requests]
    assert len(asked) == len(set(asked)) == 12 and not any("apple" in path for path in asked)
    wrong = CliRunner().invoke(app, [*words, "--licence", "MIT"])
    assert isinstance(wrong.exception, UsageError) and "--licence" in str(wrong.exception)


def test_a_package_of_another_layout_is_told(packages, tmp_path, monkeypatch):
    folder, _ = packages
    other = package(folder, "@iconify-json/other", {"icons.json": b"[]", "chars.json": b"{}"})
    monkeypatch.setitem(RENDERERS, "noto", replace(RENDERERS["noto"], package=other))
    with pytest.raises(DataError, match="not of Iconify's layout|none of the drawings"):
        build(tmp_path, folder)
    monkeypatch.setattr(emoji, "NAMES", other)
    with pytest.raises(DataError, match="no annotations of 'ja'"):
        build(tmp_path, folder)


def test_without_resvg_the_extra_is_named(packages, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(MissingExtraError, match=r"minna\[vision\]"):
        build(tmp_path, packages[0])


# ---- keys and groups


@pytest.mark.parametrize(
    ("emoji_", "key"),
    [("🐶", "1f436"), ("⚽️", "26bd"), ("👨‍⚕️", "1f468-200d-2695"), ("1️⃣", "31-20e3")],
)
def test_a_key_has_the_code_points_without_the_style(emoji_, key):
    assert key_of(emoji_) == key
    stem = "-".join(f"{ord(point):04X}" for point in emoji_)
    assert key_of_file(stem) == key
    assert key_of_file("readme") == key_of_file("") == ""


def grouped(**concepts):
    """Names -> emoji; the groups they form."""
    table = {key_of(sequence): (name, "") for name, sequence in concepts.items()}
    groups = group_concepts(table)
    found = {}
    for name, sequence in concepts.items():
        found.setdefault(groups[key_of(sequence)], set()).add(name)
    return sorted(map(sorted, found.values()))


def test_one_thing_in_several_coats_is_one_group():
    assert grouped(イヌの顔="🐶", イヌ="🐕", 介助犬="🐕‍🦺", すし="🍣") == [
        ["すし"],
        sorted(["イヌ", "イヌの顔", "介助犬"]),
    ]
    assert grouped(閉じた錠="🔒", 開いた錠="🔓", 鍵="🔑") == [["鍵"], ["閉じた錠", "開いた錠"]]
    assert grouped(バス正面="🚍", バス="🚌", 船="🚢") == [sorted(["バス", "バス正面"]), ["船"]]
    assert grouped(手="👋", 手色="👋🏽", 走る="🏃", 走る女性="🏃🏿‍♀️") == [
        ["手", "手色"],
        ["走る", "走る女性"],
    ]
    assert grouped(男性医師="👨‍⚕️", 医師="🧑🏻‍⚕️", 女性操縦士="👩‍✈️") == [
        ["医師", "男性医師"],
        ["女性操縦士"],
    ]
    assert grouped(時="🕐", 時半="🕧", 月="🌙", 満月="🌕") == [["時", "時半"], ["月", "満月"]]


def test_flags_are_not_one_group():
    table = {
        key_of("🇯🇵"): ("旗: 日本", "country-flag"),
        key_of("🇫🇷"): ("旗: フランス", "country-flag"),
    }
    assert len(set(group_concepts(table).values())) == 2


def test_signs_are_grouped_by_their_kind():
    table = {"2b06": ("上", "arrow"), "27a1": ("右", "arrow"), "2764": ("赤いハート", "heart")}
    assert len(set(group_concepts(table).values())) == 2


def test_no_emoji_stands_in_two_series():
    every = [point for series in SERIES for point in series]
    assert len(every) == len(set(every))


@given(st.permutations([key_of(e) for line in SERIES[:12] for e in line]))
def test_groups_do_not_depend_on_the_order_but_for_their_name(keys):
    groups = group_concepts({key: (key, "") for key in keys})
    parts = {}
    for key, group in groups.items():
        parts.setdefault(group, set()).add(key)
    assert sorted(map(sorted, parts.values())) == sorted(
        sorted(map(key_of, line)) for line in SERIES[:12]
    )
    assert all(
        group == f"emoji-{next(key for key in keys if key in part)}"
        for group, part in parts.items()
    )


def test_pngs_of_a_corpus_are_whole_files(packages, tmp_path):
    report = build(tmp_path, packages[0])
    for pair in read_pairs(report.path, split="all"):
        with Image.open(io.BytesIO(pair.image)) as image:
            image.verify()
            assert image.mode == "RGB"
