"""Segmentation: SegNet, DeepLab, PSPNet."""
