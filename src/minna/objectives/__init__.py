"""What is learned: objectives turn a batch into sums and counts, and the loop alone divides."""

from minna.objectives.causal_lm import CausalLM, CausalLMSettings
from minna.objectives.contrastive import (
    ClipSettings,
    CloobSettings,
    Contrastive,
    ContrastiveSettings,
    SiglipSettings,
)
from minna.objectives.ctc import Ctc, CtcSettings
from minna.objectives.linear_cross_entropy import linear_cross_entropy
from minna.objectives.linear_logprobs import linear_logprobs
from minna.objectives.masked_clusters import MaskedClusters, MaskedClustersSettings
from minna.objectives.masked_lm import MaskedLM, MaskedLMSettings
from minna.objectives.ppo import GRPO, PPO, GRPOSettings, PPOSettings
from minna.objectives.preference import DPO, BradleyTerry, BradleyTerrySettings, DPOSettings
from minna.objectives.quantised_contrast import QuantisedContrast, QuantisedContrastSettings
from minna.objectives.reference import Reference
from minna.objectives.self_distillation import SelfDistillation, SelfDistillationSettings

__all__ = [
    "DPO",
    "GRPO",
    "PPO",
    "BradleyTerry",
    "BradleyTerrySettings",
    "CausalLM",
    "CausalLMSettings",
    "ClipSettings",
    "CloobSettings",
    "Contrastive",
    "ContrastiveSettings",
    "Ctc",
    "CtcSettings",
    "DPOSettings",
    "GRPOSettings",
    "MaskedClusters",
    "MaskedClustersSettings",
    "MaskedLM",
    "MaskedLMSettings",
    "PPOSettings",
    "QuantisedContrast",
    "QuantisedContrastSettings",
    "Reference",
    "SelfDistillation",
    "SelfDistillationSettings",
    "SiglipSettings",
    "linear_cross_entropy",
    "linear_logprobs",
]
