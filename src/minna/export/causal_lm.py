"""A run as a Hugging Face model dir: what transformers loads, with nothing to guess.

config.json carries old and new spellings (`torch_dtype` and `dtype`, both rotary spellings),
because a folder written by transformers 5 alone breaks llama.cpp's converter and transformers 4.
The end-of-text id is our tokenizer's, never the family's default (50256 for GPT-2), which would
make generation run on.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch

from minna import artifact, prompts
from minna.artifact.files import write_text_atomically
from minna.artifact.terms import fingerprint, kept_terms
from minna.artifact.verify import verify
from minna.console import say
from minna.errors import ArtifactError, UsageError
from minna.export.chat import write_chat_template
from minna.export.dual import fill_dual, write_dual
from minna.export.files import ExportSettings, as_json, write_weights
from minna.export.reward import reward_config, reward_weights
from minna.export.speech import write_speech_run
from minna.models import Decoder, find_family
from minna.models.adapters import adapt, as_peft, merge, write_peft
from minna.models.dual import DualEncoder
from minna.models.encoder import Encoder
from minna.models.family import Model
from minna.models.scorer import Scorer
from minna.models.speech.encoder import SpeechEncoder
from minna.models.speech.recogniser import SpeechRecogniser
from minna.recipe import Recipe, load
from minna.recipe.init import initialise
from minna.recipe.tuning import kind_of
from minna.tokenizer.adopt import FILES
from minna.tokenizer.coder import AnyTokenizer
from minna.train.state import read_model


def export_run(run: Path, *, out: Path, settings: ExportSettings | None = None) -> Path:
    """Write the last checkpoint of a finished run as a model dir (or an adapter's folder).

    Raises:
        ArtifactError: the run is unfinished or damaged, or its tokenizer is gone or another one.
        UsageError: only adapters were asked for, and the run trained whole weights.
    """
    settings = settings or ExportSettings()
    artifact.read_manifest(run, kind="run")
    manifest = verify(run)
    parents = [artifact.parent_of(run, role="run", kind="run")]
    values = asdict(settings)
    kind = "adapter" if settings.adapter else "model"
    if artifact.unchanged(out, key=artifact.key_of(kind, settings=values, parents=parents)):
        say(f"{out}: this run is exported already")
        return out
    tokenizer = _tokenizer_of(manifest)
    recipe = load(str(run / "recipe.toml"))
    words = kind_of(recipe).words(tokenizer)
    last = next(Path(name).parent for name in manifest.files if name.endswith("/state.json"))
    model = _trained(recipe, run / last, words=words)
    with artifact.writing(out, kind=kind, settings=values, parents=parents) as draft:
        if settings.adapter:
            parameters = _write_adapter(draft.path, model, recipe)
        else:
            whole = _merged(model, recipe, words=words)
            parameters = sum(p.numel() for p in whole.parameters())
            if isinstance(whole, DualEncoder):
                write_dual(draft.path, whole, words=words, settings=settings)
            elif isinstance(whole, SpeechEncoder | SpeechRecogniser):
                write_speech_run(
                    draft.path, whole, recipe, checkpoint=run / last, settings=settings
                )
            else:
                family = recipe.model.family
                write_model(draft.path, whole, family=family, words=words, settings=settings)
        for name in FILES:
            if (tokenizer / name).is_file():
                shutil.copyfile(tokenizer / name, draft.path / name)
        if (spoken := _format_of(recipe)) and not settings.adapter:
            write_chat_template(draft.path, prompts.load(spoken))
        draft.count("parameters", parameters, "parameters")
        for name, text in kept_terms(run).texts.items():
            write_text_atomically(draft.path / name, text)
        draft.licences = manifest.licences
        draft.legal = manifest.legal
    return out


def _trained(recipe: Recipe, checkpoint: Path, *, words: AnyTokenizer) -> Model:
    """Put the model of a (verified) checkpoint together; of adapters, on the weights they sit on.

    Raises:
        ArtifactError: the base model is gone, or another one.
    """
    model = kind_of(recipe).model(recipe, words.vocab_size)
    weights = read_model(checkpoint)
    if isinstance(model, DualEncoder):
        fill_dual(model, weights, recipe, run=checkpoint.parents[1])
        return model
    if not recipe.adapter.used:
        model.load_state_dict(weights)
        return model
    _refuse_other_base(Path(recipe.init.from_), run=checkpoint.parents[1])
    initialise(model, recipe)
    adapt(model, recipe.adapter, device="cpu", seed=recipe.train.seed)
    unknown = model.load_state_dict(weights, strict=False).unexpected_keys
    assert not unknown, f"the checkpoint was verified, and holds {unknown}"
    return model


def _format_of(recipe: Recipe) -> str:
    """Return the prompt format of the dialogues a recipe's model learned; "" for plain text.

    Of a reward model too: it judges what is written so, and its base's template may say otherwise.
    """
    return getattr(recipe.stream, "format", "")


def _refuse_other_base(base: Path, *, run: Path) -> None:
    """Refuse to put adapters on weights that they did not learn beside.

    Raises:
        ArtifactError: the base model is gone, or another one.
    """
    if not (base / "config.json").is_file():
        raise ArtifactError(
            f"the base model {base} is gone, and the run holds only its adapters",
            remedy="put it back; --adapter needs it too, for its shapes",
        )
    inputs = json.loads((run / "inputs.json").read_text(encoding="utf-8"))
    if inputs.get("base model") != fingerprint(base):
        raise ArtifactError(
            f"the model at {base} is not the one these adapters learned beside",
            remedy="put that one back, or train again",
        )


def _merged(model: Model, recipe: Recipe, *, words: AnyTokenizer) -> Model:
    if not recipe.adapter.used:
        return model
    with torch.device("meta"):
        whole = kind_of(recipe).model(recipe, words.vocab_size)
    state = merge(model)
    if isinstance(model, Scorer):
        state["held_out"] = model.held_out
    whole.load_state_dict(state, assign=True)
    return whole


def _write_adapter(out: Path, model: Model, recipe: Recipe) -> int:
    """Write adapter_config.json and adapter_model.safetensors; return how many numbers learned.

    Raises:
        UsageError: the run has no adapters.
    """
    if not recipe.adapter.used:
        raise UsageError(
            "--adapter writes adapters alone, and this run trained whole weights",
            remedy="leave --adapter out",
        )
    if isinstance(model, Scorer):
        raise UsageError(
            "--adapter writes what a language model is adapted by, and this run trained a reward "
            "model, whose row that judges would be left out",
            remedy="leave --adapter out: a whole reward model is written",
        )
    family = find_family(recipe.model.family)
    config, tensors = as_peft(
        model,
        recipe.adapter,
        to_disk=lambda state: family.to_disk(state, model.config),
        base=recipe.init.from_,
    )
    write_peft(out, config, tensors)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _tokenizer_of(manifest: artifact.Manifest) -> Path:
    """Return the tokenizer the run was trained with, unchanged.

    Raises:
        ArtifactError: it is gone, or another one lies in its place: its ids would mean other words.
    """
    parent = manifest.parent("tokenizer")
    found = artifact.parent_of(Path(parent.path), role="tokenizer")
    if found.sha256 != parent.sha256:
        raise ArtifactError(
            f"the tokenizer at {parent.path} is not the one this run was trained with",
            remedy="put that one back, or train again with the new one",
        )
    return Path(parent.path)


def write_model(
    out: Path,
    model: Decoder | Encoder,
    *,
    family: str,
    words: AnyTokenizer,
    settings: ExportSettings | None = None,
) -> None:
    """Write weights, config.json and generation_config.json of a model into the folder `out`."""
    settings = settings or ExportSettings()
    record = find_family(family)
    disk = (
        reward_weights(model, family=family)
        if isinstance(model, Scorer)
        else record.to_disk(model.state_dict(), model.config)
    )
    write_weights(out, disk, settings)
    ids = {
        "bos_token_id": words.bos_id,
        "eos_token_id": words.eos_id,
        "pad_token_id": words.pad_id,
    }
    ids = {name: number for name, number in ids.items() if number >= 0}
    content = {
        **record.config_to_disk(model.config),
        "architectures": [record.auto_class],
        **ids,
        "dtype": settings.dtype,
        "torch_dtype": settings.dtype,
    }
    if isinstance(model, Scorer):
        content |= reward_config(model, family=family, pad=words.pad_id, eos=words.eos_id)
    if record.objective != "causal_lm" or isinstance(model, Scorer):  # nothing is generated
        write_text_atomically(out / "config.json", as_json(content))
        return
    content["use_cache"] = True
    advised = {
        **ids,
        "do_sample": True,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "repetition_penalty": settings.repetition_penalty,
    }
    write_text_atomically(out / "config.json", as_json(content))
    write_text_atomically(out / "generation_config.json", as_json(advised))
