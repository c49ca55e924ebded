"""Convolution: direct sums, Winograd's method, depthwise."""
