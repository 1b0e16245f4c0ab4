"""The loop, and what it needs: optimiser, schedule, precision, checkpoints, log."""
