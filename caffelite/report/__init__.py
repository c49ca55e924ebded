"""Logs and runs, read and shown."""
