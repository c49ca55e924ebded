"""What Caffe's Python module keeps for the whole process."""

import warnings

from caffelite.layers import base
from caffelite.layers.base import registry

TRAIN, TEST = base.TRAIN, base.TEST
_seed: int | None = None


def set_mode_cpu() -> None:
    """Compute on the CPU, which is what always happens."""


def set_mode_gpu() -> None:
    """Say that there is no GPU mode; everything runs on the CPU."""
    warnings.warn("caffelite computes on the CPU; set_mode_gpu changes nothing", stacklevel=2)


def set_device(device: int) -> None:
    """Choose a GPU in Caffe; nothing here."""


def set_random_seed(seed: int) -> None:
    """Set the seed of the nets that are made from now on."""
    global _seed
    _seed = seed


def random_seed() -> int | None:
    """Return what :func:`set_random_seed` was given."""
    return _seed


def layer_type_list() -> list[str]:
    """Return the names of all layer types."""
    return sorted(registry())
