"""SFT, a reward model, PPO and DPO of one small model."""
