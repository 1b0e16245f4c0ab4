"""Checks that every weights file shares.

A state dict that loads with `strict=False` can leave half a model random without a word, and
transformers' configs swallow misspelt keys. So here a key that is left over, missing, or of another
shape is an error that names it.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from minna.errors import ArtifactError, nearest


def take(state: dict[str, Tensor], name: str) -> Tensor:
    """Remove and return one tensor.

    Raises:
        ArtifactError: it is not there.
    """
    if name not in state:
        raise ArtifactError(
            f"the weights have no tensor {name!r}{nearest(name, state)}",
            remedy="check that config.json and the weights belong together",
        )
    return state.pop(name)


def refuse_leftovers(state: dict[str, Tensor]) -> None:
    """Raise when tensors remain that nothing asked for."""
    if state:
        names = ", ".join(sorted(state)[:5])
        raise ArtifactError(
            f"{len(state)} tensors of the weights are unknown to this family: {names}",
            remedy="check config.json's model_type; the weights may be of another architecture",
        )


def require(config: dict[str, Any], name: str) -> Any:
    """Return a field of config.json.

    Raises:
        ArtifactError: it is not there.
    """
    if name not in config:
        raise ArtifactError(
            f"config.json has no {name!r}{nearest(name, config)}",
            remedy="use a config.json of the family it names",
        )
    return config[name]


def refuse_features(config: dict[str, Any], unsupported: dict[str, object]) -> None:
    """Raise when a field asks for what this family's decoder does not do."""
    for name, neutral in unsupported.items():
        if config.get(name, neutral) != neutral:
            raise ArtifactError(
                f"config.json asks for {name} = {config[name]!r}; here it must be {neutral!r}",
                remedy="use a model without it",
            )


def refuse_windows(config: dict[str, Any]) -> None:
    """Raise when a layer looks through a sliding window."""
    windows = {kind for kind in config.get("layer_types") or () if kind != "full_attention"}
    if windows:
        raise ArtifactError(
            f"config.json asks for layer_types {sorted(windows)}; here all are 'full_attention'",
            remedy="use a model without sliding windows",
        )


def rotary_scaling(config: dict[str, Any]) -> float:
    """Return the factor of linear rotary scaling, 1 without any, in either spelling.

    transformers 5 writes `rope_parameters`, older ones `rope_scaling`.

    Raises:
        ArtifactError: another kind, a factor that is none, or two spellings that disagree.
    """
    factors: dict[str, float] = {}
    for field in ("rope_parameters", "rope_scaling"):
        asked: dict[str, Any] = config.get(field) or {}
        kind = asked.get("rope_type", asked.get("type"))
        factor = 1.0 if kind in ("default", None) else asked.get("factor")
        if kind not in ("default", "linear", None) or not isinstance(factor, int | float):
            raise ArtifactError(
                f"config.json asks for rotary scaling {asked!r} in {field}; here it must be "
                "linear with a factor",
                remedy="use a model with that, or without scaling",
            )
        if kind is not None:
            factors[field] = float(factor)
    if len(set(factors.values())) > 1:
        raise ArtifactError(
            f"config.json scales rotary positions by two factors: {factors!r}",
            remedy="take out the one the model was not trained with",
        )
    return next(iter(factors.values()), 1.0)
