"""How a diagram tells of the windows that convolutions and poolings slide over their bottom."""

from collections.abc import Sequence

from caffelite.schema.messages import ConvolutionParameter, PoolingParameter


def window_text(settings: ConvolutionParameter | PoolingParameter) -> str:
    """Write the size of a window: ``3×3``."""
    return _joined(_values(settings, "kernel_size", "kernel"), least=2)


def stride_and_pad_text(settings: ConvolutionParameter | PoolingParameter) -> list[str]:
    """Write stride and pad, where they are not 1 and 0."""
    stride, pad = _values(settings, "stride", "stride"), _values(settings, "pad", "pad")
    told = [f"stride {_joined(stride)}"] if set(stride) - {1} else []
    return told + ([f"pad {_joined(pad)}"] if set(pad) - {0} else [])


def _values(settings: ConvolutionParameter | PoolingParameter, name: str, short: str) -> list[int]:
    """Return a setting in whichever form it is given, ``name`` or ``short_h`` and ``short_w``."""
    known = settings.DESCRIPTOR.fields_by_name
    if any(form in known and settings.HasField(form) for form in (f"{short}_h", f"{short}_w")):
        return [getattr(settings, f"{short}_h"), getattr(settings, f"{short}_w")]
    value = getattr(settings, name)
    return list(value) if hasattr(value, "__len__") else [value]


def _joined(values: Sequence[int], least: int = 1) -> str:
    return "×".join(map(str, [*values] * least if len(values) == 1 else values))
