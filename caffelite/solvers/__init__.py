"""Training: update rules, learning rates, the loop, snapshots and logs."""
