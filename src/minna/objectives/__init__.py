"""What is learned: objectives turn a batch into sums and counts, and the loop alone divides."""

from minna.objectives.causal_lm import CausalLM, CausalLMSettings
from minna.objectives.linear_cross_entropy import linear_cross_entropy

OBJECTIVES = {"causal_lm": CausalLM}

__all__ = ["OBJECTIVES", "CausalLM", "CausalLMSettings", "linear_cross_entropy"]
