"""The vocabulary of a run that no text was read for: sounds, or none at all.

A recogniser's symbols are those of an inventory, which its recipe names, and an encoder that only
hears writes nothing. A run keeps either as it keeps any tokenizer, as a folder that says what it
is, so that nothing else in a run has to ask.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from minna import artifact
from minna.tokenizer.settings import OwnVocabulary, SoundsSettings
from minna.tokenizer.sounds import sounds_of_inventory, write_sounds


def write_vocabulary(out: Path, settings: OwnVocabulary) -> Path:
    """Write the folder `out`, or do nothing when it is there.

    Raises:
        ArtifactError: `out` holds something else.
    """
    values = asdict(settings)
    if artifact.unchanged(out, key=artifact.key_of("tokenizer", settings=values, parents=[])):
        return out
    with artifact.writing(out, kind="tokenizer", settings=values) as draft:
        if isinstance(settings, SoundsSettings):
            write_sounds(draft.path, sounds_of_inventory(settings.inventory))
        draft.count("vocabulary", settings.vocab_size, "symbols")
    return out
