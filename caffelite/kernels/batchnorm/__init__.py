"""Batch normalization: statistics, normalization and its gradient."""
