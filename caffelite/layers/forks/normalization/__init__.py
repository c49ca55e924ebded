"""Normalization, and factors for each channel."""
