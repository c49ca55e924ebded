"""Training: update rules, learning rate policies, the loop, snapshots."""
