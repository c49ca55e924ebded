"""Noise while training."""
