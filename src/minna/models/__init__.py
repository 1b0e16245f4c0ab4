"""Model families: the decoder (every causal language model) and its weights on disk."""

from minna.models.decoder import Decoder, DecoderConfig
from minna.models.family import FAMILIES, Family, ModelShape, build, find_family

__all__ = ["FAMILIES", "Decoder", "DecoderConfig", "Family", "ModelShape", "build", "find_family"]
