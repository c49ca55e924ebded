"""The sizes of a two-dimensional convolution: what every way of computing one is asked with."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of a two-dimensional convolution; pairs are (vertical, horizontal), in pixels.

    A layer makes it from its settings and the shape of its bottom.

    Attributes
    ----------
    images, channels, outputs : int
        Maps of the input are images x channels, of the result images x outputs.
    size : (int, int)
        Of an input map, without padding.
    kernel : (int, int)
        Taps of a filter.
    stride : (int, int)
        From one output pixel to the next, in the input.
    pad : (int, int)
        Zeros on each side of an input map.
    dilation : (int, int)
        From one tap to the next, in the input.
    group : int
        The channels, and the outputs, are cut into as many groups; an output sees the channels of its group.
    """

    images: int
    channels: int
    outputs: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    group: int = 1

    @property
    def extent(self) -> tuple[int, int]:
        """How many input pixels one output pixel spans."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))  # type: ignore[return-value]

    @property
    def output_size(self) -> tuple[int, int]:
        """Size of the output map."""
        return tuple(
            (n + 2 * p - e) // s + 1 for n, p, e, s in zip(self.size, self.pad, self.extent, self.stride, strict=True)
        )  # type: ignore[return-value]

    @property
    def multiplications(self) -> int:
        """Multiply-adds of one pass."""
        taps = self.kernel[0] * self.kernel[1] * self.channels // self.group
        return self.images * self.outputs * self.output_size[0] * self.output_size[1] * taps
