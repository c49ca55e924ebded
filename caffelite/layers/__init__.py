"""The layer types, a file each or a small family; :mod:`caffelite.layers.base` is what they share."""
