"""Caffe's Python interface: the same names, doing the same."""
