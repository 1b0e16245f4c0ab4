"""Reports of models that never were: all eight tasks with plausible items, written in a second."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from minna import artifact
from minna.artifact import Parent
from minna.evaluate.items import Item
from minna.evaluate.page import write_page
from minna.evaluate.report import (
    Cost,
    Data,
    Metric,
    Report,
    Task,
    average_of,
    write_items,
    write_report,
)
from minna.evaluate.suite import read_suite
from minna.evaluate.task import Chosen
from minna.metrics.interval import mean_interval

NASTY = "</script><script>document.title='stolen'</script><!-- & \u2028 </SCRIPT > 日本語 `|` ${x}"
_CHOICES = {"jcommonsenseqa": 5, "jnli": 3, "marc_ja": 2, "xwinograd_ja": 2}
_SENTENCE = "京都は千年以上も都であった町で、今も寺や神社が多く残っています。"


def made_report(
    out: Path,
    *,
    model: str = "みんな-gpt-small",
    skill: float = 0.5,
    count: int = 60,
    tasks: Sequence[str] | None = None,
    mode: str = "compat",
    parents: Sequence[Parent] = (),
    prompt: str | None = None,
) -> Path:
    """A report directory; items of models of different `skill` agree on what is hard."""
    suite = read_suite("jp8")
    chosen = [c for c in suite.choose(prompt=prompt) if tasks is None or c[0].task.name in tasks]
    sha = hashlib.sha256(model.encode()).hexdigest()
    if parents:
        sha = next(p.sha256 for p in parents if p.role == "model")
    values = {
        "model": model,
        "skill": skill,
        "mode": mode,
        "count": count,
        "tasks": list(tasks or []),
    }
    with artifact.writing(out, kind="report", settings=values, parents=list(parents)) as draft:
        made: list[Task] = []
        for entry, shots in chosen:
            items = made_items(entry, skill=skill, count=count, model=model)
            write_items(draft.path, entry.task.name, (asdict(item) for item in items))
            made.append(_task(entry, items, shots=shots))
        value = suite.mean({t.name: {k: m.value for k, m in t.metrics.items()} for t in made})
        mains = [task.metrics[task.main] for task in made]
        report = Report(
            mode=mode,
            model=sha,
            model_name=model,
            suite="jp8",
            average=None if value is None else average_of(value, mains),
            tasks=made,
            cost=Cost(
                seconds=312.4,
                requests=480,
                answered=480,
                prompt_tokens=812_345,
                shared_tokens=603_210,
            ),
        )
        write_report(draft.path, report)
        write_page(draft.path, report=report)
    return out


def made_items(chosen: Chosen, *, skill: float, count: int, model: str) -> list[Item]:
    """Items of a task: the difficulty comes from the item, the luck from the model."""
    name = chosen.task.name
    items: list[Item] = []
    for number in range(count):
        hard = random.Random(f"{name} {number}").random()
        luck = random.Random(f"{name} {number} {model}").gauss(0, 0.15)
        right = hard < skill + luck
        question = f"問題{number}：{_SENTENCE * (1 + number % 3)}"
        common: dict[str, object] = {
            "id": f"{name}-{number:04d}",
            "group": "",
            "context": f"{question}\n答え：" + (NASTY if number == 1 else ""),
            "shots": chosen.task.shots,
            "prompt_tokens": 200 + number,
        }
        if name in _CHOICES:
            items.append(_choice(common, number, choices=_CHOICES[name], right=right))
        else:
            score = round(max(0.0, skill - hard / 2), 4) if name == "xlsum_ja" else float(right)
            items.append(_answer(common, chosen, number, right=right, score=score))
    return items


def _choice(common: dict[str, object], number: int, *, choices: int, right: bool) -> Item:
    gold = number % choices
    said = gold if right else (gold + 1) % choices
    logprobs = [-9.25 - 0.75 * abs(k - said) - (0.5 if k != said else 0) for k in range(choices)]
    words = ["含意", "矛盾", "中立", "電子レンジ", "冷蔵庫の中にある棚"]
    return Item(
        **common,  # pyright: ignore[reportArgumentType]
        gold=gold,
        prediction=said,
        scores=dict.fromkeys(("acc", "acc_norm", "acc_bytes"), float(right)),
        continuations=tuple(words[:choices]),
        logprobs=tuple(logprobs),
        greedy=(False,) * choices,
        lengths=(3,) * choices,
        new_tokens=3 * choices,
    )


def _answer(
    common: dict[str, object], chosen: Chosen, number: int, *, right: bool, score: float
) -> Item:
    gold = f"答え{number}"
    text = gold if right else f"違う答え{number}"
    return Item(
        **common,  # pyright: ignore[reportArgumentType]
        gold=(gold, f"こたえ{number}"),
        prediction=text,
        scores=dict.fromkeys(chosen.task.metrics, score),
        text=text + (NASTY if number == 1 else ""),
        finish="stop",
        new_tokens=7,
    )


def _task(chosen: Chosen, items: list[Item], *, shots: int) -> Task:
    metrics: dict[str, Metric] = {}
    for name in items[0].scores:
        found = mean_interval([item.scores[name] for item in items])
        metrics[name] = Metric(
            value=100 * found.value, low=100 * found.low, high=100 * found.high, unit="percent"
        )
    ids = "\n".join(item.id for item in items)
    prompts = hashlib.sha256(chosen.name.encode()).hexdigest()
    return Task(
        name=chosen.task.name,
        title=chosen.task.title,
        version=chosen.version.version,
        prompt=chosen.prompt.code,
        shots=shots,
        n=len(items),
        main=chosen.task.metrics[0],
        data=Data(
            sha256=hashlib.sha256(ids.encode()).hexdigest(),
            title=chosen.task.source.title,
            split="scored",
            files=("valid.json",),
        ),
        hashes={"prompts": prompts, "requests": prompts},
        conditions={"contexts_truncated": 0, "dtype": "float32", "device": "cpu"},
        metrics=metrics,
        cost=Cost(
            seconds=12.5,
            prompt_tokens=sum(item.prompt_tokens for item in items),
            shared_tokens=sum(item.prompt_tokens for item in items) // 2,
            new_tokens=sum(item.new_tokens for item in items),
            requests=len(items),
            answered=len(items),
            peak_bytes=1_234_567_890,
        ),
    )
