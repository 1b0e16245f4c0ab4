"""What we ship is what we said: sizes, resolved recipes, and errors that name the misspelt key."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import torch

from minna import recipe
from minna.errors import UsageError
from minna.models import build
from minna.recipe.schema import check, check_step_tokens, merge
from minna.recipe.tuning import kind_of

GOLDEN = Path(__file__).parents[1] / "golden" / "recipes"

# Parameters of the released models, from their file sizes and shapes.
SIZES = {
    "japanese-gpt2-xsmall": 37_398_016,
    "japanese-gpt2-small": 110_418_432,
    "japanese-gpt2-medium": 336_128_000,
    "japanese-gpt-1b": 1_302_712_320,
    "japanese-gpt-neox-small": 153_278_976,
    "japanese-gpt-neox-3.6b": 3_607_245_312,
    "bilingual-gpt-neox-4b": 3_796_120_064,
    "bilingual-gpt-neox-4b-8k": 3_796_120_064,
    "youri-7b": 6_738_415_616,
    "nekomata-7b": 7_721_324_544,
    "nekomata-14b": 14_167_290_880,
    # 110,028,288 without the head's own 768 x 768 matrix, norm and bias
    "japanese-roberta-base": 110_028_288 + 768 * 769 + 2 * 768 + 32_000,
    # both towers and their projections
    "japanese-clip-vit-b-16": 196_613_377,
    "japanese-cloob-vit-b-16": 196_613_377 - 1,  # no scale learns
    "japanese-hubert-base-1": 94_371_712,
    "japanese-hubert-base": 94_371_712,
    "japanese-hubert-large": 315_438_720,
    "japanese-wav2vec2-base": 94_371_712,
    "japanese-data2vec-audio-base": 93_164_288,
    # a row and a bias for each of 40 phones, the boundary and the blank
    "japanese-hubert-base-ctc-32h": 94_371_712 + 42 * 769,
    "japanese-hubert-base-ctc-552h": 94_371_712 + 42 * 769,
}
# Tuned models have the size of their base; those that give rewards have one row instead of its head.
TUNED_SIZES = {
    "japanese-gpt-neox-3.6b-instruction-sft": SIZES["japanese-gpt-neox-3.6b"],
    "japanese-gpt-neox-3.6b-instruction-sft-v2": SIZES["japanese-gpt-neox-3.6b"],
    "japanese-gpt-neox-3.6b-instruction-ppo": SIZES["japanese-gpt-neox-3.6b"],
    "japanese-gpt-neox-3.6b-instruction-reward": 3_607_245_312 - 31_999 * 2_816,
    "bilingual-gpt-neox-4b-instruction-sft": SIZES["bilingual-gpt-neox-4b"],
    "bilingual-gpt-neox-4b-instruction-ppo": SIZES["bilingual-gpt-neox-4b"],
    "bilingual-gpt-neox-4b-instruction-reward": 3_796_120_064 - 65_535 * 2_816,
    "youri-7b-instruction": SIZES["youri-7b"],
    "youri-7b-chat": SIZES["youri-7b"],
    "nekomata-7b-instruction": SIZES["nekomata-7b"],
    "nekomata-14b-instruction": SIZES["nekomata-14b"],
}
# Parameters of our own modern recipes, as their pages state them.
OWN_SIZES = {
    "modern-toy": 4_262_656,
    "modern-30m": 31_173_504,
    "modern-124m": 124_670_208,
    "modern-350m": 336_121_856,
    # 3,371,008 of them EfficientNet-Lite0's
    "emoji-clip": 6_599_937,
    "emoji-cloob": 6_599_936,
    "emoji-siglip": 6_599_938,
    "japanese-sentence-embedder": 27_633_665,
    "laptop-hubert-1": 1_820_032,
    "laptop-hubert": 1_820_032,
    "laptop-wav2vec2": 1_820_032,
    "laptop-data2vec-audio": 1_745_920,
    "laptop-ctc": 1_820_032 + 42 * 193,
}
# Training tokens the cards state, in billions.
TOKENS = {
    "japanese-gpt-neox-3.6b": 312.5,
    "bilingual-gpt-neox-4b": 524.0,
    "bilingual-gpt-neox-4b-8k": 1.5,
    "youri-7b": 40.0,
    "nekomata-7b": 30.0,
    "nekomata-14b": 66.0,
}
# Published: micro-steps, warm-up in micro-steps, accumulation, rows a GPU, peak rate.
MICRO_STEPS = {
    "japanese-gpt2-xsmall": (1.6e6, 2e3, 3, 20, 7e-4),
    "japanese-gpt2-small": (4e6, 2e3, 8, 8, 6e-4),
    "japanese-gpt2-medium": (1.3e7, 2e3, 20, 3, 3e-4),
    "japanese-roberta-base": (3e6, 1e4, 16, 32, 6e-4),
}


@pytest.mark.parametrize("name", recipe.names())
def test_the_resolved_recipe_is_the_golden_one(name):
    file = GOLDEN / f"{name}.json"
    text = json.dumps(recipe.resolved(recipe.load(name)), ensure_ascii=False, indent=1) + "\n"
    assert file.is_file(), f"write it once and read it: {file}"
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", recipe.names())
def test_the_toml_of_a_resolved_recipe_reads_back_as_the_same_recipe(name):
    whole = recipe.load(name)
    assert check(tomllib.loads(recipe.to_toml(whole))) == whole


@pytest.mark.parametrize(("name", "parameters"), (SIZES | TUNED_SIZES | OWN_SIZES).items())
def test_the_recipes_of_released_models_and_our_own_have_their_sizes(name, parameters):
    fetched = recipe.load(name).init.image == "lite0"
    chosen = recipe.load(name, overrides=("init.image=", "model.tower=lite0") if fetched else ())
    with torch.device("meta"):
        model = kind_of(chosen).model(chosen, chosen.tokenizer.vocab_size)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_every_recipe_of_a_released_model_has_its_size_checked():
    named = {name for name in recipe.names() if not name.startswith("toy-")}
    assert named == set(SIZES) | set(TUNED_SIZES) | set(OWN_SIZES)


# The prompt formats that the released models were tuned on.
FORMATS = {
    "japanese-gpt-neox-3.6b-instruction-": "rinna-3.6b",
    "bilingual-gpt-neox-4b-instruction-": "rinna-bilingual-4b",
    "youri-7b-instruction": "alpaca-ja",
    "youri-7b-chat": "youri-chat",
    "nekomata-7b-instruction": "alpaca-ja",
    "nekomata-14b-instruction": "alpaca-ja",
}


@pytest.mark.parametrize("name", TUNED_SIZES)
def test_a_tuned_model_learns_the_format_it_was_released_with(name):
    (told,) = (told for start, told in FORMATS.items() if name.startswith(start))
    assert recipe.load(name).stream.format == told


def test_ppo_has_the_numbers_of_the_example_it_names():
    # examples/hh of CarperAI/trlx for 6 B
    for name in ("japanese-gpt-neox-3.6b-instruction-ppo", "bilingual-gpt-neox-4b-instruction-ppo"):
        chosen = recipe.load(name)
        told, stream = chosen.objective, chosen.stream
        optim = chosen.optim
        assert (optim.lr, optim.betas, optim.weight_decay) == (8e-6, (0.9, 0.95), 1e-6)
        assert chosen.schedule.scale(0, 6000) == chosen.schedule.scale(5999, 6000) == 1
        assert (told.kl, told.kl_target, told.kl_horizon) == (0.05, 6, 10_000)
        assert (told.clip, told.value_clip, told.value_weight) == (0.2, 0.2, 1)
        assert (told.gamma, told.lam) == (1, 0.95)
        assert (stream.rollout_rows, stream.passes, stream.answer_tokens) == (64, 4, 128)
        assert (chosen.train.steps, stream.row_tokens) == (6000, 512)


@pytest.mark.parametrize(("name", "billions"), TOKENS.items())
def test_a_recipe_trains_on_the_number_of_tokens_its_card_states(name, billions):
    settings = recipe.load(name).train
    assert settings.steps * settings.tokens_per_step / 1e9 == pytest.approx(billions, rel=1e-3)


@pytest.mark.parametrize("name", MICRO_STEPS)
def test_the_published_micro_steps_become_updates_of_the_weights(name):
    # the published code counts micro-steps, in its schedule too; ours counts updates
    steps, warmup, accumulation, rows, rate = MICRO_STEPS[name]
    chosen = recipe.load(name)
    assert chosen.train.steps == int(steps / accumulation)
    assert chosen.schedule.warmup == round(warmup / accumulation)
    assert chosen.train.tokens_per_step == rows * accumulation * 8 * chosen.model.context
    assert chosen.train.micro_batch_rows == rows
    assert chosen.optim.lr == rate
    assert chosen.model.dropout == 0.1


# Published: GPUs, samples a GPU heard at once, steps, peak rate, share of starts, longest clip (facts of fairseq's
# configs; the paper states none of them).
SPEECH = {
    "japanese-hubert-base-1": (32, 1_400_000, 250_000, 5e-4, 0.08, 250_000),
    "japanese-hubert-base": (32, 1_400_000, 400_000, 5e-4, 0.08, 250_000),
    "japanese-hubert-large": (128, 900_000, 400_000, 1.5e-3, 0.08, 250_000),
    "japanese-wav2vec2-base": (64, 1_400_000, 400_000, 5e-4, 0.065, 250_000),
    "japanese-data2vec-audio-base": (16, 3_800_000, 400_000, 5e-4, 0.065, 320_000),
}


@pytest.mark.parametrize("name", SPEECH)
def test_a_recipe_of_speech_hears_what_the_published_run_heard(name):
    gpus, samples, steps, rate, starts, longest = SPEECH[name]
    chosen = recipe.load(name)
    stream = chosen.stream
    assert chosen.train.tokens_per_step * 320 == pytest.approx(gpus * samples, rel=1e-3)
    assert stream.row_tokens * 320 == pytest.approx(samples, rel=1e-3)
    assert (chosen.train.steps, chosen.optim.lr) == (steps, rate)
    assert chosen.optim.betas == (0.9, 0.98)
    assert (stream.masks.start_probability, stream.masks.span) == (starts, 10)
    assert stream.longest * 16_000 == longest


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.family=wav2vec2", "is pre-trained by quantised_contrast"),
        ("model.family=gpt3", "model = "),
        ("stream.kind=utterances", "unknown key stream.label_rate"),
        ("tokenizer.kind=sounds", "needs tokenizer.kind none"),
        ("train.micro_batch_rows=2", "is a whole batch"),
        ("stream.row_tokens=100", "one clip of stream.longest seconds has 499"),
        ("train.sharding=shard", "whole on every rank"),
        ("stream.label_rate=25", "stream.label_rate = 25"),
        ("stream.masks.start=0.5", "unknown key stream.masks.start"),
    ],
)
def test_sections_of_speech_that_do_not_fit_are_refused(override, words):
    with pytest.raises(UsageError) as caught:
        recipe.load("laptop-hubert-1", overrides=[override])
    assert words in str(caught.value)


def test_the_paper_writes_42_symbols():
    assert recipe.load("japanese-hubert-base-ctc-32h").tokenizer.vocab_size == 42


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.stepz=3", "unknown key train.stepz; did you mean 'steps'"),
        ("model.layrs=3", "unknown key model.layrs; did you mean 'layers'"),
        ("modle.layers=3", "unknown key modle; did you mean 'model'"),
        ("optim.matrix_rl=1", "did you mean 'matrix_lr'"),
        ("train.steps=0", "train.steps = 0"),
        ("train.precision=fp16", "train.precision = 'fp16'"),
        ("stream.row_tokens=512", "exceeds model.context 256"),
        ("train.tokens_per_step=5000", "nearest are 4096 and 8192"),
        ("model.width=250", "width 250 is not a multiple of heads 4"),
        ("nonsense", "must be section.key=value"),
    ],
)
def test_a_wrong_override_says_where_what_and_what_instead(override, words):
    with pytest.raises(UsageError) as caught:
        chosen = recipe.load("toy-gpt-neox", overrides=[override])
        build(chosen.model, vocab=chosen.tokenizer.vocab_size)
    assert words in str(caught.value)
    assert "remedy" in str(caught.value)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'toy-gpt-neox'"):
        recipe.load("toy-gptneox")


def test_a_recipe_file_may_extend_one_of_ours_once(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "toy-gpt2"\nname = "mine"\n[train]\nsteps = 7\n', encoding="utf-8")
    chosen = recipe.load(str(mine))
    assert (chosen.name, chosen.train.steps) == ("mine", 7)
    assert chosen.train.tokens_per_step == recipe.load("toy-gpt2").train.tokens_per_step
    other = tmp_path / "other.toml"
    other.write_text(f'extends = "{mine.as_posix()}"\n', encoding="utf-8")
    with pytest.raises(UsageError, match="one level"):
        recipe.load(str(other))


def test_a_table_of_another_kind_replaces_the_one_below():
    base = {"optim": {"kind": "muon", "lr": 1.0, "matrix_lr": 2.0}, "train": {"steps": 1}}
    top = {"optim": {"kind": "adamw", "lr": 3.0}, "train": {"seed": 5}}
    assert merge(base, top) == {
        "optim": {"kind": "adamw", "lr": 3.0},
        "train": {"steps": 1, "seed": 5},
    }


def test_accumulation_follows_from_tokens_per_step():
    chosen = recipe.load("toy-gpt-neox", overrides=["train.micro_batch_rows=8"])
    assert check_step_tokens(chosen, ranks=1) == 8
    assert check_step_tokens(chosen, ranks=4) == 2


def test_a_vocabulary_smaller_than_the_tokenizer_is_refused():
    chosen = recipe.load("toy-gpt2", overrides=["model.vocab=100"])
    with pytest.raises(UsageError, match="smaller than the tokenizer's 4096"):
        build(chosen.model, vocab=4096)
