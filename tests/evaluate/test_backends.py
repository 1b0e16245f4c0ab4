"""Backends beside our engine give the figures of our engine."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from tests.evaluate.toy_models import (
    SHAPE,
    generations,
    random_groups,
    toy_model,
    train_sentencepiece,
    write_weights,
)

from minna.errors import ArtifactError
from minna.evaluate.backends.base import Generation
from minna.evaluate.backends.engine import EngineBackend
from minna.evaluate.backends.transformers import TransformersBackend
from minna.evaluate.records import Candidate
from minna.models.family import Gpt2Shape
from minna.runtime import load_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return toy_model(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def ours(folder):
    return EngineBackend(load_model(folder, device="cpu", dtype="fp32"))


@pytest.fixture(scope="module")
def theirs(folder):
    return TransformersBackend(folder, device="cpu", dtype="fp32", batch_tokens=128)


def test_transformers_gives_our_engines_likelihoods_in_whatever_batches(ours, theirs):
    groups = random_groups(groups=12, context=SHAPE.context)
    groups.append([*groups[3], groups[3][0]])
    groups.append([])
    expected = dict(ours.likelihoods(groups[:-1])) | {13: []}
    found = dict(theirs.likelihoods(groups))
    assert found.keys() == set(range(14))
    for number, likelihoods in expected.items():
        for mine, other in zip(likelihoods, found[number], strict=True):
            assert other.logprob == pytest.approx(mine.logprob, abs=1e-4)
            assert (other.greedy, other.tokens) == (mine.greedy, mine.tokens)


def test_greedy_is_true_for_the_tokens_the_model_would_choose(theirs):
    prompt = (5, 6, 7, 8)
    (answer,) = dict(theirs.generate([Generation(prompt=prompt, max_new_tokens=4)])).values()
    right = Candidate(ids=(*prompt, *answer.ids), start=4)
    wrong = Candidate(ids=(*prompt, *answer.ids[:-1], (answer.ids[-1] + 1) % 380), start=4)
    ((_, found),) = theirs.likelihoods([[right, wrong]])
    assert [entry.greedy for entry in found] == [True, False]
    assert found[0].tokens == 4


def test_transformers_gives_our_engines_answers(ours, theirs):
    jobs = generations(ours.coder, eos=2)
    # a stop text that the model really says, in the middle of its answer
    free = dict(ours.generate(jobs))
    stop = free[0].text[3:5]
    jobs.append(
        Generation(prompt=jobs[0].prompt, max_new_tokens=12, stop_ids=(2,), stop_texts=(stop,))
    )
    expected, found = dict(ours.generate(jobs)), dict(theirs.generate(jobs))
    assert found == expected
    assert found[4].finish == "stop-text" and stop not in found[4].text


def test_a_stop_id_ends_one_row_while_others_go_on(theirs):
    jobs = [
        Generation(prompt=(5, 6, 7), max_new_tokens=5),
        Generation(prompt=(9,), max_new_tokens=5),
    ]
    free = dict(theirs.generate(jobs))
    stop = free[0].ids[1]
    again = dict(
        theirs.generate([Generation(prompt=(5, 6, 7), max_new_tokens=5, stop_ids=(stop,)), jobs[1]])
    )
    assert again[0].finish == "stop" and again[0].ids == free[0].ids[: free[0].ids.index(stop) + 1]
    assert again[1] == free[1] and again[1].finish == "length"


def test_generation_config_of_the_folder_does_not_change_answers(tmp_path):
    path = toy_model(tmp_path / "a")
    jobs = [Generation(prompt=(5, 6, 7), max_new_tokens=8)]
    plain = dict(TransformersBackend(path, device="cpu", dtype="fp32").generate(jobs))
    (path / "generation_config.json").write_text(
        json.dumps(
            {
                "do_sample": True,
                "temperature": 5.0,
                "repetition_penalty": 9.0,
                "eos_token_id": [2, 7],
            }
        ),
        encoding="utf-8",
    )
    backend = TransformersBackend(path, device="cpu", dtype="fp32")
    assert backend.eos_ids == (2, 7)
    assert dict(backend.generate(jobs)) == plain


def test_a_batch_too_large_for_memory_is_halved(theirs, monkeypatch):
    whole = theirs._score_at_once
    sizes = []

    def small(batch):
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("no room")
        return whole(batch)

    groups = random_groups(groups=6, context=40, seed=3)
    expected = dict(theirs.likelihoods(groups))
    monkeypatch.setattr(theirs, "_score_at_once", small)
    found = dict(theirs.likelihoods(groups))
    flat = [entry.logprob for number in found for entry in found[number]]
    assert flat == pytest.approx(
        [e.logprob for number in found for e in expected[number]], abs=1e-4
    )
    assert found.keys() == expected.keys()
    assert max(sizes) > 2


def test_logits_that_are_not_numbers_are_carried_through(tmp_path):
    path = toy_model(tmp_path / "a")
    backend = TransformersBackend(path, device="cpu", dtype="fp32")
    backend._model.get_output_embeddings().weight.data.fill_(torch.nan)
    ((_, found),) = backend.likelihoods([[Candidate(ids=(5, 6, 7), start=1)]])
    assert math.isnan(found[0].logprob)


def test_missing_weights_and_unknown_architectures_are_errors(tmp_path):
    from safetensors.torch import load_file, save_file

    path = toy_model(tmp_path / "a")
    state = load_file(path / "model.safetensors")
    state.pop("gpt_neox.layers.1.mlp.dense_h_to_4h.weight")
    save_file(state, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match="dense_h_to_4h"):
        TransformersBackend(path, device="cpu", dtype="fp32")
    (path / "config.json").write_text(
        json.dumps({"model_type": "strange", "auto_map": {"AutoConfig": "code.Config"}}),
        encoding="utf-8",
    )
    with pytest.raises(ArtifactError, match="never run"):
        TransformersBackend(path, device="cpu", dtype="fp32")


def foreign(path, name):
    """A model of an architecture that our engine does not know."""
    import transformers

    size = {
        "vocab_size": 390,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "max_position_embeddings": 80,
    }
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    config = {
        "Gemma2": lambda c: c(**size, **heads, sliding_window=8, final_logit_softcapping=5.0),
        "Mamba": lambda c: c(**{k: size[k] for k in size if k != "max_position_embeddings"}),
        "Bloom": lambda c: c(vocab_size=390, hidden_size=32, n_layer=2, n_head=4),
    }[name](getattr(transformers, f"{name}Config"))
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(path)
    train_sentencepiece(path)
    return model.eval()


@pytest.mark.parametrize("name", ["Gemma2", "Mamba", "Bloom"])
def test_architectures_our_engine_does_not_know_are_scored_and_go_on_as_alone(name, tmp_path):
    model = foreign(tmp_path, name)
    backend = TransformersBackend(tmp_path, device="cpu", dtype="fp32", batch_tokens=64)
    assert backend.max_length == {"Gemma2": 80}.get(name, 2048)
    groups = random_groups(groups=5, context=60)
    for number, likelihoods in backend.likelihoods(groups):
        for candidate, found in zip(groups[number], likelihoods, strict=True):
            ids = torch.tensor([candidate.ids])
            with torch.inference_mode():
                table = torch.log_softmax(model(ids[:, :-1]).logits[0].double(), dim=-1)
            wanted = ids[0, 1:, None][candidate.start - 1 :]
            expected = table[candidate.start - 1 :].gather(1, wanted).sum()
            assert found.logprob == pytest.approx(float(expected), abs=1e-4)
    jobs = [
        Generation(prompt=tuple(range(5, 5 + size)), max_new_tokens=5) for size in (3, 12, 3, 7)
    ]
    together = dict(backend.generate(jobs))
    for number, job in enumerate(jobs):
        ((_, alone),) = backend.generate([job])
        assert together[number] == alone


def test_fp64_is_only_made_on_the_host(theirs, monkeypatch):
    brought = []
    to_host, double = torch.Tensor.cpu, torch.Tensor.double

    def cpu(tensor):
        brought.append(to_host(tensor))
        return brought[-1]

    def checked(tensor):
        assert any(tensor is known for known in brought), "the device has no float64"
        return double(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    monkeypatch.setattr(torch.Tensor, "double", checked)
    assert dict(theirs.likelihoods([[Candidate(ids=(5, 6, 7), start=1)]]))
    assert brought


def test_prompts_and_caps_of_one_batch_fit_the_context_together(tmp_path):
    train_sentencepiece(tmp_path)
    shape = Gpt2Shape(layers=1, width=32, heads=2, ffn=64, context=32, dropout=0.0)
    write_weights(tmp_path, shape=shape)
    backend = TransformersBackend(tmp_path, device="cpu", dtype="fp32")
    assert backend.max_length == 32
    sizes = [(28, 4), (8, 20), (27, 5), (8, 24), (28, 3), (1, 31)]
    jobs = [Generation(prompt=tuple(range(5, 5 + size)), max_new_tokens=cap) for size, cap in sizes]
    found = dict(backend.generate(jobs))
    assert [len(found[number].ids) for number in range(len(jobs))] == [cap for _, cap in sizes]
    ours = EngineBackend(load_model(tmp_path, device="cpu", dtype="fp32"))
    assert found == dict(ours.generate(jobs))


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_an_answer_chosen_among_logits_that_are_no_numbers_says_so(tmp_path, broken):
    backend = TransformersBackend(toy_model(tmp_path / "a"), device="cpu", dtype="fp32")
    table = backend._model.get_input_embeddings().weight
    jobs = [Generation(prompt=(5, 6), max_new_tokens=3), Generation(prompt=(9,), max_new_tokens=2)]
    assert all(answer.finite for _, answer in backend.generate(jobs))
    table.data[5] = broken
    found = dict(backend.generate(jobs))
    assert not found[0].finite and found[1].finite


def test_stop_texts_count_from_the_first_text_on_in_both_backends(ours, theirs):
    some = [Generation(prompt=(4 + number,), max_new_tokens=8) for number in range(40)]
    free = dict(ours.generate(some))
    blank = [n for n in free if free[n].text[:1].isspace() and free[n].text.strip()]
    assert blank, "the toy model begins no answer with white space"
    jobs = [replace(some[n], stop_texts=(free[n].text[0],), stops_after="text") for n in blank]
    found = dict(ours.generate(jobs))
    assert found == dict(theirs.generate(jobs))
    assert all(answer.text.strip() for answer in found.values())
    assert "stop-text" in {answer.finish for answer in found.values()}
    # counted anywhere, they leave nothing
    jobs = [replace(job, stops_after="any") for job in jobs]
    for backend in (ours, theirs):
        assert {answer.text for _, answer in backend.generate(jobs)} == {""}
