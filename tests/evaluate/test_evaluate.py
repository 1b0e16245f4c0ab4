"""The whole judge on a tiny model: every task, both modes, against the plain way, stopped, gone on."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.evaluate.made_data import write_all
from tests.runtime.conftest import tokenizer_file, write_model  # noqa: F401 - a fixture

from minna.artifact import read_manifest
from minna.errors import ArtifactError, DataError, UsageError
from minna.evaluate import EvaluateSettings, evaluate, read_report
from minna.evaluate import judge as judge_module
from minna.evaluate.report import read_items
from minna.evaluate.task import task_names
from minna.models.family import GptNeoXShape

JP8 = [
    "jcommonsenseqa",
    "jnli",
    "marc_ja",
    "jsquad",
    "jaqket_v2",
    "xlsum_ja",
    "xwinograd_ja",
    "mgsm",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer_file):  # noqa: F811
    path = tmp_path_factory.mktemp("judged") / "tiny"
    shape = GptNeoXShape(layers=2, width=48, heads=3, ffn=96, context=2048)
    write_model(path, shape, tokenizer_file, vocab=400)
    return path


def run(model, data, out, **settings):
    evaluate(model, out=out, data=data, settings=EvaluateSettings(resamples=50, **settings))
    return read_report(out)


@pytest.fixture(scope="module")
def jp8(model, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("reports") / "jp8"
    run(model, data, out, suite="jp8")
    return out


@pytest.mark.parametrize("mode", ["compat", "fixed"])
def test_every_task_gives_the_plain_figures_item_by_item(model, data, tmp_path, mode):
    names = tuple(task_names())
    fast = run(model, data, tmp_path / "fast", tasks=names, mode=mode, batch_tokens=700)
    slow = run(model, data, tmp_path / "slow", tasks=names, mode=mode, way="plain")
    assert [task.name for task in fast.tasks] == list(names)
    for mine, plain in zip(fast.tasks, slow.tasks, strict=True):
        assert mine.hashes == plain.hashes and mine.n == plain.n > 0
        items = zip(
            read_items(tmp_path / "fast", mine.name),
            read_items(tmp_path / "slow", mine.name),
            strict=True,
        )
        for left, right in items:
            assert left["id"] == right["id"] and left["prediction"] == right["prediction"]
            assert left["text"] == right["text"] and left["finish"] == right["finish"]
            assert np.allclose(left["logprobs"], right["logprobs"], atol=1e-4, rtol=0)
        for name, metric in mine.metrics.items():
            assert math.isclose(metric.value, plain.metrics[name].value, abs_tol=1e-9)


def test_batch_size_changes_nothing(model, data, tmp_path):
    tasks = ("jcommonsenseqa", "jsquad", "mgsm")
    one = run(model, data, tmp_path / "one", tasks=tasks, batch_tokens=1)
    many = run(model, data, tmp_path / "many", tasks=tasks, batch_tokens=100_000)
    for name in tasks:
        for left, right in zip(
            read_items(tmp_path / "one", name), read_items(tmp_path / "many", name), strict=True
        ):
            assert left["text"] == right["text"]
            assert np.allclose(left["logprobs"], right["logprobs"], atol=1e-4, rtol=0)
    assert [task.metrics for task in one.tasks] == [task.metrics for task in many.tasks]


def test_the_eight_tasks_have_an_average_and_the_harness_shape(jp8):
    report = read_report(jp8)
    assert report.mode == "compat" and report.suite == "jp8"
    assert sorted(task.name for task in report.tasks) == sorted(JP8)
    values = [task.metrics[task.main].value for task in report.tasks]
    assert report.average is not None
    assert math.isclose(report.average.value, round(sum(values) / 8, 2), abs_tol=0.01)
    harness = json.loads((jp8 / "harness.json").read_text(encoding="utf-8"))
    assert set(harness["results"]) == {
        task.full_name.removesuffix("-1.0-none") for task in report.tasks
    }
    assert harness["results"]["mgsm-1.0-0.0"]["acc"] * 100 == pytest.approx(
        report.task("mgsm").metrics["acc"].value
    )


def test_the_report_says_by_which_rules_on_which_data_and_at_what_cost(jp8):
    report = read_report(jp8)
    for task in report.tasks:
        assert task.version and task.prompt and task.shots >= 0
        assert set(task.hashes) == {"prompts", "requests"} and len(task.data.sha256) == 64
        assert task.conditions["dtype"] == "float32" and task.conditions["backend"] == "minna"
        assert task.cost is not None and task.cost.requests == task.n
        assert task.cost.prompt_tokens > 0
    assert report.task("jcommonsenseqa").cost.shared_tokens > 0
    manifest = read_manifest(jp8)
    assert {licence.licence for licence in manifest.licences}
    assert manifest.parent("model").sha256 == report.model


def test_without_all_eight_there_is_no_average(model, data, tmp_path):
    partial = tmp_path / "data"
    write_all(partial)
    for file in (partial / "marc_ja-v1.1").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="marc_ja"):
        run(model, partial, tmp_path / "r", suite="jp8")
    report = run(model, partial, tmp_path / "r", suite="jp8", missing="skip")
    assert len(report.tasks) == 7 and report.average is None


def test_compat_without_a_train_split_is_refused_and_fixed_holds_some_apart(model, tmp_path):
    data = write_all(tmp_path / "data", scored=12)
    (data / "jnli-v1.1" / "train-v1.1.json").unlink()
    with pytest.raises(UsageError, match="train") as refused:
        run(model, data, tmp_path / "r", tasks=("jnli",), mode="compat")
    assert "fixed" in refused.value.remedy
    report = run(model, data, tmp_path / "r", tasks=("jnli",), mode="fixed")
    assert report.tasks[0].n == 12 - 3


def test_a_stopped_run_goes_on_where_it_was(model, data, tmp_path, monkeypatch):
    scored = []
    original = judge_module.score_task

    def failing(chosen, *args, **rest):
        scored.append(chosen.task.name)
        if chosen.task.name == "mgsm":
            raise KeyboardInterrupt
        return original(chosen, *args, **rest)

    monkeypatch.setattr(judge_module, "score_task", failing)
    with pytest.raises(KeyboardInterrupt):
        run(model, data, tmp_path / "r", tasks=("jcommonsenseqa", "mgsm"))
    assert (tmp_path / ".r.answers.jsonl").is_file() and not (tmp_path / "r").exists()
    monkeypatch.setattr(judge_module, "score_task", original)

    def nothing(*args, **rest):
        raise AssertionError("asked again")

    monkeypatch.setattr("minna.evaluate.backends.engine.likelihoods", nothing)
    monkeypatch.setattr("minna.evaluate.backends.engine.Engine", nothing)
    report = run(model, data, tmp_path / "r", tasks=("jcommonsenseqa", "mgsm"))
    assert [task.name for task in report.tasks] == ["jcommonsenseqa", "mgsm"]
    assert not (tmp_path / ".r.answers.jsonl").exists()


def test_nan_is_named_with_task_and_item_and_what_was_scored_is_kept(
    model,
    data,
    tmp_path,
    tokenizer_file,  # noqa: F811
):
    broken = tmp_path / "broken"
    shape = GptNeoXShape(layers=2, width=48, heads=3, ffn=96, context=2048)
    write_model(broken, shape, tokenizer_file, vocab=400)
    from safetensors.torch import load_file, save_file

    state = load_file(broken / "model.safetensors")
    name = next(name for name in state if name.endswith("final_layer_norm.weight"))
    state[name] = state[name] * float("nan")
    save_file(state, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match=r"jcommonsenseqa-1.1-0.2.*100"):
        run(broken, data, tmp_path / "r", tasks=("jcommonsenseqa",))
    assert not (tmp_path / "r").exists()


def test_the_same_again_is_left_as_it_is_and_another_setting_is_not(model, data, tmp_path):
    run(model, data, tmp_path / "r", tasks=("jblimp",))
    written = (tmp_path / "r" / "report.json").stat().st_mtime_ns
    run(model, data, tmp_path / "r", tasks=("jblimp",))
    assert (tmp_path / "r" / "report.json").stat().st_mtime_ns == written
    run(model, data, tmp_path / "r", tasks=("jblimp",), limit=3)
    assert read_report(tmp_path / "r").tasks[0].n == 3


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({}, "--suite"),
        ({"suite": "jp9"}, "jp8"),
        ({"tasks": ("jnly",)}, "jnli"),
        ({"tasks": ("jnli-9.9-0.2",)}, "1.3"),
        ({"tasks": ("jnli-1.3-0.9",)}, "0.2"),
        ({"tasks": ("jnli", "jnli-1.1-0.2")}, "report"),
        ({"tasks": ("jnli",), "suite": "jp8"}, "one of"),
        ({"tasks": ("jnli",), "versions": "ja8"}, "jnli-1.1-0.2"),
        ({"tasks": ("jnli", "mgsm"), "shots": (1, 2, 3)}, "jnli, mgsm"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_remedy(model, data, tmp_path, settings, word):
    with pytest.raises(UsageError) as refused:
        run(model, data, tmp_path / "r", **settings)
    assert word in f"{refused.value} {refused.value.remedy}"
    assert list(tmp_path.iterdir()) == []


def test_a_report_has_one_mode(model, data, tmp_path):
    with pytest.raises(UsageError, match="one mode"):
        evaluate(
            model,
            out=tmp_path / "r",
            data=data,
            corpus=tmp_path,
            settings=EvaluateSettings(suite="jp8"),
        )


def test_a_pipeline_judges_too(model, data, tmp_path):
    from minna.pipeline import EvaluateStage

    stage = EvaluateStage(
        verb="evaluate",
        out="report",
        model="tiny",
        data=data.as_posix(),
        settings={"tasks": ["jblimp"], "resamples": 20},
    )
    stage.check()
    shutil.copytree(model, tmp_path / "tiny")
    stage.run(tmp_path)
    assert read_report(tmp_path / "report").tasks[0].name == "jblimp"
    with pytest.raises(UsageError, match="needs a corpus"):
        EvaluateStage(verb="evaluate", out="report", model="tiny").check()


def test_the_command_line_prints_figures_and_json(model, data, tmp_path, capsys, monkeypatch):
    from minna.cli.main import main

    command = ["minna", "evaluate", str(model), "--tasks", "jblimp,jcommonsenseqa", "--limit", "4"]
    command += ["--data", str(data), "--num-fewshot", "0,1", "--out", str(tmp_path / "r")]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr().out
    assert ended.value.code in (0, None)
    assert "jblimp-1.0-none" in printed and "1 shots" in printed and "report.html" in printed
    monkeypatch.setattr("sys.argv", [*command, "--json"])
    with pytest.raises(SystemExit):
        main()
    result = json.loads(capsys.readouterr().out)
    assert [task["n"] for task in result["tasks"]] == [4, 4]


def test_answers_outlive_an_error_while_the_report_is_written(model, data, tmp_path, monkeypatch):
    import minna.evaluate.run as run_module

    def failing(*args, **rest):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "write_page", failing)
    with pytest.raises(KeyboardInterrupt):
        run(model, data, tmp_path / "r", tasks=("jblimp",))
    assert (tmp_path / ".r.answers.jsonl").is_file()
    monkeypatch.undo()
    report = run(model, data, tmp_path / "r", tasks=("jblimp",))
    assert report.tasks[0].cost.answered == 0 < report.tasks[0].cost.requests
    assert not (tmp_path / ".r.answers.jsonl").exists()


def test_a_changed_task_file_is_not_served_the_old_report(model, tmp_path):
    examples = Path(__file__).resolve().parents[2] / "examples" / "tasks"
    shutil.copytree(examples, tmp_path / "tasks")
    file = tmp_path / "tasks" / "llm-jp-eval-like.toml"
    report = run(model, None, tmp_path / "r", tasks=(str(file),))
    file.write_text(
        file.read_text(encoding="utf-8").replace('"exact_match", ', ""), encoding="utf-8"
    )
    changed = run(model, None, tmp_path / "r", tasks=(str(file),))
    assert (report.tasks[0].main, changed.tasks[0].main) == ("exact_match", "char_f1")


def test_nan_while_an_answer_is_written_is_named_too(
    model,
    data,
    tmp_path,
    tokenizer_file,  # noqa: F811
):
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    state = load_file(broken / "model.safetensors")
    name = next(name for name in state if name.endswith("final_layer_norm.weight"))
    save_file(
        {**state, name: state[name] * float("nan")},
        broken / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(ArtifactError, match=r"mgsm-1.0-0.0.*not numbers"):
        run(broken, data, tmp_path / "r", tasks=("mgsm",))


def test_examples_that_do_not_fit_are_told_and_counted(data, tmp_path, tokenizer_file, capsys):  # noqa: F811
    small = tmp_path / "small"
    shape = GptNeoXShape(layers=1, width=48, heads=3, ffn=96, context=256)
    write_model(small, shape, tokenizer_file, vocab=400)
    report = run(small, data, tmp_path / "r", tasks=("jcommonsenseqa",))
    task = report.tasks[0]
    assert task.conditions["shots_wanted"] == 3 > task.shots
    assert "fewer examples" in capsys.readouterr().err


def test_generation_counts_what_is_read_and_what_is_shared(model, data, tmp_path):
    report = run(model, data, tmp_path / "r", tasks=("mgsm",))
    cost = report.tasks[0].cost
    assert 0 < cost.shared_tokens < cost.prompt_tokens and cost.answered == cost.requests


@pytest.mark.parametrize("settings", [{"limit": 2}, {"shots": (1,)}])
def test_a_part_of_the_suite_has_no_average(model, data, tmp_path, settings):
    report = run(model, data, tmp_path / "r", suite="jp8", **settings)
    assert len(report.tasks) == 8 and report.average is None


def test_a_wrong_stage_is_refused_before_anything_runs(tmp_path):
    from minna.pipeline import EvaluateStage

    for settings, corpus in (({"tasks": ["jnlii"]}, None), ({"suite": "jp8"}, "corpus")):
        stage = EvaluateStage(verb="evaluate", out="r", model="m", corpus=corpus, settings=settings)
        with pytest.raises(UsageError):
            stage.check()


def test_a_member_of_a_known_family_that_our_engine_lacks_runs_by_transformers(
    model, data, tmp_path
):
    other = tmp_path / "relu"
    shutil.copytree(model, other)
    (other / "minna.json").unlink(missing_ok=True)
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    report = run(other, data, tmp_path / "r", tasks=("jblimp",))
    assert report.tasks[0].conditions["backend"] == "transformers"


@pytest.mark.parametrize(
    ("tasks", "prompt", "word"),
    [(("jnli-1.1-0.2",), "0.3", "say it once"), (("own.toml",), None, "another name")],
)
def test_contradictions_are_refused(model, data, tmp_path, monkeypatch, tasks, prompt, word):
    example = Path(__file__).resolve().parents[2] / "examples" / "tasks" / "jmmlu-like.toml"
    own = example.read_text(encoding="utf-8").replace(
        'name = "jmmlu_like"', 'name = "bits_per_byte"'
    )
    (tmp_path / "own.toml").write_text(own, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refused:
        run(model, data, tmp_path / "r", tasks=tasks, prompt=prompt)
    assert word in refused.value.remedy


@pytest.mark.parametrize("tasks", [("jnli",), ("mgsm",)])
def test_ids_outside_the_model_are_named_with_task_and_item(
    data,
    tmp_path,
    tokenizer_file,  # noqa: F811
    tasks,
):
    small = tmp_path / "small"
    shape = GptNeoXShape(layers=1, width=48, heads=3, ffn=96, context=2048)
    write_model(small, shape, tokenizer_file, vocab=300)
    with pytest.raises(DataError, match=rf"{tasks[0]}.*item.*300 rows"):
        run(small, data, tmp_path / "r", tasks=tasks)


def test_a_report_without_a_name_is_refused(model, data):
    with pytest.raises(ArtifactError, match="name"):
        run(model, data, Path(), tasks=("jblimp",))


def test_a_changed_figure_is_not_compared(model, data, tmp_path, monkeypatch, capsys):
    from minna.cli.main import main

    for name in "ab":
        run(model, data, tmp_path / name, tasks=("jblimp",))
    file = tmp_path / "b" / "items" / "jblimp.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace('"acc": 0.0', '"acc": 1.0'))
    file.write_text(file.read_text(encoding="utf-8") + "\n")
    monkeypatch.setattr("sys.argv", ["minna", "compare", str(tmp_path / "a"), str(tmp_path / "b")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1 and "jblimp.jsonl" in capsys.readouterr().err


def test_twins_are_asked_once_and_count_as_answered(model, data, tmp_path):
    twins = write_all(tmp_path / "data")
    file = twins / "jblimp" / "validated_minimal_pairs.jsonl"
    first = file.read_text(encoding="utf-8").splitlines()[0]
    again = json.dumps(json.loads(first) | {"ID": 99}, ensure_ascii=False)
    file.write_text(file.read_text(encoding="utf-8") + again + "\n", encoding="utf-8")
    cost = run(model, twins, tmp_path / "r", tasks=("jblimp",)).tasks[0].cost
    assert cost.answered == cost.requests == 7
