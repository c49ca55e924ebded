"""Caffe's file formats: messages, the text format, upgrades of old files, weights files."""
