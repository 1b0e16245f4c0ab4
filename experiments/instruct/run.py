"""Run settings.toml: three seeds of SFT, reward model, PPO and DPO on the quickstart's base model.

    python -m experiments.instruct.run [--quickstart build/quickstart] [--data DIR] [--seeds 0 1]
        [--out build/experiments/instruct]

What is done is not done again; a run that was stopped goes on. It prints docs/instruct.md's tables.
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from pathlib import Path
from typing import Any

from minna import prompts, recipe
from minna.corpus.dialogue_corpus import read_dialogues
from minna.corpus.dialogues import Dialogue
from minna.evaluate import EvaluateSettings, evaluate, read_report
from minna.evaluate.duel import DuelSettings, duel, read_answers, read_duel
from minna.export import export_run
from minna.metrics.keywords import asked, malformed
from minna.metrics.paired import mean_difference
from minna.metrics.polite import style_of
from minna.metrics.repetition import repeated_grams
from minna.prompts import Turn
from minna.runtime.episodes import Said
from minna.runtime.reward import open_reward
from minna.tokenizer.chat import ChatCoder
from minna.tokenizer.coder import training_tokenizer

SETTINGS = Path(__file__).with_name("settings.toml")
MODELS = ("base", "sft", "ppo", "ppo-by-model", "dpo")
_COLUMNS = (
    "rule's score",
    "reward model's score",
    "ended",
    "repeated 3-grams",
    "JBLiMP",
    "bits per byte",
)


def main() -> None:
    """Train, ask, judge, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quickstart", type=Path, default=Path("build/quickstart"))
    options.add_argument("--out", type=Path, default=Path("build/experiments/instruct"))
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--seeds", type=int, nargs="*", help="of settings.toml's, only these")
    given = options.parse_args()
    said = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))
    start = time.monotonic()
    found = {
        seed: one_seed(said, seed=seed, home=given.quickstart, out=given.out / f"seed-{seed}",
                       data=given.data)
        for seed in said["seeds"]
        if given.seeds is None or seed in given.seeds
    }  # fmt: skip
    print(scores_table(found))
    print()
    print(meetings_table(found))
    print()
    for name, holds in judged(found).items():
        verdict = "shown" if all(holds.values()) else "NOT shown"
        seeds = ", ".join(f"{seed}: {'yes' if one else 'no'}" for seed, one in holds.items())
        print(f"- {verdict}: {said['claims'][name]} ({seeds})")
    print(f"\n{(time.monotonic() - start) / 60:.0f} minutes, what was there already not counted")


def one_seed(
    said: dict[str, Any], *, seed: int, home: Path, out: Path, data: Path
) -> dict[str, Any]:
    """Everything of one seed."""
    base, dialogues, corpus = home / "model", home / "keywords", home / "corpus"
    places = {"base": base}

    def trained(name: str, *, of: Path, kind: str = "", more: tuple[str, ...] = ()) -> Path:
        run = out / f"{name}-run"
        chosen = recipe.load(
            said["recipes"][kind or name],
            overrides=[f"init.from={of.as_posix()}", f"train.seed={seed}", *more],
        )
        recipe.run_recipe(chosen, corpus=dialogues, tokenizer=run / "tokenizer", out=run)
        return export_run(run, out=out / name)

    places["sft"] = trained("sft", of=base)
    reward = trained("reward", of=places["sft"])
    judge = (f"stream.reward={reward.as_posix()}", *said["recipes"]["by_model"])
    places["ppo"] = trained("ppo", of=places["sft"])
    places["ppo-by-model"] = trained("ppo-by-model", of=places["sft"], kind="ppo", more=judge)
    places["dpo"] = trained("dpo", of=places["sft"])
    met = {
        name: duel(
            [places[model] for model in MODELS],
            on=dialogues,
            out=out / f"duel-{name}",
            settings=DuelSettings(
                judge=by, seed=seed, format="minna",
                **{k: v for k, v in said["duel"].items() if k != "gold"},
            ),
        )
        for name, by in (("gold", said["duel"]["gold"]), ("proxy", str(reward)))
    }  # fmt: skip
    reports = {
        name: read_report(_tasks(said, model, corpus=corpus, data=data, out=out / f"report-{name}"))
        for name, model in places.items()
    }
    config = json.loads((reward / "config.json").read_text(encoding="utf-8"))
    return {
        "gold": read_duel(met["gold"]),
        "proxy": read_duel(met["proxy"]),
        "answers": read_answers(met["gold"]),
        "reports": reports,
        "reward_accuracy": config["reward_accuracy"],
        "by_kind": reward_by_kind(reward, dialogues, limit=said["duel"]["limit"]),
    }


def reward_by_kind(model: Path, dialogues: Path, *, limit: int) -> dict[str, tuple[int, float]]:
    """Pairs of the test split by what is wrong with the worse: how many, share told apart."""
    words = training_tokenizer(model)
    coder = ChatCoder(words, prompts.load("minna"))
    reward = open_reward(str(model), words=words, least_accuracy=0.0)
    compared = [one for one in read_dialogues(dialogues, split="test") if one.rejected][:limit]
    right: dict[str, list[bool]] = {}
    for one in compared:
        question = one.turns[:-1]
        ids = tuple(coder.prompt(question))
        whole = [
            coder.encode((*question, Turn("assistant", text))).ids.tolist()
            for text in (one.turns[-1].text, one.rejected)
        ]
        better, worse = reward(
            [
                Said(
                    turns=question,
                    text="",
                    prompt_ids=ids,
                    answer_ids=tuple(row[len(ids) :]),
                    ended=True,
                )
                for row in whole
            ]
        )
        right.setdefault(_wrong(one), []).append(better > worse)
    return {kind: (len(found), sum(found) / len(found)) for kind, found in sorted(right.items())}


def _wrong(one: Dialogue) -> str:
    if malformed(one.rejected):
        return "not a sentence"
    _, style = asked(one.turns[0].text)
    return "other style" if style_of(one.rejected) != style else "fewer of the words"


def _tasks(said: dict[str, Any], model: Path, *, corpus: Path, data: Path, out: Path) -> Path:
    settings = EvaluateSettings(
        tasks=tuple(said["tasks"]["names"]), limit=said["tasks"]["corpus_limit"], missing="skip"
    )
    done = evaluate(model, out=out, settings=settings, corpus=corpus, data=data)
    assert done is not None, "one process"
    return done


def scores_table(found: dict[int, dict[str, Any]]) -> str:
    """A row for each seed and model."""
    lines = [
        f"| seed | model | {' | '.join(_COLUMNS)} |",
        f"|---|---|{'---|' * len(_COLUMNS)}",
    ]
    for seed, one in found.items():
        for place, name in enumerate(MODELS):
            gold, proxy = one["gold"]["models"][place], one["proxy"]["models"][place]
            tasks = {task.name: task.metrics[task.main] for task in one["reports"][name].tasks}
            figures = [
                _span(gold["score"]), _span(proxy["score"]), f"{gold['ended']:.1%}",
                f"{gold['repeated']:.1%}",
                _span(tasks["jblimp"].model_dump(), digits=1) if "jblimp" in tasks else "-",
                f"{tasks['bits_per_byte'].value:.3f}",
            ]  # fmt: skip
            lines.append(f"| {seed} | {name} | {' | '.join(figures)} |")
    return "\n".join(lines)


def meetings_table(found: dict[int, dict[str, Any]]) -> str:
    """A row for each seed and pair of models."""
    lines = [
        "| seed | model | over | wins, ties, losses by the rule | win rate | by the reward model |",
        "|---|---|---|---|---|---|",
    ]
    for seed, one in found.items():
        for gold, proxy in zip(one["gold"]["meetings"], one["proxy"]["meetings"], strict=True):
            counts = ", ".join(f"{gold[key]:.0%}" for key in ("wins", "ties", "losses"))
            lines.append(
                f"| {seed} | {gold['model']} | {gold['over']} | {counts} | "
                f"{_span(gold['rate'], percent=True)} | {_span(proxy['rate'], percent=True)} |"
            )
    lines += [
        "",
        "| seed | reward model, held-out pairs told apart | by what is wrong with the worse |",
    ]
    lines.append("|---|---|---|")
    for seed, one in found.items():
        kinds = ", ".join(
            f"{kind} {share:.1%} of {n}" for kind, (n, share) in one["by_kind"].items()
        )
        lines.append(f"| {seed} | {one['reward_accuracy']:.1%} | {kinds} |")
    return "\n".join(lines)


def judged(found: dict[int, dict[str, Any]]) -> dict[str, dict[int, bool]]:
    """Whether each claim holds, by seed."""

    def rate(one: dict[str, Any], judge: str, model: str, over: str) -> dict[str, float]:
        (found,) = (
            meeting["rate"]
            for meeting in one[judge]["meetings"]
            if (meeting["model"], meeting["over"]) == (model, over)
        )
        return found

    def repeats(one: dict[str, Any]) -> bool:
        sft, ppo = (
            [repeated_grams([*row["answers"][name]["text"]]) for row in one["answers"]]
            for name in ("sft", "ppo")
        )
        return mean_difference(sft, ppo).low > 0

    wins = {
        "sft_over_base": ("gold", "sft", "model"),
        "ppo_over_sft": ("gold", "ppo", "sft"),
        "dpo_over_sft": ("gold", "dpo", "sft"),
        "by_model_proxy": ("proxy", "ppo-by-model", "sft"),
    }
    told = {
        claim: {seed: rate(one, *pair)["low"] > 0.5 for seed, one in found.items()}
        for claim, pair in wins.items()
    }
    told["ppo_repeats"] = {seed: repeats(one) for seed, one in found.items()}
    told["by_model_gold"] = {
        seed: rate(one, "gold", "ppo-by-model", "sft")["high"] < 0.5 for seed, one in found.items()
    }
    return told


def _span(figure: dict[str, Any], *, percent: bool = False, digits: int = 3) -> str:
    if percent:
        return f"{figure['value']:.1%} [{figure['low']:.1%}, {figure['high']:.1%}]"
    return f"{figure['value']:.{digits}f} [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"


if __name__ == "__main__":
    main()
