"""The questions a model is asked: a published log reproduced, and every rule by itself."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sys

import pytest
from tests.evaluate.made_requests import (
    Characters,
    LongestMatch,
    make_documents,
    make_splits,
    make_task,
)

from minna.artifact import read_manifest
from minna.cli.main import main
from minna.errors import DataError, UsageError
from minna.evaluate.prompting import fill
from minna.evaluate.readers import read_data
from minna.evaluate.records import Document
from minna.evaluate.requests import (
    KEYS,
    build_requests,
    prompts_sha256,
    requests_sha256,
    write_requests,
)
from minna.evaluate.task import choose
from minna.prompts.sandbox import ChatTemplate
from minna.tokenizer.coder import load_coder


def build(chosen, splits, *, mode="compat", shots=0, coder=None, max_length=None, limit=None):
    return build_requests(
        chosen,
        splits,
        mode=mode,
        shots=shots,
        limit=limit,
        coder=coder or LongestMatch(),
        max_length=max_length or 1000,
    )


# the published log


@pytest.fixture(scope="session")
def rinna(shared_data, tmp_path_factory):
    """A folder with a SentencePiece model of any name."""
    folder = tmp_path_factory.mktemp("rinna")
    shutil.copy(shared_data / "rinna" / "google_sp.model", folder / "some.model")
    return folder


def test_the_250_prompts_of_a_published_log_come_out_in_order_and_content(shared_data, rinna):
    log = shared_data / "jp-harness" / "rinna-japanese-gpt-neox-3.6b.mgsm.json"
    results = json.loads(log.read_text(encoding="utf-8"))["results"]
    expected = results["mgsm-1.0-0.4"]["details"]
    chosen = choose("mgsm", version="1.0", prompt="0.4")
    splits = read_data(chosen, data=shared_data / "mgsm")
    # the copy the harness used lacks one newline that url-nlp has in the fifth exemplar
    fifth = splits.shots[4]
    question = fifth.fields["question"]
    assert question.count("\n") == 1
    mended = dataclasses.replace(
        fifth, fields=fifth.fields | {"question": question.replace("\n", "")}
    )
    shots = (*splits.shots[:4], mended, *splits.shots[5:])
    documents, requests = build(
        chosen,
        dataclasses.replace(splits, shots=shots),
        shots=4,
        coder=load_coder(rinna),
        max_length=2048,
    )
    assert len(requests) == len(expected) == 250
    for document, request, entry in zip(documents, requests, expected, strict=True):
        assert request.context == entry["context"]
        assert document.fields["question"] == entry["question"]
        assert float(request.gold[0]) == entry["answer"]
    assert requests[0].until == ("</s>", "\n")
    assert {request.max_new_tokens for request in requests} == {256}


def test_the_real_sets_build_in_both_modes(shared_data, rinna):
    coder = load_coder(rinna)
    counts = {"jcommonsenseqa": 1119, "xwinograd_ja": 959, "jblimp": 331}
    for name, count in counts.items():
        chosen = choose(name)
        splits = read_data(chosen, data=shared_data)
        for mode in ("compat", "fixed"):
            found = build(chosen, splits, mode=mode, shots=chosen.task.shots, coder=coder)[1]
            assert len(found) == count
            assert sorted(r.doc_id for r in found) == sorted(d.id for d in splits.scored)
    question = "質問:街のことは？\n選択肢:0.タウン,1.劇場,2.ホーム,3.ハウス,4.ニューヨークシティ\n回答:0\n\n質問:"
    asked = build(choose("jcommonsenseqa-1.1-0.2"), read_data(choose("jcommonsenseqa"), data=shared_data), shots=3, limit=1)  # fmt: skip
    assert question in asked[1][0].context


# templates


def test_braces_in_a_document_are_never_read_as_fields():
    document = Document(id="1", fields={"a": "{b} {a}", "b": "{a}"}, answers=("{b}",))
    filled = fill("{a}|{b}|{answer}|{ not a field }|{}", document=document, chosen=make_task())
    assert filled == "{b} {a}|{a}|{b}|{ not a field }|{}"


def test_a_template_may_name_choices_label_answer_and_passages():
    chosen = make_task(
        kind="choice",
        prompt={
            "choices": ("肯定", "否定"),
            "passage": "{title}：{text}",
            "passage_separator": "／",
        },
    )
    document = Document(id="1", fields={}, label=1, passages=(("題", "{title}"), ("二", "本文")))
    template = "{choice0}{choice1}{label}{answer}{passages}"
    assert fill(template, document=document, chosen=chosen) == "肯定否定1否定題：{title}／二：本文"


def test_an_unknown_field_names_task_and_field():
    with pytest.raises(DataError, match=r"made-1\.0-1: the prompt names \{sentence\}.*'d0'"):
        build(make_task(prompt={"input": "{sentence}"}), make_splits(make_documents(1)))


# building


def test_a_prompt_is_description_examples_and_question_and_no_separator_without_examples():
    chosen = make_task(prompt={"description": "指示\n\n", "separator": "／"})
    splits = make_splits(make_documents(1), make_documents(1, prefix="t"))
    assert build(chosen, splits)[1][0].context == "指示\n\n問:dの0番\n答:"
    with_one = build(chosen, splits, shots=1)[1][0]
    assert with_one.context == "指示\n\n問:tの0番\n答:0です／問:dの0番\n答:"
    assert (with_one.shots, with_one.gold, with_one.until) == (1, ("0です",), ("\n",))


@pytest.mark.parametrize(("cap", "expected"), [("gold", {3}), ("gold+10", {13}), (256, {256})])
def test_compat_caps_answers_by_the_longest_right_one_in_tokens(cap, expected):
    chosen = make_task(cap={"compat": cap})
    document = Document(id="1", fields={"question": "q"}, answers=("い", "いいえです。", "です"))
    requests = build(chosen, make_splits((document,)))[1]
    assert {request.max_new_tokens for request in requests} == expected


def test_fixed_caps_answers_by_the_task_and_stops_before_the_next_example():
    chosen = make_task(cap={"compat": "gold", "fixed": 40}, prompt={"separator": "<NL>"})
    request = build(chosen, make_splits(make_documents(2)), mode="fixed")[1][0]
    assert request.max_new_tokens == 40
    assert request.until == ("\n", "<NL>")
    plain = build(make_task(), make_splits(make_documents(2)), mode="fixed")[1][0]
    assert plain.until == ("\n",)  # the separator begins with it


def test_examples_are_dropped_for_a_question_that_is_too_long_and_the_request_tells():
    chosen = make_task(version={"drop_shots_to_fit": True}, cap={"compat": 20})
    long = Document(id="long", fields={"question": "長" * 62}, answers=("a",))
    splits = make_splits((long, *make_documents(5)), make_documents(9, prefix="t"))
    requests = build(chosen, splits, shots=2, coder=Characters(), max_length=100)[1]
    held = {request.doc_id: request.shots for request in requests}
    assert held.pop("long") == 0
    assert set(held.values()) == {2}
    for request in requests:
        assert len(request.context) <= 80
        assert request.context.count("問:") == request.shots + 1


def test_a_question_that_fits_with_no_example_is_named_in_compat():
    chosen = make_task(version={"drop_shots_to_fit": True}, cap={"compat": 20})
    long = Document(id="long", fields={"question": "長" * 90}, answers=("a",))
    splits = make_splits((long,), make_documents(9, prefix="t"))
    with pytest.raises(DataError, match=r"made-1\.0-1: document 'long' does not fit"):
        build(chosen, splits, shots=1, coder=Characters(), max_length=100)


def test_fixed_has_one_set_of_examples_and_drops_some_for_the_whole_task():
    chosen = make_task(cap={"fixed": 10})
    splits = make_splits(make_documents(7), make_documents(9, prefix="t"))
    four = build(chosen, splits, mode="fixed", shots=4, coder=Characters())[1]
    assert {request.shots for request in four} == {4}
    heads = {request.context.removesuffix("\n答:").rpartition("問:")[0] for request in four}
    assert len(heads) == 1
    few = build(chosen, splits, mode="fixed", shots=4, coder=Characters(), max_length=60)[1]
    (kept,) = {request.shots for request in few}
    assert 0 < kept < 4
    assert max(len(request.context) for request in few) <= 50
    assert four[0].context.startswith(few[0].context.rpartition("問:")[0])
    assert [request.doc_id for request in few] == [f"d{n}" for n in range(7)]


def test_a_limit_takes_the_first_shuffled_or_evenly_spread_documents():
    splits = make_splits(make_documents(10), make_documents(9, prefix="t"))
    everything = build(make_task(), splits, shots=1)[1]
    assert build(make_task(), splits, shots=1, limit=4)[1] == everything[:4]
    some = build(make_task(), splits, mode="fixed", shots=1, limit=4)[1]
    assert [request.doc_id for request in some] == ["d0", "d2", "d5", "d7"]


def test_what_depends_on_tokens_asks_for_a_tokenizer():
    splits = make_splits(make_documents(2))

    def without(chosen, *, coder=None, mode="compat"):
        return build_requests(chosen, splits, mode=mode, shots=0, coder=coder, max_length=None)

    with pytest.raises(UsageError, match="depend on the model's tokenizer"):
        without(make_task(cap={"compat": "gold"}))
    with pytest.raises(UsageError, match="how many tokens the model reads"):
        without(make_task(version={"drop_shots_to_fit": True}), coder=LongestMatch())
    with pytest.raises(UsageError, match="the tokenizer has none"):
        without(make_task(stop_at_eos=True), coder=LongestMatch(eos_text=""))
    assert len(without(make_task())[1]) == 2
    assert without(make_task(stop_at_eos=True), mode="fixed")[1][0].until == ("\n",)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (Document(id="x", fields={}, choices=("a", ""), label=0), "an empty choice, number 1"),
        (Document(id="x", fields={}, choices=("a",), label=0), "has 1 choices"),
        (Document(id="x", fields={}, choices=("a", "b"), label=2), "label 2, and its choices go"),
        (Document(id="x", fields={}, choices=("a", "b")), "label None"),
    ],
)
def test_a_document_that_cannot_be_chosen_from_is_named(document, told):
    chosen = make_task(kind="sentence", prompt={"input": ""})
    with pytest.raises(DataError, match=rf"made-1\.0-1: document 'x' has .*{told[4:]}"):
        build(chosen, make_splits((document,)))


def test_wrong_numbers_twins_and_nothing_to_score_are_refused():
    splits = make_splits(make_documents(2))
    with pytest.raises(UsageError, match="at least 0"):
        build(make_task(), splits, shots=-1)
    with pytest.raises(UsageError, match="without examples; 2 are asked for"):
        build(make_task(kind="sentence"), splits, shots=2)
    with pytest.raises(DataError, match="the marker '記事:' does not stand in"):
        build(make_task(prompt={"article_marker": "記事:"}), splits)
    with pytest.raises(DataError, match="no document to score"):
        build(make_task(), make_splits(()))
    with pytest.raises(DataError, match="1 ids stand for several documents, the first is 'd0'"):
        build(make_task(), make_splits((*splits.scored, splits.scored[0])))
    with pytest.raises(DataError, match="has no right answer"):
        build(make_task(), make_splits((Document(id="x", fields={"question": "q"}),)))


# articles

NEWS = {
    "description": "要約せよ。\n\n",
    "input": "記事:{text}\n要約:",
    "article_marker": "記事:",
    "summary_marker": "要約:",
}


def news(*texts):
    return tuple(
        Document(id=f"n{number}", fields={"text": text}, answers=("短い",))
        for number, text in enumerate(texts)
    )


def test_compat_gives_every_article_the_same_share_and_keeps_whole_sentences():
    chosen = make_task(prompt=NEWS, cap={"compat": "gold+10"})
    splits = make_splits(news("あいう。えおか。きくけ。こさし"), news("一二三。四五六。七八九。"))
    whole = build(chosen, splits, shots=1, coder=Characters(), max_length=100)[1][0]
    assert "こさし\n要約:" in whole.context
    cut = build(chosen, splits, shots=1, coder=Characters(), max_length=38)[1][0]
    # 38 - 12 tokens for two articles: 13 each, their marker included
    assert (
        cut.context
        == "要約せよ。\n\n記事:一二三。四五六。\n要約:短い\n\n記事:あいう。えおか。\n要約:"
    )


def test_compat_cuts_a_first_sentence_that_is_too_long_by_tokens():
    chosen = make_task(prompt=NEWS, cap={"compat": "gold+10"})
    request = build(chosen, make_splits(news("あ" * 50)), coder=Characters(), max_length=32)[1][0]
    assert request.context == "要約せよ。\n\n" + "記事:" + "あ" * 17 + "\n要約:"


def test_compat_collapses_the_double_newline_of_rinnas_prompt_cut_or_not():
    prompt = {
        "description": "ユーザー: 要約せよ。<NL>システム: はい。<NL>",
        "input": "ユーザー: {text}<NL>システム: ",
        "separator": "<NL>",
        "stop": "<NL>",
        "article_marker": "ユーザー: ",
        "summary_marker": "<NL>システム: ",
    }
    chosen = make_task(prompt=prompt, cap={"compat": "gold+10"})
    splits = make_splits(news("あ。<NL><NL>い。う。え。お"))
    whole = build(chosen, splits, coder=Characters(), max_length=300)[1][0]
    assert "あ。<NL>い。" in whole.context
    cut = build(chosen, splits, coder=Characters(), max_length=50)[1][0]
    # the description holds the marker too, so the harness counts it as an article: 19 tokens each
    assert cut.context == prompt["description"] + "ユーザー: あ。<NL>い。う。<NL>システム: "


def test_an_article_that_holds_the_prompts_own_marker_is_named():
    chosen = make_task(prompt=NEWS, cap={"compat": "gold+10"})
    splits = make_splits(news("これは要約:ではない。" * 9))
    with pytest.raises(DataError, match=r"made-1\.0-1: document 'n0': an article holds '記事:'"):
        build(chosen, splits, coder=Characters(), max_length=40)


@pytest.mark.parametrize("max_length", [60, 80, 120])
def test_fixed_cuts_articles_at_sentence_ends_so_that_every_prompt_fits(max_length):
    chosen = make_task(prompt=NEWS, cap={"fixed": 12})
    splits = make_splits(
        news("あいう！えおか？きくけ。" * 9, "短い文。", "終わらない" * 20), news("一二三。" * 30)
    )
    requests = build(
        chosen, splits, mode="fixed", shots=1, coder=Characters(), max_length=max_length
    )[1]
    for request in requests:
        assert len(request.context) <= max_length - 12
        assert request.context.endswith("\n要約:")
        assert request.shots == 1
    assert requests[0].context.removesuffix("\n要約:")[-1] in "！？。"
    assert requests[1].context.endswith("記事:短い文。\n要約:")
    assert "一二三。\n要約:短い\n\n" in requests[0].context


# chat

TEMPLATES = {
    "chatml": (
        "{% for m in messages %}\n"
        "    {%- if loop.first and m.role != 'system' %}{{ '<|im_start|>system\\n<|im_end|>\\n' }}{% endif %}\n"
        "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] | trim + '<|im_end|>' + '\\n' }}\n"
        "{%- if loop.index > 90 %}{% break %}{% endif %}\n"
        "{% endfor %}\n"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    "llama": (
        "{{ bos_token }}{% set ns = namespace(n=0) %}\n"
        "{% for m in messages %}\n"
        "    {% if m['role'] == 'system' %}\n"
        "<<SYS>>{{ m['content'] }}<</SYS>>\n"
        "    {% elif m['role'] == 'user' %}\n"
        "[INST] {{ m | tojson }} [/INST]\n"
        "    {% elif m['role'] == 'assistant' %}\n"
        "{% generation %}{{ m['content'] }}{{ eos_token }}{% endgeneration %}\n"
        "    {% else %}{{ raise_exception('unknown role') }}{% endif %}\n"
        "    {% set ns.n = ns.n + 1 %}\n"
        "{% endfor %}{{ ns.n }}{{ strftime_now('%Y') }}"
    ),
}
TURNS = [
    ("system", "親切に<答える>。"),
    ("user", "質問 & {braces}「一」\n"),
    ("assistant", "一"),
    ("user", " 次は？"),
]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("first", [0, 1])
def test_a_chat_template_gives_what_transformers_gives(name, first):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"<s>": 0, "</s>": 1}, unk_token="<s>")
    )
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=model, bos_token="<s>", eos_token="</s>", chat_template=TEMPLATES[name]
    ).apply_chat_template(
        [{"role": role, "content": text} for role, text in TURNS[first:]],
        tokenize=False,
        add_generation_prompt=True,
    )
    ours = ChatTemplate(TEMPLATES[name], tokens={"bos_token": "<s>", "eos_token": "</s>"})
    assert ours.render(TURNS[first:]) == theirs


def test_a_chat_prompt_is_rendered_by_the_models_own_template():
    chosen = make_task(prompt={"style": "chat", "system": "親切に。", "stop": ""})
    coder = LongestMatch(chat_template=TEMPLATES["chatml"])
    splits = make_splits(make_documents(1), make_documents(4, prefix="t"))
    request = build(chosen, splits, mode="fixed", shots=1, coder=coder)[1][0]
    assert [role for role, _ in request.messages] == ["system", "user", "assistant", "user"]
    assert request.context.startswith(
        "<|im_start|>system\n親切に。<|im_end|>\n<|im_start|>user\n問:t"
    )
    assert request.context.endswith("問:dの0番\n答:<|im_end|>\n<|im_start|>assistant\n")
    assert request.until == ()


def test_a_chats_answer_has_lines_unless_the_task_gives_a_stop():
    stops = [
        make_task(prompt=prompt).prompt.stop
        for prompt in ({"style": "chat"}, {"style": "chat", "stop": "\n"}, {})
    ]
    assert stops == ["", "\n", "\n"]


def test_a_model_without_a_chat_template_is_refused_and_a_server_gets_the_turns():
    chosen = make_task(prompt={"style": "chat"})
    splits = make_splits(make_documents(1))
    with pytest.raises(UsageError, match=r"made-1\.0-1 is asked through the model's chat template"):
        build(chosen, splits)
    _, requests = build_requests(chosen, splits, mode="fixed", shots=0, coder=None, max_length=None)
    assert requests[0].messages == (("user", "問:dの0番\n答:"),)


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('no system message') }}",
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__ }}{{ undefined.x }}",
    ],
)
def test_a_template_that_refuses_or_escapes_is_an_error(source):
    with pytest.raises(UsageError, match="refuses the turns system, user"):
        ChatTemplate(source, tokens={}).render(TURNS)


def test_a_template_that_is_not_jinja_is_an_error():
    with pytest.raises(DataError, match="not valid Jinja: line 1"):
        ChatTemplate("{% if %}", tokens={})


# files and hashes


def test_requests_are_written_with_exactly_their_keys_and_hashed_as_written(tmp_path):
    requests = build(make_task(), make_splits(make_documents(3)))[1]
    write_requests(tmp_path / "requests.jsonl", requests)
    content = (tmp_path / "requests.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in content.splitlines()]
    assert [tuple(row) for row in rows] == [KEYS] * 3
    assert rows[0]["gold"] == list(requests[0].gold)
    assert requests_sha256(requests) == hashlib.sha256(content.encode()).hexdigest()
    assert requests_sha256(requests[:2]) != requests_sha256(requests)


def test_the_prompts_hash_changes_with_a_single_space():
    hashes = {prompts_sha256(make_task(prompt={"input": text})) for text in ("{question}", "{question} ")}  # fmt: skip
    assert len(hashes) == 2


def run(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["minna", "requests", *map(str, arguments)])
    status = 0
    try:
        main()
    except SystemExit as error:
        status = error.code or 0
    return status, *capsys.readouterr()


def test_the_verb_writes_a_directory_once_and_says_what_it_holds(
    shared_data, rinna, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "requests"
    arguments = [
        "mgsm", "--task-version", "1.0", "--prompt-version", "0.4", "--num-fewshot", 4,
        "--data", shared_data / "mgsm", "--tokenizer", rinna, "--max-length", 2048,
        "--mode", "compat", "--limit", 5, "--out", out,
    ]  # fmt: skip
    status, told, _ = run(arguments, monkeypatch, capsys)
    assert status == 0
    assert "5 requests of mgsm-1.0-0.4, compat, 4.00 examples each" in told
    rows = (out / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["index"] for row in rows] == [0, 1, 2, 3, 4]
    manifest = read_manifest(out, kind="requests")
    assert manifest.settings["task"] == "mgsm-1.0-0.4"
    assert run(arguments, monkeypatch, capsys)[1].rstrip().endswith("unchanged")


def test_the_verb_refuses_an_unknown_version(shared_data, rinna, tmp_path, monkeypatch, capsys):
    arguments = [
        "mgsm", "--prompt", "0.9", "--data", shared_data, "--tokenizer", rinna,
        "--max-length", 2048, "--out", tmp_path / "out",
    ]  # fmt: skip
    status, _, err = run(arguments, monkeypatch, capsys)
    assert (status, "no prompt '0.9'" in err) == (2, True)
    assert not (tmp_path / "out").exists()


OWN = """
name = "own"
title = { en = "own" }
kind = "generate"
reader = "rows"
metrics = ["exact_match"]
shots = 0
version = "1.0"
prompt = "1"
stop_at_eos = false

[cap]
compat = 8

[files]
scored = ["own.jsonl"]

[rows]
answers = ["a"]

[source]
title = "own"
url = "https://example.org/own"
licence = "CC0-1.0"

[[versions]]
version = "1.0"

[[prompts]]
code = "1"
versions = []
input = "{q}"
"""


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("compat = 8", "compat = 9"),
        ("stop_at_eos = false", "stop_at_eos = true"),
        ('answers = ["a"]', 'answers = ["b"]'),
    ],
)
def test_the_verb_writes_anew_when_the_users_task_says_something_else(
    rinna, tmp_path, monkeypatch, capsys, was, now
):
    file, out = tmp_path / "own.toml", tmp_path / "out"
    (tmp_path / "own.jsonl").write_text('{"q": "1", "a": "2", "b": "3"}\n', encoding="utf-8")
    arguments = [file, "--tokenizer", rinna, "--max-length", 99, "--out", out]
    told = []
    for text in (OWN, OWN, OWN.replace(was, now)):
        file.write_text(text, encoding="utf-8")
        status, said, err = run(arguments, monkeypatch, capsys)
        assert status == 0, err
        told.append(said.rstrip().endswith("unchanged"))
    assert told == [False, True, False]


def test_only_the_second_version_of_jaqket_gives_long_questions_fewer_examples():
    long = make_documents(1, passages=tuple(("題", "長" * 40) for _ in range(5)))
    splits = make_splits(long, make_documents(3, prefix="t", passages=(("題", "本文"),)))
    held = {
        version: build(
            choose("jaqket_v2", version=version, prompt="0.2"),
            splits,
            shots=1,
            coder=Characters(),
            max_length=270,
        )[1][0].shots
        for version in ("0.1", "0.2")
    }
    assert held == {"0.1": 1, "0.2": 0}
    assert choose("mgsm").version.drop_shots_to_fit


def test_a_tasks_hash_goes_by_the_chosen_version_and_prompt_alone():
    one = choose("jnli", version="1.1", prompt="0.2")
    assert len({one.sha256(), choose("jnli", version="1.2", prompt="0.2").sha256()}) == 2
    others = [prompt for prompt in one.task.prompts if prompt == one.prompt]
    fewer = one.task.model_copy(update={"prompts": tuple(others)})
    assert dataclasses.replace(one, task=fewer).sha256() == one.sha256()


@pytest.mark.parametrize("template", ["{ q }", "{q.x}", "{q[0]}", "{q!r}", "{q:>3}", "{q }"])
def test_what_is_nearly_a_field_is_refused(template):
    document = Document(id="1", fields={"q": "問い"}, answers=("答え",))
    with pytest.raises(DataError, match="no field"):
        fill(template, document=document, chosen=make_task())
