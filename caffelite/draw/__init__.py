"""Nets as diagrams, and what plots share."""
