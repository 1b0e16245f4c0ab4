"""Every recipe of dialogues we ship, shrunk, goes the whole way, in the chain that the recipes name.

A recipe's `init.from` and `stream.reward` are names of other recipes: SFT begins from random weights of its base's
shape, a reward model and DPO from the exported SFT, PPO from both. Each is trained and exported once, whoever asks first.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tests.corpus.made_corpora import english, row, write_corpus
from tests.recipe.test_recipes_shrunk import logits_elsewhere, shrink
from tests.tokenizer.tiktoken_folder import tiktoken_folder
from tests.toy_chain import make_corpus, sentences

from minna import prompts, recipe
from minna.corpus.dialogue_corpus import DialogueSettings, build_dialogues, read_dialogues
from minna.export import export_run
from minna.export.causal_lm import write_model
from minna.models import build
from minna.prompts import Turn
from minna.recipe import Recipe
from minna.runtime.episodes import Said
from minna.runtime.load import load_model
from minna.runtime.reward import open_reward
from minna.runtime.weights import read_json
from minna.tokenizer import TokenizerSettings, train_tokenizer
from minna.tokenizer.adopt import adopt_tokenizer
from minna.tokenizer.chat import ChatCoder, TemplateCoder
from minna.tokenizer.coder import load_coder, training_tokenizer
from minna.train import precision, report

KINDS = ("chat", "pairs", "experience")
TUNED = [name for name in recipe.names() if recipe.load(name).stream.kind in KINDS]
REWARDS = [name for name in TUNED if recipe.load(name).objective.kind == "bradley_terry"]
ANSWERING = [name for name in TUNED if name not in REWARDS]
CONTEXT = 512
# Tokens of a row; those of Alpaca's layout are bytes here.
ROWS = {"chat": 128, "pairs": 192, "experience": 128}
ALPACA_ROWS = 448
SHORT = 48  # of which logits are compared: Qwen's reference is slow


@dataclass(frozen=True, kw_only=True)
class Trained:
    recipe: Recipe
    model: Path
    log: list[dict]


class Chain:
    """Models by the recipe's name: trained, or random where the recipe is of no dialogue."""

    def __init__(self, root: Path) -> None:
        self.root = root
        text = make_corpus(root / "text", count=240)
        self.keywords = root / "keywords"
        build_dialogues(settings=DialogueSettings(source="keywords", path=text), out=self.keywords)
        self.instructed = instructed_dialogues(root)
        self.text = tokenizer_text(root, self.keywords)
        self._made: dict[str, Path | Trained] = {}

    def model(self, name: str) -> Path:
        made = self._made.get(name) or self._make(name)
        self._made[name] = made
        return made.model if isinstance(made, Trained) else made

    def trained(self, name: str) -> Trained:
        self.model(name)
        made = self._made[name]
        assert isinstance(made, Trained)
        return made

    def _make(self, name: str) -> Path | Trained:
        return self._train(name) if name in TUNED else self._random(name)

    def _random(self, name: str) -> Path:
        """A model dir of random weights in the shape of a base."""
        whole = recipe.load(name)
        out = self.root / name
        tokenizer = self._tokenizer(whole, self.root / f"{name}-tokenizer")
        words = training_tokenizer(tokenizer)
        small = shrink(
            name,
            vocab=words.vocab_size,
            more=("init.from=", f"model.context={CONTEXT}"),
        )
        model = build(small.model, vocab=words.vocab_size)
        model.initialise(seed=0)
        shutil.copytree(tokenizer, out)
        write_model(out, model, family=small.model.family, words=words)
        return out

    def _tokenizer(self, whole: Recipe, out: Path) -> Path:
        if whole.model.family == "qwen":
            return adopt_tokenizer(tiktoken_folder(self.root / "qwen"), out=out)
        settings = whole.tokenizer
        if settings.kind == "base":
            settings = TokenizerSettings()
        return train_tokenizer(
            self.text, out=out, settings=dataclasses.replace(settings, vocab_size=480)
        )

    def _train(self, name: str) -> Trained:
        whole = recipe.load(name)
        stream = whole.stream
        base = self.model(whole.init.from_)
        tokens = ALPACA_ROWS if stream.format == "alpaca-ja" else ROWS[stream.kind]
        more = [
            f"init.from={base.as_posix()}",
            f"model.context={CONTEXT}",
            f"stream.row_tokens={tokens}",
            f"train.tokens_per_step={tokens * 4}",
        ]
        if stream.kind == "experience":
            more += ["stream.answer_tokens=8", "stream.rollout_rows=4", "stream.passes=1"]
            more += ["stream.samples=2"] if stream.samples > 1 else []
            more += ["stream.least_accuracy=0"]
            if not stream.reward.startswith("rule:"):
                more += [f"stream.reward={self.model(stream.reward).as_posix()}"]
        small = shrink(name, vocab=training_tokenizer(base).vocab_size, more=tuple(more))
        run = self.root / f"{name}-run"
        told = prompts.load(stream.format).instructed and stream.format != "minna"
        recipe.run_recipe(
            small,
            corpus=self.instructed if told else self.keywords,
            tokenizer=run / "tokenizer",
            out=run,
        )
        lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
        return Trained(
            recipe=small,
            model=export_run(run, out=self.root / name),
            log=[json.loads(line) for line in lines],
        )


def instructed_dialogues(root: Path) -> Path:
    """Dialogues of which every second one has a system turn."""
    rows = []
    for number, text in enumerate(dict.fromkeys(sentences(60, seed=1))):
        told = {"instruction": "言い直せ。", "input": text[:-1], "output": text}
        rows.append(told if number % 2 else {"prompt": f"{text[:-1]}か。", "completion": text})
    file = root / "instructed.jsonl"
    lines = [json.dumps(one, ensure_ascii=False) for one in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = DialogueSettings(source="dialogues", path=file, valid=0.1, licence="CC0-1.0")
    build_dialogues(settings=settings, out=root / "instructed")
    return root / "instructed"


def tokenizer_text(root: Path, dialogues: Path) -> Path:
    """A text corpus in two languages that holds the words of dialogues and formats."""
    texts = [turn.text for one in read_dialogues(dialogues, split="all") for turn in one.turns]
    for name in prompts.names():
        texts += [prompts.load(name).prompt([Turn("user", text)], end="") for text in texts[:20]]
    rows = [row(text) for text in dict.fromkeys(texts)]
    return write_corpus(root / "tokenizer-text", [*rows, *english(200)], file_rows=2000)


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # measuring the machine and drawing curves of two steps would be half of the time
        patch.setattr(precision, "matrix_peak", lambda *_: 1e11)
        patch.setattr(report, "draw", lambda *_, **__: "<svg></svg>")
        yield Chain(tmp_path_factory.mktemp("chain"))


@pytest.mark.parametrize("name", TUNED)
def test_a_recipe_that_goes_on_names_what_it_goes_on_from(name):
    """The chain of the documentation is the one that is trained here."""
    whole = recipe.load(name)
    assert whole.init.from_ in recipe.names()
    reward = getattr(whole.stream, "reward", "rule:")
    assert reward.startswith("rule:") or recipe.load(reward).objective.kind == "bradley_terry"
    base = recipe.load(whole.init.from_)
    assert (whole.model, whole.licence) == (base.model, base.licence)
    assert whole.tokenizer.vocab_size == base.tokenizer.vocab_size


@pytest.mark.parametrize("name", ANSWERING)
def test_a_shrunk_recipe_of_answers_trains_exports_and_is_asked_in_transformers_as_here(
    name, chain
):
    trained = chain.trained(name)
    assert [line["step"] for line in trained.log if line["event"] == "evaluate"][-1] == 2
    model, fmt = trained.model, prompts.load(trained.recipe.stream.format)
    turns = question(fmt)
    ids = ChatCoder(training_tokenizer(model), fmt).prompt(turns)
    ours = load_model(model, device="cpu", dtype="fp32", layout="plain").decoder
    mine = ours.logits(ours(torch.tensor([ids[:SHORT]])))[0]
    theirs = logits_elsewhere(model, ids[:SHORT])
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    before = load_model(Path(trained.recipe.init.from_), device="cpu", dtype="fp32")
    assert not torch.equal(before.decoder.embed.weight, ours.embed.weight)
    assert rendered(model, turns) == fmt.prompt(turns, end=load_coder(model).eos_text)
    assert TemplateCoder(model).prompt(turns) == ids


@pytest.mark.parametrize("name", REWARDS)
def test_a_shrunk_reward_model_trains_exports_and_scores_in_transformers_as_here(name, chain):
    from transformers import AutoModelForSequenceClassification

    trained = chain.trained(name)
    model, fmt = trained.model, prompts.load(trained.recipe.stream.format)
    words, config = training_tokenizer(model), read_json(model / "config.json")
    assert config["reward_pairs"] > 0
    turns = (Turn("user", "「海」で普通の文"),)
    asked = ChatCoder(words, fmt).prompt(turns)
    assert rendered(model, turns) == fmt.prompt(turns, end=load_coder(model).eos_text)
    said = [
        Said(
            turns=turns,
            text=text,
            prompt_ids=tuple(asked),
            answer_ids=(*words.encode(text), words.eos_id),
            ended=True,
        )
        for text in ("海で寝ていた。", "海")
    ]
    mine = open_reward(str(model), words=words, least_accuracy=0)(said)
    rows = [[*one.prompt_ids, *one.answer_ids] for one in said]
    longest = max(map(len, rows))
    padded = torch.tensor([[*ids, *[words.pad_id] * (longest - len(ids))] for ids in rows])
    peer = AutoModelForSequenceClassification.from_pretrained(model).eval()
    with torch.no_grad():
        theirs = peer(padded).logits[:, 0] + config["reward_bias"]
    torch.testing.assert_close(torch.tensor(mine), theirs, rtol=1e-4, atol=1e-5)
    assert mine[0] != mine[1]


def question(fmt):
    told = (Turn("system", "短く言え。"),) if fmt.instructed else ()
    return (*told, Turn("user", "猫は\n寝ている。"))


def rendered(model, turns):
    """The prompt as transformers writes it."""
    from transformers import AutoTokenizer

    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    return AutoTokenizer.from_pretrained(model).apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
