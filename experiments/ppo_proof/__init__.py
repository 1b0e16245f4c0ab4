"""PPO in a world of 32 numbers."""
