"""What is learned: objectives turn a batch into sums and counts, and the loop alone divides."""

from minna.objectives.causal_lm import CausalLM, CausalLMSettings
from minna.objectives.linear_cross_entropy import linear_cross_entropy
from minna.objectives.masked_lm import MaskedLM, MaskedLMSettings

OBJECTIVES = {"causal_lm": CausalLM, "masked_lm": MaskedLM}

__all__ = [
    "OBJECTIVES",
    "CausalLM",
    "CausalLMSettings",
    "MaskedLM",
    "MaskedLMSettings",
    "linear_cross_entropy",
]
