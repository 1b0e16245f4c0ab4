"""Copies, repeated lines, evaluation data: what is taken out of documents and between them."""

import itertools
import random

import numpy as np
import pytest

from minna.corpus import BuildSettings, build, texts
from minna.corpus.contamination import collect_items
from minna.corpus.minhash import (
    BINS,
    band_hashes,
    candidate_pairs,
    signatures,
    similarity,
    stored,
)
from minna.corpus.points import folded, grams, lines, points
from minna.corpus.settings import ContaminationSettings, DedupSettings
from minna.corpus.sources import open_source
from minna.errors import DataError, UsageError

WORDS = [
    "山",
    "川",
    "海の",
    "空を",
    "見る",
    "歩く",
    "静かな",
    "朝",
    "夜に",
    "人が",
    "話した",
    "、",
    "。",
]


def prose(seed: int, words: int = 150) -> str:
    random_ = random.Random(seed)
    return "".join(random_.choice(WORDS) for _ in range(words))


def built(tmp_path, rows: list[str], **settings):
    import json

    file = tmp_path / "rows.jsonl"
    file.write_text(
        "".join(json.dumps({"text": row}, ensure_ascii=False) + "\n" for row in rows),
        encoding="utf-8",
    )
    chosen = BuildSettings(source="local", path=file, workers=1, **settings)
    report = build(open_source(chosen), out=tmp_path / "corpus", settings=chosen)
    return report, list(texts(tmp_path / "corpus", split="all"))


def shingles(text: str, n: int = 5) -> set[bytes]:
    codes = folded(points([text])).codes
    return {codes[i : i + n].tobytes() for i in range(len(codes) - n + 1)}


def test_n_gram_hashes_stay_inside_documents_and_equal_n_grams_have_equal_hashes():
    batch = ["あいうえおか", "いうえ", "", "xあいうえお"]
    for n in (1, 2, 3, 5):
        found = [
            (int(h), int(d))
            for hs, ds, _ in grams(points(batch), n)
            for h, d in zip(hs, ds, strict=True)
        ]
        expected = [
            (text[i : i + n], d) for d, text in enumerate(batch) for i in range(len(text) - n + 1)
        ]
        assert [d for _, d in found] == [d for _, d in expected]
        by_hash = {}
        for (value, _), (gram, _) in zip(found, expected, strict=True):
            assert by_hash.setdefault(value, gram) == gram
        assert len(by_hash) == len({gram for gram, _ in expected})


def test_windows_over_a_long_batch_give_the_same_n_grams(monkeypatch):
    batch = points([prose(1), prose(2), "あ", prose(3)])
    whole = np.concatenate([h for h, _, _ in grams(batch, 5)])
    monkeypatch.setattr("minna.corpus.points.WINDOW", 37)
    assert np.array_equal(np.concatenate([h for h, _, _ in grams(batch, 5)]), whole)
    assert np.array_equal(
        signatures(batch, n=5), np.concatenate([signatures(points([t]), n=5) for t in
        [prose(1), prose(2), "あ", prose(3)]])
    )  # fmt: skip


def test_lines_are_found_with_their_places_and_equal_ones_have_equal_hashes():
    batch = ["一\n二\n\n一", "", "\n二", "一"]
    found = lines(points(batch))
    joined = "".join(batch)
    shown = [joined[a:b] for a, b in zip(found.starts, found.stops, strict=True)]
    assert shown == ["一", "二", "一", "二", "一"]
    assert found.documents.tolist() == [0, 0, 0, 2, 3]
    assert len(set(found.hashes.tolist())) == 2
    assert found.hashes[0] == found.hashes[2] == found.hashes[4]


def test_folding_hides_width_case_kana_and_punctuation():
    same = ["カタカナ、ABC 123！", "かたかなａｂｃ１２３", "か た か な (abc) 1,2,3"]
    codes = [folded(points([text])).codes.tolist() for text in same]
    assert codes[0] == codes[1] == codes[2]


def test_the_similarity_of_signatures_is_that_of_the_n_grams():
    errors = []
    for seed in range(60):
        text = prose(seed)
        letters = list(text)
        for place in random.Random(seed).sample(range(len(text)), k=seed // 3):
            letters[place] = "※" if seed % 2 else "雪"
        other = "".join(letters)
        true = len(shingles(text) & shingles(other)) / len(shingles(text) | shingles(other))
        signed = stored(signatures(folded(points([text, other])), n=5))
        errors.append(similarity(signed[:1], signed[1:])[0] - true)
    # standard error sqrt(J (1 - J) / 128), 0.044 at most; over 60 pairs the mean error is 0.006
    assert abs(np.mean(errors)) < 0.02
    assert np.sqrt(np.mean(np.square(errors))) < 0.06


@pytest.mark.parametrize("words", [12, 40, 400])
def test_documents_of_any_length_that_are_alike_share_a_band(words):
    """Expected: 1 - (1 - 0.85^6)^21 = 99.97 % of pairs at a similarity of 0.85."""
    missed = tried = 0
    for seed in range(300):
        text = prose(seed, words)
        at = len(text) // 2
        changed = text[:at] + "雪" + text[at + 1 :] if words > 12 else text + "雪"
        true = len(shingles(text) & shingles(changed)) / len(shingles(text) | shingles(changed))
        if true < 0.85:
            continue
        tried += 1
        bands = band_hashes(signatures(folded(points([text, changed])), n=5), bands=21, rows=6)
        missed += not (bands[0] == bands[1]).any()
    assert tried > 50
    assert missed <= 1 + 0.01 * tried


def test_different_documents_hardly_ever_share_a_band():
    batch = points([prose(seed) for seed in range(200)])
    bands = band_hashes(signatures(batch, n=5), bands=21, rows=6)
    assert sum(len(candidate_pairs(bands[:, b])) for b in range(21)) < 20


def test_candidate_pairs_come_from_equal_bands_the_earlier_document_first():
    bands = np.array([7, 0, 9, 7, 0, 7, 9], dtype=np.uint64)
    assert candidate_pairs(bands).tolist() == [[0, 3], [0, 5], [2, 6], [3, 5]]
    assert candidate_pairs(np.zeros(4, np.uint64)).shape == (0, 2)


def test_a_signature_must_hold_the_bands():
    signed = signatures(points([prose(1)]), n=5)
    assert signed.shape == (1, BINS)
    with pytest.raises(ValueError, match="144 bins"):
        band_hashes(signed, bands=24, rows=6)


def test_near_copies_go_and_what_is_like_a_dropped_one_alone_stays(tmp_path):
    text = prose(1, 200)
    chain = [text]
    for step in range(1, 6):  # each a little further from the first
        letters = list(chain[-1])
        for place in range(step * 7, len(letters), len(letters) // 7):
            letters[place] = "雪月花鳥風"[step - 1]
        chain.append("".join(letters))
    alike = [
        [len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b)) for b in chain]
        for a in chain
    ]
    kept: list[int] = []
    for number in range(len(chain)):
        if all(alike[number][earlier] < 0.8 for earlier in kept):
            kept.append(number)
    assert 1 < len(kept) < len(chain)  # else the chain tests nothing
    report, documents = built(tmp_path, [*chain, prose(2)])
    assert [d.text for d in documents] == [chain[number] for number in kept] + [prose(2)]
    assert report.dropped == {"near_duplicate": len(chain) - len(kept)}
    group = dict(zip(kept, [d.group for d in documents], strict=False))
    for one, other in itertools.combinations(kept, 2):  # linked directly, or through others
        links = [n for n in range(one, other) if alike[n][n + 1] >= 0.8]
        assert (group[one] == group[other]) == (len(links) == other - one)


def test_near_copies_may_be_kept_together_or_not_looked_for(tmp_path):
    text = prose(1)
    rows = [text, text + "終わり。", prose(2), text]
    report, documents = built(tmp_path / "a", rows, dedup=DedupSettings(near="group"))
    assert report.dropped == {"duplicate": 1}
    assert documents[0].group == documents[1].group != documents[2].group
    report, documents = built(tmp_path / "b", rows, dedup=DedupSettings(near="off"))
    assert report.dropped == {"duplicate": 1}
    assert len({d.group for d in documents}) == 3


@pytest.fixture(autouse=True)
def _folders(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()


def test_short_texts_are_not_compared(tmp_path):
    rows = ["誕生日おめでとうございます、田中さん。", "誕生日おめでとうございます、田中君。"]
    report, _ = built(tmp_path, rows)
    assert report.dropped == {}


def test_boilerplate_lines_go_and_a_document_of_nothing_else_is_dropped_for_it(tmp_path):
    menu = "ホーム｜会社案内｜お問い合わせはこちら"
    rows = [f"{menu}\n{prose(seed, 30)}\n続きを読む" for seed in range(40)]
    rows.append(f"{menu}\n{menu}")
    report, documents = built(tmp_path, rows, dedup=DedupSettings(boilerplate_documents=30))
    assert report.lines_removed == {"boilerplate": 42}
    assert report.dropped == {"boilerplate": 1}
    assert all(menu not in d.text for d in documents)
    assert all("続きを読む" in d.text for d in documents)  # under eight characters: it stays
    off = DedupSettings(boilerplate_documents=0)
    report, _ = built(tmp_path / "a", rows, dedup=off)
    assert report.lines_removed == {}


def test_repeated_paragraphs_stay_where_they_were_first(tmp_path):
    quoted = prose(9, 40)
    rows = [f"{prose(seed, 60)}\n{quoted}\n{prose(seed + 50, 60)}" for seed in range(4)]
    settings = DedupSettings(paragraph_characters=60)
    report, documents = built(tmp_path, rows, dedup=settings)
    assert report.lines_removed == {"repeated_paragraph": 3}
    assert [quoted in d.text for d in documents] == [True, False, False, False]
    report, documents = built(tmp_path / "a", rows)
    assert all(quoted in d.text for d in documents)


def test_a_paragraph_is_kept_by_a_document_that_stays_and_copies_go_whole(tmp_path):
    quoted = prose(9, 40)
    good = [f"{prose(seed, 60)}\n{quoted}\n{prose(seed + 50, 60)}" for seed in range(2)]
    spam = f"{quoted}\n" + "★☆" * 400
    settings = DedupSettings(paragraph_characters=60)
    rows = [spam, good[0], good[0], good[0] + "\n終わりです。", good[1]]
    report, documents = built(tmp_path, rows, dedup=settings)
    assert report.dropped == {"symbols": 1, "duplicate": 1, "near_duplicate": 1}
    assert [quoted in d.text for d in documents] == [True, False]


def test_a_copy_that_was_dropped_early_still_links_groups(tmp_path):
    import json

    file = tmp_path / "rows.jsonl"
    text = ["猫が庭で鳴いています。", "犬が家で寝ています。", "鳥が空を飛んでいます。"]
    pairs = [("A.", text[0]), ("B.", text[0]), ("B.", text[1]), ("C.", text[2])]
    lines = [
        json.dumps({"translation": {"en": en, "ja": ja}}, ensure_ascii=False) for en, ja in pairs
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = BuildSettings(source="pairs", path=file, workers=1)
    build(open_source(settings), out=tmp_path / "corpus", settings=settings)
    groups = {d.text: d.group for d in texts(tmp_path / "corpus", split="all")}
    assert groups[text[0]] == groups[text[1]] != groups[text[2]]


def test_readings_follow_their_lines_and_leave_with_them():
    from minna.corpus.passes.clean import _moved, _placed

    before = "行を読む\n\n消える行と山\n山に行った。山だ。"
    told = [
        ("", "行", "ぎょう"),
        ("消える", "行", "くだり"),
        ("行と", "山", "ごみ"),
        ("", "山", "やま"),
        ("に行った。", "山", "サン"),
    ]
    readings = [dict(zip(("before", "base", "reading"), row, strict=True)) for row in told]
    placed = _placed(readings, before)
    assert [(r["reading"], r["start"]) for r in placed] == [
        ("ぎょう", 0), ("くだり", 9), ("ごみ", 11), ("やま", 13), ("サン", 19),
    ]  # fmt: skip
    after = "行を読む\n\n山に行った。山だ。"
    moved = _moved(placed, before, after)
    assert [(r["reading"], r["start"]) for r in moved] == [("ぎょう", 0), ("やま", 6), ("サン", 12)]
    assert all(after[r["start"] :].startswith(r["base"]) for r in moved)
    lost = _placed(
        [readings[0], {"before": "無い", "base": "行", "reading": "x"}, readings[3]], before
    )
    assert [r["reading"] for r in lost] == ["ぎょう", "やま"]


def test_what_all_questions_begin_with_is_no_evidence(tmp_path):
    file = tmp_path / "q.jsonl"
    head = "次の文章を読んで、続く質問にできるだけ短い言葉で答えてください。"
    asked = [f"{head}{prose(seed, 20)}" for seed in range(50)]
    file.write_text("".join(f'{{"q": "{text}"}}\n' for text in asked * 2), encoding="utf-8")
    items, told = collect_items((file,), n=16)
    assert told["items"] == 50
    found = [
        len(items.find(folded(points([text])), n=16, overlap=0.5)) > 0
        for text in (head + "別の話です。", asked[7], prose(7, 20))
    ]
    assert found == [False, True, True]


def test_evaluation_files_are_read_as_they_are(tmp_path):
    long = "長い文章です。" * 30_000
    (tmp_path / "a.jsonl").write_text(
        '{"q": "行の区切り\u2028を含む長い長い文字列です"}\n', encoding="utf-8"
    )
    (tmp_path / "b.tsv").write_text(
        f'1\t"閉じない引用符の文章がここにあります\t{long}\n', encoding="utf-8"
    )
    assert collect_items((tmp_path,), n=16)[1]["items"] == 3
    (tmp_path / "c.csv").write_text(f"1,{long}\n", encoding="utf-8")
    assert collect_items((tmp_path,), n=16)[1]["items"] == 3  # the same text again
    (tmp_path / "d.json").write_text("[" * 5000 + "]" * 5000, encoding="utf-8")
    with pytest.raises(DataError, match=r"d\.json.* cannot be read"):
        collect_items((tmp_path,), n=16)


def test_evaluation_data_without_any_text_is_an_error(tmp_path):
    (tmp_path / "q.json").write_text("[1, NaN]", encoding="utf-8")
    settings = ContaminationSettings(against=(tmp_path / "q.json",))
    with pytest.raises(DataError, match="1 files without any text"):
        built(tmp_path, [prose(1)], contamination=settings)


def test_a_corpus_is_not_written_into_its_own_source(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text(prose(1), encoding="utf-8")
    settings = BuildSettings(source="local", path=tmp_path / "in")
    with pytest.raises(UsageError, match="inside"):
        build(open_source(settings), out=tmp_path / "in" / "out", settings=settings)


def test_edited_evaluation_data_is_read_again_in_the_same_process(tmp_path):
    file = tmp_path / "q.txt"
    rows = [f"{prose(1)}\n{'甲乙丙丁' * 8}", f"{prose(2)}\n{'春夏秋冬' * 8}"]
    for content in ("甲乙丙丁" * 8, "春夏秋冬" * 8):
        file.write_text(content, encoding="utf-8")
        _, documents = built(tmp_path, rows, contamination=ContaminationSettings(against=(file,)))
        assert all(content not in d.text for d in documents)
        assert sum("甲乙" in d.text or "春夏" in d.text for d in documents) == 1


def test_evaluation_texts_leave_their_line_and_a_third_of_one_stays(tmp_path):
    question = "日本の中部地方にある県で富士山の南側に広がり、お茶の栽培で知られているのはどこか。"
    folder = tmp_path / "judge"
    folder.mkdir()
    (folder / "valid.tsv").write_text(f"id\tquestion\n1\t{question}\n2\t短い\n", encoding="utf-8")
    (folder / "other.json").write_text(
        '{"a": ["無関係な長い文をここに置いておきます。"]}', encoding="utf-8"
    )
    hidden = question.replace("、", " ，").replace("お茶", "オ茶")
    rows = [
        f"{prose(1, 40)}\n問題：{hidden}\n{prose(2, 40)}",
        f"{prose(3, 40)}\n{question[:15]}とは別の話\n{prose(4, 40)}",
        question,
    ]
    settings = ContaminationSettings(against=(folder,))
    report, documents = built(tmp_path, rows, contamination=settings)
    assert report.dropped == {"contaminated": 1}
    assert report.lines_removed == {"contaminated": 2}
    assert documents[0].text == f"{prose(1, 40)}\n{prose(2, 40)}"
    assert documents[1].text == rows[1]


def test_the_evaluation_data_is_part_of_what_makes_a_corpus(tmp_path):
    file = tmp_path / "q.txt"
    rows = [prose(seed) for seed in range(3)]
    for state, content in (("built", "甲" * 30), ("unchanged", "甲" * 30), ("built", "乙" * 30)):
        file.write_text(content, encoding="utf-8")
        report, _ = built(tmp_path, rows, contamination=ContaminationSettings(against=(file,)))
        assert report.state == state


def test_evaluation_data_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        collect_items((tmp_path / "missing",), n=16)
    (tmp_path / "picture.png").write_bytes(b"png")
    with pytest.raises(DataError, match=r"1 files"):
        collect_items((tmp_path / "picture.png",), n=16)
    (tmp_path / "broken.jsonl").write_text('{"a": 1}\n{"a": \n', encoding="utf-8")
    with pytest.raises(DataError, match="line 2"):
        collect_items((tmp_path / "broken.jsonl",), n=16)


def test_items_come_from_every_format(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    strings = [f"これは評価のための{kind}の文章です、長いです。" for kind in "甲乙丙丁"]
    (tmp_path / "a.csv").write_text(f'x,"{strings[0]}"\n', encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(f'{{"q": {{"t": "{strings[1]}"}}}}\n', encoding="utf-8")
    pq.write_table(pa.table({"t": [strings[2]], "c": [[strings[3]]]}), tmp_path / "c.parquet")
    items, told = collect_items((tmp_path,), n=16)
    assert told["items"] == 4
    for number, text in enumerate(
        itertools.chain(strings, ["これは評価とは関わりのない文章です、長いです。"])
    ):
        assert bool(len(items.find(folded(points([text])), n=16, overlap=0.5))) == (number < 4)
