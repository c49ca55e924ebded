"""What pycaffe sets for all nets at once: mode, device, seed."""

import warnings

from caffelite.layers.base import TEST, TRAIN, registry

#: What :func:`set_random_seed` was given last.
_seed: list[int] = []


def set_mode_cpu() -> None:
    """Run on the CPU, as caffelite always does."""


def set_mode_gpu() -> None:
    """Warn that nets run on the CPU all the same; scripts written for a GPU go on."""
    warnings.warn("caffelite runs on the CPU; set_mode_gpu changes nothing", stacklevel=2)


def set_device(device: int) -> None:
    """Choose a GPU; without effect, as there is none in use."""


def set_random_seed(seed: int) -> None:
    """Set the seed of the nets that are made from now on.

    It decides how parameters start and what is drawn while the net runs. Without it the seed is 1: other than
    in Caffe, a run is always the same. A solver's ``random_seed`` goes before it.
    """
    _seed[:] = [seed]


def random_seed() -> int | None:
    """Return what :func:`set_random_seed` was given, None before."""
    return _seed[0] if _seed else None


def layer_type_list() -> list[str]:
    """Return the names of all layer types, sorted."""
    return sorted(registry())


__all__ = [
    "TEST",
    "TRAIN",
    "layer_type_list",
    "random_seed",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
]
