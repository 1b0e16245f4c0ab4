"""What is learned: objectives turn a batch into sums and counts, and the loop alone divides."""

from minna.objectives.causal_lm import CausalLM, CausalLMSettings
from minna.objectives.linear_cross_entropy import linear_cross_entropy
from minna.objectives.linear_logprobs import linear_logprobs
from minna.objectives.masked_lm import MaskedLM, MaskedLMSettings
from minna.objectives.ppo import GRPO, PPO, GRPOSettings, PPOSettings
from minna.objectives.preference import DPO, BradleyTerry, BradleyTerrySettings, DPOSettings
from minna.objectives.reference import Reference

__all__ = [
    "DPO",
    "GRPO",
    "PPO",
    "BradleyTerry",
    "BradleyTerrySettings",
    "CausalLM",
    "CausalLMSettings",
    "DPOSettings",
    "GRPOSettings",
    "MaskedLM",
    "MaskedLMSettings",
    "PPOSettings",
    "Reference",
    "linear_cross_entropy",
    "linear_logprobs",
]
