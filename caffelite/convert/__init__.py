"""Nets in other forms: diagrams."""
