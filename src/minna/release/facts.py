"""Everything a card says about one model, gathered from its manifests and files and checked.

Nobody types a number into a card: what stands there was measured or recorded by the verb that did
the work, so it cannot be of another model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minna.artifact import Licence, Manifest
from minna.artifact.terms import Terms, kept_terms
from minna.artifact.verify import verify
from minna.errors import ArtifactError
from minna.models import DecoderConfig, Family, find_family
from minna.release.evaluations import Evaluation, read_evaluation
from minna.release.licences import WeightsLicence, weights_licence
from minna.release.provenance import Link, first, walk
from minna.release.settings import ReleaseSettings
from minna.tokenizer.coder import AnyTokenizer, training_tokenizer

UNSTATED = ("", "not stated", "unknown")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One model, ready to be described.

    Attributes:
        chain: the model and its ancestors, nearest first.
        report_chains: the same for each report, what is in `chain` left out.
        parameters: tensors on disk, a shared head counted once.
        match: match.json, {} without one.
    """

    name: str
    settings: ReleaseSettings
    chain: list[Link]
    report_chains: list[Link]
    family: Family
    config: DecoderConfig
    dtype: str
    parameters: int
    generation: dict[str, Any]
    words: AnyTokenizer
    match: dict[str, Any]
    evaluations: list[Evaluation]
    licence: WeightsLicence
    terms: Terms

    @property
    def model(self) -> Link:
        """The model dir."""
        return self.chain[0]

    @property
    def run(self) -> Manifest:
        """The training run."""
        return first(self.chain, "run").manifest

    @property
    def corpora(self) -> list[Manifest]:
        """What it was trained on, and its tokenizer."""
        return [link.manifest for link in self.chain if link.manifest.kind == "corpus"]

    @property
    def data_licences(self) -> list[Licence]:
        """Terms of everything the weights were learnt from, each once."""
        found = [licence for link in self.chain for licence in link.manifest.licences]
        return list(dict.fromkeys(found))

    @property
    def legal_notes(self) -> list[str]:
        """What the manifests ask a person to read, each once."""
        return list(dict.fromkeys(note for link in self.chain for note in link.manifest.legal))

    @property
    def unstated_sources(self) -> list[str]:
        """Sources whose terms nobody wrote down."""
        return [
            licence.source
            for licence in self.data_licences
            if licence.licence.strip().lower() in UNSTATED
        ]


def gather(model: Path, *, reports: Sequence[Path], name: str, settings: ReleaseSettings) -> Facts:
    """Read and check everything a release of `model` rests on.

    Raises:
        ArtifactError: the model dir is damaged, its provenance is broken, a report is not about it.
        LicenceError: the licence of the weights is not known.
    """
    manifest = verify(model)
    if manifest.kind != "model":
        raise ArtifactError(
            f"{model} is a {manifest.kind}, and a model is needed",
            remedy="a run becomes a model by: minna export RUN --out MODEL",
        )
    chain = walk(model, role="model")
    trained = first(chain, "run")
    run, terms = trained.manifest, kept_terms(trained.path)
    evaluations = [read_evaluation(path, model=model, chain=chain) for path in reports]
    known = {link.sha256 for link in chain}
    report_chains = {
        link.sha256: link
        for report in reports
        for link in walk(report, role="report")
        if link.sha256 not in known
    }
    config = _json(model / "config.json")
    family = find_family(str(config.get("model_type")))
    if family.objective != "causal_lm":
        raise ArtifactError(
            f"{model} is a masked language model ({family.name}), and cards are of models that go "
            "on from a prompt so far",
            remedy="the model dir itself loads in transformers; write its card by hand",
        )
    match = model / "match.json"
    generation = model / "generation_config.json"
    return Facts(
        name=name,
        settings=settings,
        chain=chain,
        report_chains=list(report_chains.values()),
        family=family,
        config=family.config_from_disk(config),
        dtype=str(config.get("dtype", config.get("torch_dtype", "float32"))),
        parameters=count_parameters(model),
        generation=_json(generation) if generation.is_file() else {},
        words=training_tokenizer(model),
        match=_json(match) if match.is_file() else {},
        evaluations=evaluations,
        terms=terms,
        licence=weights_licence(
            settings, run=run, terms=terms, name=name, year=manifest.created[:4]
        ),
    )


def count_parameters(model: Path) -> int:
    """Number of parameters in the safetensors files of a model dir, from their headers alone.

    Raises:
        ArtifactError: there are none.
    """
    from safetensors import safe_open

    total = 0
    files = sorted(model.glob("*.safetensors"))
    if not files:
        raise ArtifactError(f"{model} has no .safetensors file", remedy="export the model again")
    for file in files:
        with safe_open(file, framework="numpy") as tensors:
            for key in tensors.keys():  # noqa: SIM118 - safe_open is no mapping
                total += math.prod(tensors.get_slice(key).get_shape())
    return total


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{file} cannot be read: {error}", remedy="export the model again"
        ) from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{file} is not a JSON object", remedy="export the model again")
    return content
