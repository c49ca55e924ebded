"""Caffe's vectors: lists whose names tell what is in them."""

from typing import Any

from caffelite.user_code.classes import BlobVec


class RawBlobVec(list[Any]):
    """Blobs that belong to somebody else."""


class LayerVec(list[Any]):
    """Layers."""


class NetVec(list[Any]):
    """Nets."""


class StringVec(list[str]):
    """Names."""


class IntVec(list[int]):
    """Numbers of blobs."""


class DtypeVec(list[float]):
    """Values."""


class BoolVec(list[bool]):
    """Which of several are meant."""


__all__ = ["BlobVec", "BoolVec", "DtypeVec", "IntVec", "LayerVec", "NetVec", "RawBlobVec", "StringVec"]
