"""Batch normalization of whole nets: a module a tool."""
