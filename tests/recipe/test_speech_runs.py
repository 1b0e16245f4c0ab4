"""Recipes of speech, shrunk and run: they learn, go on to the bit, and end as transformers' folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tests.stopping import stopping_at
from tests.toy_speech import make_clips

from minna import recipe
from minna.corpus.clip_read import read_clips
from minna.errors import ArtifactError, DataError, TrainingError, UsageError
from minna.export import export_run
from minna.label.frame_features import Mfcc
from minna.label.kmeans import KmeansSettings, label_kmeans
from minna.recipe import run as run_module
from minna.runtime.speech import open_encoder, open_recogniser
from minna.train import checkpoint, precision

ROOT = Path(__file__).resolve().parents[2]
PRETRAINING = ("laptop-hubert-1", "laptop-wav2vec2", "laptop-data2vec-audio")
SMALL = (
    *("model.layers=2", "model.width=32", "model.heads=2", "model.ffn=64"),
    *("model.conv_widths=[16, 16, 16, 16, 16, 16, 16]", "model.position_groups=4"),
    *("stream.row_tokens=200", "stream.longest=2.5", "stream.shortest=0.3"),
    *("train.steps=6", "train.tokens_per_step=400", "train.log_every=2", "train.save_every=2"),
    *("train.evaluate_every=6", "train.compile=off", "train.device=cpu", "train.precision=fp32"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Clips, and side-cars of labels of them."""
    root = tmp_path_factory.mktemp("speech-runs")
    corpus = make_clips(root / "corpus", clips=36)
    settings = KmeansSettings(clusters=8, sample=2000)
    label_kmeans(corpus, features=Mfcc(), out=root / "labels", settings=settings)
    with pytest.MonkeyPatch.context() as patch:  # seconds a run, and looked at by other tests
        patch.setattr(precision, "matrix_peak", lambda *_: 1e11)
        patch.setattr(run_module, "write_report", lambda out, **_: (out / "report.html").touch())
        yield corpus, root / "labels"


def overrides_of(name, world, *more):
    own = {"laptop-hubert-1": (f"stream.labels={world[1].as_posix()}", "objective.clusters=8")}
    warm = () if name == "laptop-ctc" else ("schedule.warmup=1",)
    return (*SMALL, *own.get(name, ()), *warm, *more)


def chosen(name, world, *more):
    return recipe.load(name, overrides=overrides_of(name, world, *more))


def trained(name, world, out, *more):
    asked = chosen(name, world, *more)
    own = out / recipe.OWN_TOKENIZER
    return recipe.run_recipe(asked, corpus=world[0], tokenizer=own, out=out)


def lines(run, event):
    read = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    return [line for line in read if line["event"] == event]


def state(run):
    last = checkpoint.saved(run)[-1]
    names = sorted(last.glob("*.safetensors"))
    return {f"{file.stem}:{name}": one for file in names for name, one in load_file(file).items()}


def assert_same_bits(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize("name", [*PRETRAINING, "laptop-ctc"])
def test_a_run_that_was_stopped_ends_in_the_same_bits(name, world, tmp_path):
    whole = trained(name, world, tmp_path / "whole")
    with stopping_at(3), pytest.raises(KeyboardInterrupt):
        trained(name, world, tmp_path / "stopped")
    assert_same_bits(state(trained(name, world, tmp_path / "stopped")), state(whole))


@pytest.mark.parametrize("name", PRETRAINING)
def test_a_shrunk_recipe_learns_from_sound_and_transformers_hears_the_same(name, world, tmp_path):
    # warm enough to learn within seconds
    run = trained(name, world, tmp_path / "run", "optim.lr=0.003", "train.steps=40")
    # telling codes apart takes longer than using them all
    term = {"laptop-hubert-1": "clusters", "laptop-wav2vec2": "diversity"}.get(name, "distance")
    first, last = (lines(run, "evaluate")[k][f"valid/loss/{term}"] for k in (0, -1))
    assert last < 0.98 * first
    model = export_run(run, out=tmp_path / "model")
    ours = open_encoder(model, device="cpu").model
    theirs = transformers.AutoModel.from_pretrained(model).eval()
    clip = torch.from_numpy(next(read_clips(world[0], split="test")).audio)[None]
    heard = clip
    if ours.config.audio == "normalised":
        heard = (clip - clip.mean()) / torch.sqrt(clip.var(correction=0) + 1e-7)
    with torch.no_grad():
        torch.testing.assert_close(
            ours(clip).hidden, theirs(heard).last_hidden_state, rtol=1e-4, atol=1e-4
        )
    if name == "laptop-wav2vec2":
        transformers.Wav2Vec2ForPreTraining.from_pretrained(model)
    assert load_file(model / "pretraining.safetensors")


def test_a_recogniser_begins_from_an_encoder_and_goes_on_from_a_recogniser(world, tmp_path, capsys):
    encoder = export_run(trained("laptop-hubert-1", world, tmp_path / "h"), out=tmp_path / "hm")
    begun = f"init.from={encoder.as_posix()}"
    run = trained("laptop-ctc", world, tmp_path / "c", begun, "optim.lr=0.003")
    assert "the head is drawn" in capsys.readouterr().err
    told = lines(run, "evaluate")[-1]
    assert {"valid/word_error_rate", "valid/phone_error_rate"} <= told.keys()
    before = open_encoder(encoder, device="cpu").model.state_dict()
    model = export_run(run, out=tmp_path / "cm")
    recogniser = open_recogniser(model, device="cpu")
    assert recogniser.sounds.size == 42
    after = recogniser.model.body.state_dict()
    frozen = [name for name in before if name.startswith("feature_extractor.")]
    assert frozen
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert not changed, "the head alone has learned so far (objective.frozen_steps)"
    assert {line["lr_scale"] for line in lines(run, "train")} == {10.0}, "at its own rate"
    theirs = transformers.HubertForCTC.from_pretrained(model).eval()
    clip = next(read_clips(world[0], split="test")).audio
    with torch.no_grad():
        logits = theirs(torch.from_numpy(clip)[None]).logits[0].log_softmax(-1)
    torch.testing.assert_close(
        torch.from_numpy(recogniser.logprobs(clip)), logits, rtol=1e-4, atol=1e-4
    )
    more = (f"init.from={model.as_posix()}", "objective.frozen_steps=0", "train.steps=2")
    further = trained("laptop-ctc", world, tmp_path / "c2", *more)
    assert "with its head" in capsys.readouterr().err
    assert max(line["lr_scale"] for line in lines(further, "train")) <= 1
    tuned = open_recogniser(export_run(further, out=tmp_path / "c2m"), device="cpu").model
    layers = [name for name in after if name.startswith("encoder.layers.")]
    assert any(not torch.equal(after[n], tuned.body.state_dict()[n]) for n in layers)


def test_pretraining_goes_on_with_what_lies_beside_the_encoder(world, tmp_path, capsys):
    model = export_run(trained("laptop-hubert-1", world, tmp_path / "run"), out=tmp_path / "model")
    trained("laptop-hubert-1", world, tmp_path / "on", f"init.from={model.as_posix()}")
    said = capsys.readouterr().err
    assert "3 of 3 tensors beside" in said


def test_another_shape_than_that_of_the_folder_is_refused(world, tmp_path):
    model = export_run(trained("laptop-hubert-1", world, tmp_path / "run"), out=tmp_path / "model")
    with pytest.raises(UsageError, match="does not fit .model.: ffn 64 there, 96 here"):
        trained("laptop-ctc", world, tmp_path / "c", f"init.from={model}", "model.ffn=96")
    with pytest.raises(UsageError, match="is of family hubert, and model.family is wav2vec2"):
        trained("laptop-ctc", world, tmp_path / "d", f"init.from={model}", "model.family=wav2vec2")


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        (("stream.labels=",), UsageError, "stream.labels is empty"),
        (("objective.clusters=9",), UsageError, "has 8 clusters, and objective.clusters is 9"),
        (("stream.label_rate=50",), ArtifactError, "has 100 labels a second"),
        (("stream.minutes=50",), DataError, "stream.minutes is 50"),
    ],
)
def test_labels_that_do_not_fit_are_refused_before_the_first_step(
    more, error, words, world, tmp_path
):
    with pytest.raises(error, match=words):
        trained("laptop-hubert-1", world, tmp_path / "run", *more)
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_a_run_is_not_gone_on_with_on_other_labels(world, tmp_path):
    with stopping_at(3), pytest.raises(KeyboardInterrupt):
        trained("laptop-hubert-1", world, tmp_path / "run")
    settings = KmeansSettings(clusters=8, sample=2000, seed=9)
    other = tmp_path / "labels"
    label_kmeans(world[0], features=Mfcc(), out=other, settings=settings)
    given = f"stream.labels={other.as_posix()}"
    with pytest.raises(TrainingError, match="another side-car of labels"):
        trained("laptop-hubert-1", world, tmp_path / "run", given)


def test_a_tokenizer_that_is_given_is_refused(world, tmp_path):
    with pytest.raises(UsageError, match="reads no text"):
        recipe.run_recipe(
            chosen("laptop-ctc", world), corpus=world[0], tokenizer=world[0], out=tmp_path / "run"
        )


# rank 0 is late to its second meeting, and must not be looked for where it stood at the first
RANKS = """
import json
import os
import sys
import time
from pathlib import Path
from minna import recipe
from minna.train import precision
precision.matrix_peak = lambda *_: 1e11
for name, corpus, out, overrides in json.loads(sys.argv[1]):
    out = Path(out)
    asked = recipe.load(name, overrides=overrides)
    recipe.run_recipe(asked, corpus=Path(corpus), tokenizer=out / recipe.OWN_TOKENIZER, out=out)
    time.sleep(os.environ["RANK"] == "0")
"""
STILL = (
    *("model.dropout=0.0", "model.attention_dropout=0.0", "model.feature_dropout=0.0"),
    *("model.layer_drop=0.0", "train.steps=4"),
)


@pytest.mark.xdist_group("ranks")
def test_two_ranks_learn_what_one_learns(world, tmp_path):
    # the encoder of the recogniser stands still at first
    names = {"laptop-hubert-1": STILL, "laptop-ctc": (*STILL, "objective.frozen_steps=2")}
    script = tmp_path / "ranks.py"
    script.write_text(RANKS, encoding="utf-8")
    runs = [
        (name, str(world[0]), str(tmp_path / f"both-{name}"), overrides_of(name, world, *more))
        for name, more in names.items()
    ]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run(
        [*command, str(script), json.dumps(runs)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name, more in names.items():
        alone = state(trained(name, world, tmp_path / f"alone-{name}", *more))
        both = state(tmp_path / f"both-{name}")
        assert both.keys() == alone.keys()
        for key, one in alone.items():
            if key.startswith("model:"):
                torch.testing.assert_close(both[key], one, rtol=1e-4, atol=1e-5, msg=key)
