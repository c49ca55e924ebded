"""Layers that run on a GPU, which GPU that is, and what is said about it."""
