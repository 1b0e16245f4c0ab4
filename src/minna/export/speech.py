"""An encoder of speech or a recogniser as a model dir, and beside it what was learned with it.

transformers has no place for HuBERT's clusters or data2vec's head, so pre-training cannot go on
from its folder alone: they lie in `pretraining.safetensors`, which nothing but this package reads.
Of wav2vec 2.0 it does: Wav2Vec2ForPreTraining is written, which Wav2Vec2Model opens too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from minna.artifact.files import write_text_atomically
from minna.artifact.tensors import save_tensors
from minna.export.files import ExportSettings, as_json, write_weights
from minna.models.speech.encoder import SpeechEncoder
from minna.models.speech.recogniser import SpeechRecogniser
from minna.models.weights import speech
from minna.objectives import QuantisedContrastSettings
from minna.recipe import Recipe
from minna.recipe.speech import pretraining_of
from minna.train.state import read_objective


def write_speech_run(
    out: Path,
    model: SpeechEncoder | SpeechRecogniser,
    recipe: Recipe,
    *,
    checkpoint: Path,
    settings: ExportSettings,
) -> None:
    """Write a trained model, and what its objective learned with it, into the folder `out`.

    Args:
        out: the folder.
        model: with its weights.
        recipe: of the run.
        checkpoint: whose objective is read.
        settings: type and size of the weights' files.
    """
    if isinstance(model, SpeechRecogniser):
        write_speech(out, model, settings=settings)
        return
    told = recipe.objective
    fields = told.disk_fields if isinstance(told, QuantisedContrastSettings) else None
    learned = read_objective(checkpoint)
    beside = {name: learned[name] for name in pretraining_of(recipe, model).to_disk()}
    write_speech(out, model, settings=settings, beside=beside, fields=fields)


def write_speech(
    out: Path,
    model: SpeechEncoder | SpeechRecogniser,
    *,
    settings: ExportSettings,
    beside: Mapping[str, Tensor] | None = None,
    fields: Mapping[str, object] | None = None,
) -> None:
    """Write weights, config.json and preprocessor_config.json into the folder `out`.

    Args:
        out: the folder.
        model: with its weights.
        settings: type and size of the weights' files.
        beside: what the objective learned (`to_disk`).
        fields: what config.json says of that (`disk_fields` of wav2vec 2.0).
    """
    config, state = model.config, model.state_dict()
    content = speech.config_to_disk(config)
    kept = {name: tensor.contiguous() for name, tensor in (beside or {}).items()}
    if isinstance(model, SpeechRecogniser):
        tensors = speech.recogniser_to_disk(state, config)
    elif fields:
        tensors = speech.pretraining_to_disk(state, kept, config)
        content |= fields
    else:
        tensors = speech.encoder_to_disk(state)
    write_weights(out, tensors, settings)
    if kept:
        save_tensors(kept, out / speech.PRETRAINING, metadata={"format": "pt"})
    content |= {"dtype": settings.dtype, "torch_dtype": settings.dtype}
    write_text_atomically(out / "config.json", as_json(content))
    write_text_atomically(out / "preprocessor_config.json", as_json(speech.preprocessor(config)))
