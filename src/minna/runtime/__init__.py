"""A model dir in use: load it, let it generate, score documents with it.

One engine (`engine.py`) serves judging, serving and rollouts; one cache (`cache.py`) serves the
engine.
"""

from minna.runtime.engine import Engine
from minna.runtime.generate import GenerateSettings, generate, stream_text
from minna.runtime.load import LoadedModel, load_model
from minna.runtime.request import Event, Request, Result
from minna.runtime.sampling import Sampling
from minna.runtime.score import score, score_documents

__all__ = [
    "Engine",
    "Event",
    "GenerateSettings",
    "LoadedModel",
    "Request",
    "Result",
    "Sampling",
    "generate",
    "load_model",
    "score",
    "score_documents",
    "stream_text",
]
