"""From made-up answers to figures: every kind of task, every refusal, and the published log."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from minna.errors import ArtifactError, DataError, MinnaError, MissingExtraError, UsageError
from minna.evaluate.harness import harness_results
from minna.evaluate.items import Item, read_item
from minna.evaluate.measures import check_metrics, measure_of
from minna.evaluate.records import Answer, Document, Mode, Request
from minna.evaluate.scoring import TaskScores, compare_items, score_task
from minna.evaluate.task import Chosen, choose, task_names
from minna.metrics import translation, words
from minna.metrics.rouge import rouge_n


class Characters:
    """A tokenizer of single characters."""

    eos_id = 0
    eos_text = "</s>"
    bos_ids = ()
    chat_template = None
    vocab_size = 0x110000
    sha256 = "0" * 64

    def __init__(self):
        self.special_texts: dict[str, str] = {}

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(map(chr, ids))

    def decode_all(self, ids: Iterable[int]) -> str:
        return self.decode(ids)


KEYS = [
    "id", "group", "gold", "prediction", "scores", "context", "continuations", "logprobs", "greedy",
    "lengths", "text", "finish", "shots", "prompt_tokens", "new_tokens", "truncated",
]  # fmt: skip


def chosen_with(name: str, *metrics: str, **changes: object) -> Chosen:
    found = choose(name)
    updates = {**changes, **({"metrics": metrics} if metrics else {})}
    return Chosen(
        task=found.task.model_copy(update=updates), version=found.version, prompt=found.prompt
    )


def asked(
    task: str, rows: list[tuple[tuple[str, ...], int, tuple[float, ...]]]
) -> tuple[list[Document], list[Request], list[Answer]]:
    """Documents, requests and answers with a choice: (texts, label, log-likelihoods)."""
    documents = [Document(id=f"q{i}", fields={}, label=gold) for i, (_, gold, _) in enumerate(rows)]
    requests = [
        Request(
            index=i, task=task, doc_id=f"q{i}", kind="loglikelihood", context=f"問{i}",
            continuations=texts, gold=gold, shots=3,
        )
        for i, (texts, gold, _) in enumerate(rows)
    ]  # fmt: skip
    answers = [
        Answer(
            logprobs=logprobs, greedy=(False,) * len(texts), lengths=tuple(map(len, texts)),
            prompt_tokens=7, new_tokens=4,
        )
        for texts, _, logprobs in rows
    ]  # fmt: skip
    return documents, requests, answers


def said(
    task: str, rows: list[tuple[tuple[str, ...], str]], *, groups: list[str] | None = None
) -> tuple[list[Document], list[Request], list[Answer]]:
    """Documents, requests and answers in words: (right texts, what was said)."""
    groups = groups or [""] * len(rows)
    documents = [
        Document(id=f"q{i}", fields={}, answers=golds, group=group)
        for i, ((golds, _), group) in enumerate(zip(rows, groups, strict=True))
    ]
    requests = [
        Request(
            index=i, task=task, doc_id=f"q{i}", kind="generate", context=f"問{i}",
            until=("\n",), max_new_tokens=9, gold=golds, shots=2,
        )
        for i, (golds, _) in enumerate(rows)
    ]  # fmt: skip
    answers = [Answer(text=text, finish="stop-text", new_tokens=len(text)) for _, text in rows]
    return documents, requests, answers


NLI = [
    (("含意", "矛盾", "中立"), 0, (-1.0, -2.0, -3.0)),
    (("含意", "矛盾", "中立"), 1, (-1.0, -2.0, -3.0)),
    (("含意", "矛盾", "中立"), 2, (-3.0, -3.0, -1.0)),
    (("含意", "矛盾", "中立"), 2, (-2.0, -2.0, -2.5)),
]


def test_a_task_with_choices_gets_every_figure_by_hand():
    chosen = choose("jnli")
    found = score_task(chosen, *asked(chosen.name, NLI), mode="compat")
    assert (found.main, found.mode, found.version) == ("acc", "compat", "1.3")
    values = {name: metric.value for name, metric in found.metrics.items()}
    assert list(values) == list(chosen.task.metrics)
    # said 0, 0, 2, 0 where 0, 1, 2, 2 was right
    assert values["acc"] == values["acc_norm"] == values["acc_bytes"] == 50
    assert values["balanced_acc"] == pytest.approx(100 * (1 + 0 + 0.5) / 3)
    assert values["macro_f1"] == pytest.approx(100 * (0.5 + 0 + 2 / 3) / 3)
    # covariance 4 x 2 less 1 x 3 and 2 x 1; spreads 16 less 9 and 1, 16 less 1, 1 and 4
    assert values["mcc"] == pytest.approx(3 / 60**0.5)
    assert found.metrics["mcc"].unit == "coefficient"
    assert {found.metrics[name].unit for name in values if name != "mcc"} == {"percent"}
    for metric in found.metrics.values():
        assert metric.low is not None and metric.high is not None
        assert metric.low <= metric.value <= metric.high


def test_choices_of_different_length_part_the_three_accuracies():
    rows = [(("犬", "abcd", "吾輩は猫"), gold, (-2.0, -4.6, -5.0)) for gold in (0, 1, 1, 2, 2, 2)]
    chosen = chosen_with("jcommonsenseqa")
    metrics = score_task(chosen, *asked(chosen.name, rows), mode="fixed").metrics
    assert metrics["acc"].value == pytest.approx(100 / 6)
    assert metrics["acc_norm"].value == pytest.approx(200 / 6)
    assert metrics["acc_bytes"].value == pytest.approx(300 / 6)


@pytest.mark.parametrize(("mode", "value"), [("compat", 50), ("fixed", 0)])
def test_sentences_of_equal_likelihood_follow_the_mode(mode: Mode, value: float):
    chosen = choose("xwinograd_ja")
    rows = [(("甲", "乙"), 0, (-1.0, -1.0)), (("甲", "乙"), 1, (-1.0, -2.0))]
    documents, requests, answers = asked(chosen.name, rows)
    answers[0] = Answer(logprobs=(-1.0, -1.0), greedy=(True, False), lengths=(1, 1))
    assert score_task(chosen, documents, requests, answers, mode=mode).metrics["acc"].value == value


def test_answers_in_words_get_match_and_overlap():
    chosen = choose("jsquad")
    rows = [(("ＧＨＱ", "連合国"), "GHQ"), (("東京",), "東京都"), (("犬",), "猫")]
    found = score_task(chosen, *said(chosen.name, rows), mode="compat")
    assert found.metrics["exact_match"].value == pytest.approx(100 / 3)
    assert found.metrics["f1"].value == pytest.approx(100 * (1 + 2 / 3 + 0) / 3)
    assert found.metrics["char_f1"].value == pytest.approx(100 * (1 + 4 / 5 + 0) / 3)
    assert [item.scores["exact_match"] for item in found.items] == [1, 0, 0]
    assert [item.prediction for item in found.items] == ["GHQ", "東京都", "猫"]
    assert "unidic-lite" in str(found.conditions["f1"])


def test_rouge_is_on_the_model_s_tokens_in_compat_and_on_words_in_fixed():
    chosen = choose("xlsum_ja")
    gold, answer = "東京で大きな地震がありました。", "東京都で地震が起きました。"
    records = said(chosen.name, [((gold,), answer)])
    compat = score_task(chosen, *records, mode="compat", coder=Characters()).metrics
    fixed = score_task(chosen, *records, mode="fixed", coder=Characters()).metrics
    by_character = 100 * rouge_n(answer, gold)
    assert compat["rouge2"].value == fixed["rouge2_lm"].value == pytest.approx(by_character)
    assert compat["rouge2_mecab"].value == fixed["rouge2"].value != pytest.approx(by_character)
    assert set(compat) == {"rouge2", "rouge2_mecab"}
    assert set(score_task(chosen, *records, mode="fixed").metrics) == {"rouge2"}
    with pytest.raises(UsageError, match="needs its tokenizer"):
        score_task(chosen, *records, mode="compat")


def test_translations_are_scored_as_a_corpus():
    chosen = choose("en_ja")
    rows = [
        (("猫はマットの上にいる。",), "猫がマットの上にいる。"),
        (("はい、そうです。",), "はい。"),
    ]
    found = score_task(chosen, *said(chosen.name, rows), mode="fixed")
    assert found.metrics["bleu"].unit == "points"
    assert 0 < found.metrics["bleu"].value < 100
    assert 0 < found.metrics["chrf"].value < 100
    assert "unidic-lite" in str(found.conditions["bleu"])
    assert 0 < found.items[0].scores["chrf"] <= 1


def test_the_published_mgsm_log_scores_as_published(shared_data: Path):
    log = shared_data / "jp-harness" / "rinna-japanese-gpt-neox-3.6b.mgsm.json"
    published = json.loads(log.read_text(encoding="utf-8"))
    chosen = choose("mgsm-1.0-0.4")
    (task,) = published["results"].values()
    rows = [((str(row["answer"]),), row["completion"]) for row in task["details"]]
    found = score_task(chosen, *said(chosen.name, rows), mode="compat")
    assert found.metrics["acc"].value == pytest.approx(0.8)
    assert [item.scores["acc"] == 1 for item in found.items] == [r["acc"] for r in task["details"]]
    assert [item.prediction for item in found.items] == [
        str(row["extracted_answer"]) for row in task["details"]
    ]
    shape = harness_results([found], config=published["config"])
    assert shape["config"] == published["config"]
    assert shape["versions"] == published["versions"]
    ours = shape["results"]["mgsm-1.0-0.4"]
    assert ours["acc"] == pytest.approx(task["acc"], abs=1e-12)
    assert ours["acc_stderr"] == pytest.approx(task["acc_stderr"], rel=1e-12)


def test_the_harness_s_shape_has_fractions_percents_and_errors():
    nli, squad = choose("jnli"), choose("jsquad")
    scores = [
        score_task(nli, *asked(nli.name, NLI * 30), mode="compat"),
        score_task(squad, *said(squad.name, [(("犬",), "犬"), (("犬",), "猫")]), mode="compat"),
    ]
    found = harness_results(scores, config={"limit": None})
    first = found["results"][nli.name]
    assert list(first) == [
        "acc", "acc_stderr", "acc_norm", "acc_norm_stderr", "balanced_acc", "macro_f1", "mcc",
        "mcc_stderr",
    ]  # fmt: skip
    assert first["acc"] == 0.5
    assert first["acc_stderr"] == pytest.approx((0.25 / 119) ** 0.5)
    assert 0 < first["mcc_stderr"] < 0.2
    assert found["results"][squad.name] == {"exact_match": 50, "f1": 50}
    assert found["versions"] == {nli.name: 1.3, squad.name: 1.1}
    fixed = score_task(squad, *said(squad.name, [(("犬",), "犬")]), mode="fixed")
    with pytest.raises(UsageError, match="scored in mode fixed"):
        harness_results([fixed], config={})


def test_an_item_goes_to_a_line_and_back():
    chosen = choose("jnli")
    for item in score_task(chosen, *asked(chosen.name, NLI), mode="compat").items:
        values = json.loads(json.dumps(asdict(item)))
        assert list(values) == KEYS
        assert read_item(values) == item
        assert values["scores"]["acc"] in (0, 1)
        assert "mcc" not in values["scores"]
    with pytest.raises(ArtifactError, match="colour"):
        read_item({"id": "x", "colour": "red"}, where="items/jnli.jsonl")


def test_items_of_one_group_widen_the_interval():
    chosen = chosen_with("jsquad", "exact_match")
    rows = [(("犬",), "犬" if i % 20 < 10 else "猫") for i in range(200)]
    alone = score_task(chosen, *said(chosen.name, rows), mode="fixed")
    groups = [f"p{i // 10}" for i in range(200)]
    grouped = score_task(chosen, *said(chosen.name, rows, groups=groups), mode="fixed")
    assert grouped.conditions["groups"] == 20
    assert "groups" not in alone.conditions
    assert width(grouped) > 2 * width(alone)
    assert score_task(chosen, *said(chosen.name, rows), mode="fixed").metrics == alone.metrics


def width(scores: TaskScores) -> float:
    metric = scores.metrics[scores.main]
    assert metric.low is not None and metric.high is not None
    return metric.high - metric.low


def test_what_a_reader_must_know_is_counted():
    chosen = chosen_with("jsquad", "exact_match")
    documents, requests, answers = said(chosen.name, [(("犬",), "犬")] * 3)
    answers[0] = Answer(text="犬犬", finish="length", truncated=True)
    found = score_task(chosen, documents, requests, answers, mode="fixed", shots=4)
    assert found.conditions == {
        "contexts_truncated": 1,
        "items_with_fewer_shots": 3,
        "answers_ended_by_length": 1,
    }


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_likelihood_that_is_no_number_stops_the_task_by_name(bad: float):
    chosen = choose("jnli")
    documents, requests, answers = asked(chosen.name, NLI)
    for i in (1, 3):
        answers[i] = Answer(logprobs=(-1.0, bad, -2.0), greedy=(False,) * 3, lengths=(1, 1, 1))
    with pytest.raises(ArtifactError, match=r"jnli-1\.3-.*: 2 of 4 items.*'q1'.*'q3'"):
        score_task(chosen, documents, requests, answers, mode="compat")


def broken(case: str) -> tuple[list[Document], list[Request], list[Answer]]:
    documents, requests, answers = asked("t", NLI)
    first = requests[0]
    if case == "nothing":
        return [], [], []
    if case == "an answer too few":
        return documents, requests, answers[:-1]
    if case == "a choice too few":
        answers[0] = Answer(logprobs=(-1.0,), greedy=(False,))
    elif case == "the same id twice":
        documents.append(documents[2])
    elif case == "asked twice":
        requests[1] = first
    elif case == "another document":
        requests[0] = replace(first, doc_id="?")
    elif case == "a label too high":
        requests[0] = replace(first, gold=3)
    elif case == "an empty choice":
        requests[0] = replace(first, continuations=("a", "", "c"))
    elif case == "no right answer":
        requests[0] = replace(first, kind="generate", gold=())
    return documents, requests, answers


@pytest.mark.parametrize(
    ("case", "kind", "message"),
    [
        ("nothing", DataError, "nothing to score"),
        ("an answer too few", ArtifactError, "3 answers were found for 4 requests"),
        ("a choice too few", ArtifactError, "'q0' has 3 choices and 1 log-likelihoods"),
        ("the same id twice", DataError, "the id 'q2' is there twice"),
        ("asked twice", DataError, "the item 'q0' is asked twice"),
        ("another document", DataError, r"item '\?' is asked about"),
        ("a label too high", DataError, "the label 3, and 3 choices"),
        ("an empty choice", DataError, r"'q0' has an empty choice \(1\)"),
        ("no right answer", DataError, "'q0' has no right answer"),
    ],
)
def test_bad_records_are_named_with_task_and_item(case: str, kind: type[MinnaError], message: str):
    with pytest.raises(kind, match=message):
        score_task(choose("jnli"), *broken(case), mode="compat")


def test_a_metric_that_does_not_fit_the_kind_is_refused():
    with pytest.raises(UsageError, match="'bleu' does not fit a task of kind 'choice'"):
        measure_of("bleu", kind="choice", mode="fixed")


@pytest.mark.parametrize(
    ("name", "mode", "module"),
    [
        ("jsquad", "compat", "neologdn"),
        ("jsquad", "fixed", "emoji"),
        ("jsquad", "fixed", "fugashi"),
        ("xlsum_ja", "compat", "unidic_lite"),
        ("en_ja", "fixed", "sacrebleu"),
        ("en_ja", "fixed", "fugashi"),
    ],
)
def test_a_missing_extra_is_told_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, name: str, mode: Mode, module: str
):
    made: Any = (words.normalise, words.words, words._tagger, translation._sacrebleu)  # pyright: ignore[reportPrivateUsage]
    for cache in made:
        cache.cache_clear()
    for known in [n for n in sys.modules if n.split(".")[0] == module]:
        monkeypatch.setitem(sys.modules, known, None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=module):
        check_metrics(choose(name), mode=mode, coder=Characters())


def test_metrics_that_can_be_made_pass_and_others_are_told_before_anything_is_asked():
    for mode in ("compat", "fixed"):
        for name in task_names():
            check_metrics(choose(name), mode=mode, coder=Characters())
    with pytest.raises(UsageError, match="does not fit"):
        check_metrics(chosen_with("jnli", "bleu"), mode="fixed", coder=None)
    with pytest.raises(UsageError, match="needs its tokenizer"):
        check_metrics(choose("xlsum_ja"), mode="compat", coder=None)
    check_metrics(choose("xlsum_ja"), mode="fixed", coder=None)


def scored(rows: list[tuple[tuple[str, ...], int, tuple[float, ...]]]) -> list[Item]:
    chosen = choose("jnli")
    return score_task(chosen, *asked(chosen.name, rows), mode="fixed").items


def test_two_models_are_compared_item_by_item_in_any_order():
    right = [
        (texts, gold, tuple(0.0 if i == gold else -9.0 for i in range(3))) for texts, gold, _ in NLI
    ]
    first, second = scored(NLI * 5), scored(right * 5)
    found = compare_items("acc", first, second[::-1], kind="choice", mode="fixed")
    assert found.value == pytest.approx(50)
    assert found.test == "mcnemar"
    assert found.p == pytest.approx(2 / 2**10)
    mcc = compare_items("mcc", first, second, kind="choice", mode="fixed", resamples=500)
    assert mcc.value == pytest.approx(1 - 3 / 60**0.5)
    assert mcc.low > 0
    with pytest.raises(DataError, match="not on 20 and 4 of which 4 are shared"):
        compare_items("acc", first, scored(NLI), kind="choice", mode="fixed")


def test_two_translators_are_compared_by_their_corpus_scores():
    chosen = choose("ja_en")
    golds = [f"The quick brown fox number {i} jumps over the dog." for i in range(12)]
    sides = [
        score_task(chosen, *said(chosen.name, [((g,), cut(g)) for g in golds]), mode="fixed")
        for cut in (lambda g: g.replace("jumps", "leaps"), lambda g: g)
    ]
    found = compare_items(
        "bleu", sides[0].items, sides[1].items, kind="generate", mode="fixed", resamples=500
    )
    assert found.value == pytest.approx(100 - sides[0].metrics["bleu"].value)
    assert found.low > 0
    assert found.p < 0.01
