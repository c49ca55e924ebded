"""Pooling: the largest, the mean or a random element of each window."""
