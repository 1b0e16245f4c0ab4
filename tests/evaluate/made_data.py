"""Small data sets of our own in the official formats of every task that comes with the package."""

from __future__ import annotations

import json
from pathlib import Path

ANIMALS = ["犬", "猫", "鳥", "魚", "馬", "牛", "羊", "猿", "虎", "兎", "熊", "鹿"]
PLACES = ["山", "川", "海", "森", "町", "駅", "庭", "畑", "島", "橋", "谷", "村"]
LABELS = ["entailment", "contradiction", "neutral"]


def write_all(folder: Path, *, scored: int = 6, shots: int = 9) -> Path:
    """Write the data of every task below `folder`."""
    for split, count, first in (("train", shots, 0), ("valid", scored, 100)):
        rows = list(range(first, first + count))
        _lines(folder / f"jcommonsenseqa-v1.1/{split}-v1.1.json", [_choice(n) for n in rows])
        _lines(folder / f"jnli-v1.1/{split}-v1.1.json", [_pair(n) for n in rows])
        _lines(folder / f"marc_ja-v1.1/{split}-v1.1.json", [_review(n) for n in rows])
        _json(folder / f"jsquad-v1.1/{split}-v1.1.json", {"data": [_article(n) for n in rows]})
        _lines(folder / f"jaqket_v2/{split}.jsonl", [_quiz(n) for n in rows])
        name = "test" if split == "valid" else split
        _lines(folder / f"xlsum_ja/{name}.jsonl", [_news(n) for n in rows])
        for language in ("en", "ja"):
            _text(
                folder / f"enja/{'test' if split == 'valid' else 'dev'}.{language}",
                "".join(
                    f"the {n} dogs are here .\n" if language == "en" else f"犬 が {n} 匹 いる 。\n"
                    for n in rows
                ),
            )
    _text(
        folder / "mgsm/mgsm_ja.tsv",
        "".join(f"{_animal(n)}が{n}匹と2匹います。何匹ですか？\t{n + 2}\n" for n in range(scored)),
    )
    _json(
        folder / "mgsm/exemplars.ja.json",
        {
            str(n + 1): {
                "q": f"問題：{_animal(n)}が{n}匹と1匹います。何匹ですか？",
                "a": f"ステップごとの答え：{n}+1={n + 1}。答えは{n + 1}です。",
            }
            for n in range(8)
        },
    )
    _lines(
        folder / "xwinograd_ja/test.jsonl",
        [
            {
                "sentence1": f"{_animal(n)}は{_place(n)}を見た。{_animal(n)}が動いたからだ。",
                "sentence2": f"{_animal(n)}は{_place(n)}を見た。{_place(n)}が動いたからだ。",
                "answer": str(n % 2 + 1),
            }
            for n in range(scored)
        ],
    )
    _lines(
        folder / "jblimp/validated_minimal_pairs.jsonl",
        [
            {
                "ID": n,
                "good_sentence": f"{_animal(n)}が{_place(n)}にいる。",
                "bad_sentence": f"{_animal(n)}を{_place(n)}にいる。",
                "type": "acceptability",
                "phenomenon": "case",
                "paradigm": f"case {n % 2}",
            }
            for n in range(scored)
        ],
    )
    head = "qid\tcompetition\ttimestamp\tsection\tnumber\toriginal_question\toriginal_answer\toriginal_additional_info\n"
    for name in ("aio_01_dev1", "aio_01_dev2", "aio_02_dev"):
        _text(
            folder / f"aio/{name}.txt",
            head
            + "".join(
                f"{name}-{n}\t大会\t2021/01/29\t問題\t{n}\t{name[4:]}の{n}番目の動物は？\t{_animal(n)}\t\n"
                for n in range(scored)
            ),
        )
    _text(
        folder / "jrte/pn.tsv",
        "".join(
            f"pn{n}\t{(1, 0, -1)[n % 3]}\t{_place(n)}は{n}点でした。\t{{}}\t"
            f"{('train', 'train', 'dev', 'test')[n % 4]}\n"
            for n in range(4 * scored)
        ),
    )
    return folder


def _choice(n: int) -> dict[str, object]:
    words = [_animal(n + k) for k in range(5)]
    return {"q_id": n, "question": f"{n}番の{_place(n)}にいるのは？"} | {
        **{f"choice{k}": word for k, word in enumerate(words)},
        "label": n % 5,
    }


def _pair(n: int) -> dict[str, str]:
    return {
        "sentence_pair_id": str(n),
        "yjcaptions_id": f"{n}",
        "sentence1": f"{_animal(n)}が{_place(n)}で寝ている{n}。",
        "sentence2": f"{_place(n)}に{_animal(n)}がいる。",
        "label": LABELS[n % 3],
    }


def _review(n: int) -> dict[str, object]:
    return {
        "review_id": f"R{n}",
        "text": f"{_place(n)}は{n}点。",
        "label": ("positive", "negative")[n % 2],
    }


def _article(n: int) -> dict[str, object]:
    body = f"{_animal(n)}は{_place(n)}に{n}匹いる。"
    return {
        "title": _animal(n),
        "paragraphs": [
            {
                "context": f"{_animal(n)} [SEP] {body}",
                "qas": [
                    {
                        "id": f"a{n}q{k}",
                        "question": question,
                        "answers": [{"text": answer, "answer_start": body.index(answer)}],
                        "is_impossible": False,
                    }
                    for k, (question, answer) in enumerate(
                        [("どこに？", _place(n)), ("何匹？", f"{n}匹")]
                    )
                ],
            }
        ],
    }


def _quiz(n: int) -> dict[str, object]:
    passages = [
        {
            "id": str(k),
            "title": _animal(k),
            "text": f"{_animal(n + k)}は{_place(k)}。",
            "score": "1",
        }
        | {"has_answer": k == 0}
        for k in range(10)
    ]
    return {"qid": f"Q{n}", "question": f"{n}の動物は？", "answers": [_animal(n)], "ctxs": passages}


def _news(n: int) -> dict[str, str]:
    text = "".join(f"{_animal(n + k)}が{_place(n + k)}で見つかった。" for k in range(4))
    return {"id": str(n), "text": text, "summary": f"{_animal(n)}が見つかった。"}


def _animal(n: int) -> str:
    return ANIMALS[n % len(ANIMALS)]


def _place(n: int) -> str:
    return PLACES[(7 * n + 3) % len(PLACES)]


def _lines(file: Path, rows: list[dict[str, object]]) -> None:
    _text(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _json(file: Path, value: object) -> None:
    _text(file, json.dumps(value, ensure_ascii=False))


def _text(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", newline="\n")
