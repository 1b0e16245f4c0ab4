"""Precision and recall of de-duplication, decontamination and masking on planted documents.

Into pieces of novels (../shared/data/aozora) are planted: exact copies that differ in spacing and
width; copies with 0 to 10 % of their characters changed, whose true similarity is computed from
their n-grams; personal data in all the ways people write it, and look-alikes (dates, prices, ISBN);
evaluation questions (../shared/data/jglue), and as decoys a third of one. Everything is then built
with `corpus build` and its defaults, and what it found is compared with what was planted.

    python bench/bench_planted.py [--each 1000] [--data ../shared/data]
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(kw_only=True)
class Planted:
    """Documents to build from, and what is true of them.

    Attributes:
        rows: name -> text, in the order of the source.
        alike: name of a near copy -> its true similarity to the original.
        personal: name -> (kind, the string that must go).
        innocent: name -> the string that must stay.
        leaked: name -> the evaluation text in it.
        decoys: name -> the part of one.
    """

    rows: dict[str, str] = field(default_factory=dict)
    alike: dict[str, float] = field(default_factory=dict)
    personal: dict[str, tuple[str, str]] = field(default_factory=dict)
    innocent: dict[str, str] = field(default_factory=dict)
    leaked: dict[str, str] = field(default_factory=dict)
    decoys: dict[str, str] = field(default_factory=dict)


def main() -> None:
    """Plant, build, compare, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--each", type=int, default=1000, help="planted documents of each sort")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(measure(Path(folder), data=options.data, each=options.each))


def measure(folder: Path, *, data: Path, each: int) -> str:
    """Plant `each` documents of every sort, build, and return the table."""
    planted = plant(data, each=each)
    source, questions = folder / "text.jsonl", folder / "questions.jsonl"
    _write_lines(source, planted.rows.values(), key="text")
    _write_lines(questions, planted.leaked.values(), key="question")
    kept = build_from(source, questions, folder / "corpus")
    rows = [
        ("exact copies", *copies(planted, kept)),
        ("near copies (similarity 0.8 or more)", *near_copies(planted, kept)),
        *personal_data(planted, kept),
        ("evaluation texts", *leaks(planted, kept)),
    ]
    lines = ["| planted | number | found | wrongly found | precision | recall |"]
    lines.append("|---|---|---|---|---|---|")
    for name, number, found, wrong in rows:
        recall = found / max(1, number)
        measured = wrong is not None
        precision = f"{found / max(1, found + wrong):.3f}" if measured else "-"
        shown = wrong if measured else "-"
        lines.append(f"| {name} | {number} | {found} | {shown} | {precision} | {recall:.3f} |")
    return "\n".join(lines)


def plant(data: Path, *, each: int) -> Planted:
    """Make the documents. All base pieces differ from each other."""
    random_ = random.Random(0)
    result = Planted()
    base = iter(pieces(data / "aozora" / "aozora.tar.xz"))

    def originals(name: str) -> list[str]:
        texts = [next(base) for _ in range(each)]
        result.rows |= {f"{name}-original-{n}": text for n, text in enumerate(texts)}
        return texts

    for number, text in enumerate(originals("exact")):
        result.rows[f"exact-{number}"] = respaced(text, random_)
    for number, text in enumerate(originals("near")):
        copied = edited(text, random_, share=random_.uniform(0, 0.06))
        result.rows[f"near-{number}"] = copied
        result.alike[f"near-{number}"] = true_similarity(text, copied)
    for number in range(each):
        kind, shown = personal(number, random_)
        result.rows[f"personal-{number}"] = inserted(next(base), f"連絡先は{shown}です。", random_)
        result.personal[f"personal-{number}"] = (kind, shown)
        shown = look_alike(number, random_)
        result.rows[f"innocent-{number}"] = inserted(next(base), f"それは{shown}でした。", random_)
        result.innocent[f"innocent-{number}"] = shown
    for number, question in enumerate(questions_of(data, random_)[:each]):
        result.leaked[f"leaked-{number}"] = question
        result.rows[f"leaked-{number}"] = inserted(next(base), question, random_)
        part = question[: len(question) // 3]
        result.decoys[f"decoy-{number}"] = part
        result.rows[f"decoy-{number}"] = inserted(next(base), part + "ということだ。", random_)
    return result


def pieces(archive: Path) -> Iterator[str]:
    """Runs of lines of 400 to 800 characters from the works of the archive, all different."""
    from minna.corpus.sources.aozora import Aozora

    seen: set[str] = set()
    for shard in Aozora(archive).shards():
        for work in shard.documents():
            lines: list[str] = []
            for line in work.text.split("\n"):
                lines.append(line.strip(" 　"))
                text = "\n".join(lines)
                if len(text) > 400:
                    head = text[:60]
                    if len(text) < 800 and head not in seen:
                        seen.add(head)
                        yield text
                    lines = []


def respaced(text: str, random_: random.Random) -> str:
    """The same text as another site has it: indents, line ends, widths."""
    changed = [("\n", "\r\n　"), ("\n", " \n"), ("ー", "ｰ"), ("。", "｡"), ("カ", "ｶ")]
    for old, new in random_.sample(changed, k=2):
        text = text.replace(old, new)
    return text + " \u200b"


def edited(text: str, random_: random.Random, *, share: float) -> str:
    """The text with a share of its characters replaced, left out or doubled."""
    letters = list(text)
    for place in random_.sample(range(len(letters)), k=round(share * len(letters))):
        letters[place] = random_.choice(["", letters[place] * 2, random_.choice(text)])
    return "".join(letters)


def inserted(text: str, sentence: str, random_: random.Random) -> str:
    """The text with a line of its own in between."""
    lines = text.split("\n")
    lines.insert(random_.randint(1, len(lines)), sentence)
    return "\n".join(lines)


def true_similarity(one: str, other: str) -> float:
    """Jaccard similarity of the folded 5-grams."""
    from minna.corpus.points import folded, points

    def shingles(text: str) -> set[bytes]:
        codes = folded(points([text])).codes
        return {codes[i : i + 5].tobytes() for i in range(len(codes) - 4)}

    left, right = shingles(one), shingles(other)
    return len(left & right) / len(left | right)


def personal(number: int, random_: random.Random) -> tuple[str, str]:
    """A kind of personal data, and one as people write it."""

    def digits(n: int) -> str:
        return "".join(random_.choice("0123456789") for _ in range(n))

    name = random_.choice(["tanaka", "y.sato", "suzuki_ken", "info+news", "a-b.c"]) + digits(2)
    host = random_.choice(["example.com", "mail.example.co.jp", "example.ne.jp", "u.example.ac.jp"])
    town = random_.choice(["千代田区丸の内", "横浜市西区みなとみらい", "札幌市中央区北三条西"])
    prefecture = {"千": "東京都", "横": "神奈川県", "札": "北海道"}[town[0]]
    last = f"{random_.randint(1, 9)}-{random_.randint(1, 30)}-{random_.randint(1, 20)}"
    forms = [
        ("email", f"{name}@{host}"),
        ("email", f"{name}＠{host}".translate(str.maketrans("abc.", "ａｂｃ．"))),
        ("telephone", f"03-{digits(4)}-{digits(4)}"),
        ("telephone", f"090-{digits(4)}-{digits(4)}"),
        ("telephone", f"（0{random_.randint(42, 99)}）{digits(3)}-{digits(4)}"),
        ("telephone", f"0120-{digits(3)}-{digits(3)}"),
        ("telephone", f"+81-3-{digits(4)}-{digits(4)}"),
        ("address", f"〒{digits(3)}-{digits(4)} {prefecture}{town}{last}"),
        ("address", f"{prefecture}{town}{random_.randint(1, 9)}丁目{random_.randint(1, 30)}番地"),
    ]
    return forms[number % len(forms)]


def look_alike(number: int, random_: random.Random) -> str:
    """What must not be taken for personal data."""
    a, b = random_.randint(1, 12), random_.randint(1, 28)
    forms = [
        f"{1900 + 3 * a}-{a:02d}-{b:02d}",
        f"{2000 + a}年{a}月{b}日",
        f"978-4-{10 + b}-{100000 + a * 777}-{a % 10}",
        f"{a},{b:03d},{b * 3:03d}円",
        f"バージョン{a}.{b}.{a}",
        f"{a}対{b}、{b}-{a}",
        f"第{a}条第{b}項",
        f"{a * 100}-{b * 10}ページ",
        f"{random_.choice(['東京都', '京都府', '北海道'])}の人口{a}{b}万人",
        f"午前{a}時{b}分",
    ]
    return forms[number % len(forms)]


def questions_of(data: Path, random_: random.Random) -> list[str]:
    """Questions and sentences of JGLUE, 24 characters or more, shuffled."""
    found: list[str] = []
    for file in sorted((data / "jglue").rglob("*.json")):
        text = file.read_text(encoding="utf-8")
        for line in text.splitlines():
            if line.startswith("{"):
                row = json.loads(line)
                found += [row[key] for key in ("question", "sentence1") if key in row]
    found = sorted({text for text in found if len(text) >= 24})
    random_.shuffle(found)
    return found


def build_from(source: Path, questions: Path, out: Path) -> dict[str, str]:
    """Build the corpus; return id -> text of what it kept."""
    from minna.corpus import BuildSettings, build, texts
    from minna.corpus.settings import ContaminationSettings
    from minna.corpus.sources import open_source

    settings = BuildSettings(
        source="local", path=source, contamination=ContaminationSettings(against=(questions,))
    )
    build(open_source(settings), out=out, settings=settings)
    return {document.id: document.text for document in texts(out, split="all")}


def _write_lines(file: Path, texts: object, *, key: str) -> None:
    with file.open("w", encoding="utf-8") as out:
        for text in texts:  # type: ignore[attr-defined]
            out.write(json.dumps({key: text}, ensure_ascii=False) + "\n")


def _kept(planted: Planted, kept: dict[str, str]) -> dict[str, str]:
    """Name -> clean text of the documents that stayed; a copied text goes to its first name."""
    from minna.corpus.sources import content_id

    names: dict[str, str] = {}
    for name, text in planted.rows.items():
        identity = content_id(text.encode())
        if identity in kept and identity not in names.values():
            names[name] = identity
    return {name: kept[identity] for name, identity in names.items()}


def copies(planted: Planted, kept: dict[str, str]) -> tuple[int, int, int]:
    """Planted, found, wrongly found (an original that went)."""
    left = _kept(planted, kept)
    pairs = [
        (name, name.replace("exact-", "exact-original-"))
        for name in planted.rows
        if name.startswith("exact-") and "original" not in name
    ]
    found = sum(copy not in left and original in left for copy, original in pairs)
    return len(pairs), found, sum(original not in left for _, original in pairs)


def near_copies(planted: Planted, kept: dict[str, str], *, least: float = 0.8) -> tuple[int, ...]:
    """The same for near copies; one under the similarity that went is wrongly found."""
    left = _kept(planted, kept)
    alike = {name for name, value in planted.alike.items() if value >= least}
    gone = {name for name in planted.alike if name not in left}
    originals = sum(name.startswith("near-original-") and name not in left for name in planted.rows)
    return len(alike), len(gone & alike), len(gone - alike) + originals


def personal_data(planted: Planted, kept: dict[str, str]) -> list[tuple[str, int, int, int | None]]:
    """By kind, and of all kinds together with what must stay and went."""
    from minna.corpus import japanese

    left = _kept(planted, kept)
    planted_of: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for name, (kind, shown) in planted.personal.items():
        if name in left:  # a few fall to another filter, or are like another piece
            planted_of[kind] += 1
            found[kind] += japanese.normalise(shown) not in left[name]
    wrong = sum(
        japanese.normalise(shown) not in left[name]
        for name, shown in planted.innocent.items()
        if name in left
    )
    rows: list[tuple[str, int, int, int | None]] = [
        (f"personal data: {kind}", planted_of[kind], found[kind], None) for kind in planted_of
    ]
    total = sum(planted_of.values())
    return [*rows, ("personal data, with look-alikes", total, sum(found.values()), wrong)]


def leaks(planted: Planted, kept: dict[str, str]) -> tuple[int, int, int]:
    """Evaluation texts taken out, and decoys taken out."""
    from minna.corpus import japanese

    left = _kept(planted, kept)
    here = {name: text for name, text in planted.leaked.items() if name in left}
    found = sum(japanese.normalise(text) not in left[name] for name, text in here.items())
    wrong = sum(
        japanese.normalise(text) not in left[name]
        for name, text in planted.decoys.items()
        if name in left
    )
    return len(here), found, wrong


if __name__ == "__main__":
    main()
