"""Layers of small nets: ShuffleNet, SENet."""
