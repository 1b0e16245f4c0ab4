"""Models asked the same questions, and a judge who says whose answer is better.

What instruction tuning is for shows in answers, not in log-probabilities: the paper reports how
often people preferred one model's answer to another's. Here the judge is a reward, a rule or a
model; each question is answered once by every model with the same seed, and a win rate counts the
questions on which one got more than another, ties as half. Its interval is a bootstrap over groups
of questions (whole groups err together).

A judge that a model was trained against says how well the training went, not how good the model is:
the page says so, and shows the answers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from minna import artifact, prompts
from minna.artifact.files import write_text_atomically
from minna.console import say, warn
from minna.corpus.dialogue_corpus import read_dialogues
from minna.corpus.dialogues import Dialogue
from minna.errors import DataError, UsageError
from minna.evaluate.subject import open_subject
from minna.metrics import ratio_interval
from minna.metrics.repetition import repeated_grams
from minna.prompts import Turn
from minna.runtime.chat import open_asks
from minna.runtime.episodes import Said
from minna.runtime.load import family_of, load_model
from minna.runtime.reward import open_reward
from minna.runtime.rollout import Question, answer
from minna.runtime.weights import read_json
from minna.tokenizer.chat import ChatCoder
from minna.tokenizer.coder import training_tokenizer

DUEL, ANSWERS, PAGE = "duel.json", "answers.jsonl", "duel.html"
_SHOWN = 40


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DuelSettings:
    """How models are asked, and who judges.

    Attributes:
        judge: "rule:NAME", "rule:FILE.py:NAME", or a reward model's folder (of their vocabulary).
        split: of the dialogues; each is asked up to its last answer.
        limit: questions, spread evenly over the split.
        answer_tokens: longest answer.
        temperature, top_p: of answers; 0 takes the most likely word each time.
        seed: of the answers.
        format: how every model is asked; "" asks each by its own chat template.
    """

    judge: str
    split: str = Field(default="test", pattern="^(train|valid|test)$")
    limit: int = Field(default=200, ge=1)
    answer_tokens: int = Field(default=64, ge=1)
    temperature: float = Field(default=0.7, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = 0
    format: str = ""


def duel(models: Sequence[Path], *, on: Path, out: Path, settings: DuelSettings) -> Path:
    """Ask every model the questions of a dialogue corpus, and judge.

    Args:
        models: two or more model dirs; each is compared with every one before it.
        on: the corpus.
        out: the directory to write: duel.json, answers.jsonl, duel.html.
        settings: see there.

    Raises:
        UsageError: fewer than two models, one without a chat template, no such judge.
        DataError: no question fits, or the rule raised.
        ArtifactError: a model or the corpus cannot be read.
    """
    if len(models) < 2:  # noqa: PLR2004 - two make a duel
        raise UsageError(f"a duel needs two models, and got {len(models)}", remedy="name another")
    if len({str(model) for model in models}) < len(models):
        raise UsageError("a model is named twice in this duel", remedy="name each once")
    parents = [artifact.parent_of(on, role="corpus", kind="corpus")]
    parents += [open_subject(model, server=None).parent for model in models]
    judge = Path(settings.judge)
    if (judge / artifact.MANIFEST_NAME).is_file():
        parents.append(artifact.parent_of(judge, role="judge"))
    values = asdict(settings)
    if artifact.unchanged(out, key=artifact.key_of("duel", settings=values, parents=parents)):
        say(f"{out}: these models have met on these questions already")
        return out
    start = time.monotonic()
    with artifact.writing(out, kind="duel", settings=values, parents=parents) as draft:
        sides_of = [_Side(model, settings) for model in models]
        asked, left_out = _fitting(_questions(on, settings), sides_of, settings)
        names = _names(models)
        sides = [side.answers(asked) for side in sides_of]
        result = _result(names, sides, asked, settings, seconds=time.monotonic() - start)
        write_text_atomically(draft.path / DUEL, json.dumps(result, ensure_ascii=False, indent=1))
        rows = _rows(names, sides, asked)
        if left_out:
            draft.count("left_out", left_out, "questions")
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text_atomically(draft.path / ANSWERS, text)
        write_text_atomically(draft.path / PAGE, _page(result, rows))
        draft.count("questions", len(asked), "questions")
        draft.licences = list(artifact.read_manifest(on).licences)
    return out


def read_duel(path: Path) -> dict[str, Any]:
    """Return what duel.json says.

    Raises:
        ArtifactError: `path` is no duel.
    """
    artifact.read_manifest(path, kind="duel")
    return json.loads((path / DUEL).read_text(encoding="utf-8"))


def read_answers(path: Path) -> list[dict[str, Any]]:
    """Return the rows of answers.jsonl: question, and each model's answer with its score.

    Raises:
        ArtifactError: `path` is no duel.
    """
    artifact.read_manifest(path, kind="duel")
    lines = (path / ANSWERS).read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines]


def _questions(on: Path, settings: DuelSettings) -> list[Dialogue]:
    every = list(read_dialogues(on, split=settings.split))
    if not every:
        raise DataError(
            f"the split {settings.split!r} of {on} holds no dialogue",
            remedy="name another split, or build the corpus with a larger one",
        )
    chosen = np.linspace(0, len(every) - 1, min(settings.limit, len(every))).astype(int)
    return [every[place] for place in chosen.tolist()]


def _asked_turns(dialogue: Dialogue) -> tuple[Turn, ...]:
    turns = dialogue.turns
    return turns[:-1] if turns[-1].role == "assistant" else turns


class _Side:
    """A model that is asked; what can be refused is refused before any model answers.

    Args:
        model: a model dir.
        settings: of the duel.
    """

    def __init__(self, model: Path, settings: DuelSettings) -> None:
        self.model, self._settings = model, settings
        self._how = open_asks(model, prompts.load(settings.format) if settings.format else None)
        words = training_tokenizer(model)
        self._judge = open_reward(settings.judge, words=words, least_accuracy=0.0)
        config = read_json(model / "config.json")
        self.context = int(family_of(config, model).config_from_disk(config).context)

    def prompt(self, turns: tuple[Turn, ...]) -> tuple[int, ...]:
        """Ids of a question.

        Raises:
            DataError: the format cannot hold it.
            UsageError: the model's template refuses it.
        """
        folded = self._how.folded(turns) if isinstance(self._how, ChatCoder) else turns
        return tuple(self._how.prompt(folded))

    def answers(self, asked: Sequence[Dialogue]) -> list[tuple[Said, float]]:
        """Answer of the model to each question, and what the judge gave for it."""
        say(f"asking {self.model}")
        settings = self._settings
        loaded = load_model(self.model, dtype="fp32", layout="plain")
        questions = [
            Question(ids=self.prompt(turns), turns=turns, seed=settings.seed * 2**32 + place)
            for place, turns in enumerate(map(_asked_turns, asked))
        ]
        said = answer(
            loaded.decoder,
            loaded.tokenizer,
            questions,
            answer_tokens=settings.answer_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            newline=self._how.newline,
        )
        return list(zip(said, self._judge(said), strict=True))


def _fitting(
    asked: Sequence[Dialogue], sides: Sequence[_Side], settings: DuelSettings
) -> tuple[list[Dialogue], int]:
    """Questions that every model can be asked, with room for a whole answer; how many are not.

    Raises:
        DataError: there is none.
    """
    kept: list[Dialogue] = []
    refusal = ""
    for one in asked:
        try:
            sizes = [len(side.prompt(_asked_turns(one))) for side in sides]
        except (DataError, UsageError) as error:
            refusal = refusal or error.rule
            continue
        rooms = [side.context - size for side, size in zip(sides, sizes, strict=True)]
        if min(rooms) >= settings.answer_tokens:
            kept.append(one)
    left_out = len(asked) - len(kept)
    why = f" (the first that a format cannot hold: {refusal})" if refusal else ""
    if not kept:
        raise DataError(
            f"of {len(asked)} questions none leaves room for {settings.answer_tokens} tokens of an "
            f"answer in every model's context{why}",
            remedy="ask for shorter answers, or of shorter dialogues",
        )
    if left_out:
        warn(
            f"{left_out} of {len(asked)} questions are left out: too long for one of the models"
            f"{why}"
        )
    return kept, left_out


def _names(models: Sequence[Path]) -> list[str]:
    """Short names that differ: the last folders of the paths, as many as that takes."""
    for depth in range(1, max(len(model.parts) for model in models) + 1):
        names = ["/".join(model.parts[-depth:]) for model in models]
        if len(set(names)) == len(names):
            return names
    return [str(model) for model in models]


def _result(
    names: Sequence[str],
    sides: Sequence[list[tuple[Said, float]]],
    asked: Sequence[Dialogue],
    settings: DuelSettings,
    *,
    seconds: float,
) -> dict[str, Any]:
    groups = np.array([_asked_turns(one)[-1].text for one in asked])
    scores = [np.array([score for _, score in side]) for side in sides]
    models = [
        {
            "name": name,
            "score": _interval(values, groups),
            "ended": sum(one.ended for one, _ in side) / len(side),
            "tokens": sum(len(one.answer_ids) for one, _ in side) / len(side),
            "repeated": sum(repeated_grams(one.answer_ids) for one, _ in side) / len(side),
        }
        for name, side, values in zip(names, sides, scores, strict=True)
    ]
    meetings = [
        {
            "model": names[later],
            "over": names[earlier],
            **_meeting(scores[later], scores[earlier], groups),
        }
        for later in range(1, len(names))
        for earlier in range(later)
    ]
    return {
        "judge": settings.judge,
        "questions": len(asked),
        "models": models,
        "meetings": meetings,
        "seconds": round(seconds, 1),
    }


def _meeting(
    later: NDArray[np.float64], earlier: NDArray[np.float64], groups: NDArray[np.str_]
) -> dict[str, Any]:
    wins, losses = float((later > earlier).mean()), float((later < earlier).mean())
    won = (later > earlier) + 0.5 * (later == earlier)
    return {
        "wins": wins,
        "ties": 1 - wins - losses,
        "losses": losses,
        "rate": _interval(won, groups),
    }


def _interval(values: NDArray[np.floating[Any]], groups: NDArray[np.str_]) -> dict[str, float]:
    found = ratio_interval(values, np.ones(len(values)), groups=groups)
    return {"value": found.value, "low": found.low, "high": found.high}


def _rows(
    names: Sequence[str], sides: Sequence[list[tuple[Said, float]]], asked: Sequence[Dialogue]
) -> list[dict[str, Any]]:
    return [
        {
            "id": one.id,
            "turns": [[turn.role, turn.text] for turn in _asked_turns(one)],
            "answers": {
                name: {"text": side[place][0].text, "score": side[place][1],
                       "ended": side[place][0].ended}
                for name, side in zip(names, sides, strict=True)
            },
        }
        for place, one in enumerate(asked)
    ]  # fmt: skip


def _page(result: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    environment = Environment(
        loader=PackageLoader("minna.evaluate"), autoescape=True, undefined=StrictUndefined
    )
    step = max(1, len(rows) // _SHOWN)
    return environment.get_template("duel.html").render(result=result, rows=rows[::step])
