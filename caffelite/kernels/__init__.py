"""Compiled functions of arrays; they know nothing of layers, blobs or nets."""
