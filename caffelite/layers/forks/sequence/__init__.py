"""Sequences: recurrent layers, CTC, the order of axes."""
