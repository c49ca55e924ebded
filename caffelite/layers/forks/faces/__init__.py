"""Losses and layers of face recognition."""
