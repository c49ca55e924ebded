"""Kernels for NVIDIA GPUs, in numba.cuda: batch normalization.

``batchnorm`` has the functions to call; nothing here is imported before a GPU is asked for.
"""
