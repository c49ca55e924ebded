"""Convolution3D and NdConvolution: forks' names for a convolution over volumes."""

from collections.abc import Sequence

import numpy as np

from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.contract.summary import plain_summary
from caffelite.layers.convolution import Convolution
from caffelite.schema.messages import Convolution3DParameter, ConvolutionParameter, LayerParameter, PoolingParameter
from caffelite.words import Shape, text_of


def per_axis(owner: Layer, given: ConvolutionParameter | PoolingParameter) -> dict[str, tuple[int, ...]]:
    """Return kernel, stride and pad for each spatial axis, from ``kernel_shape``, ``stride_shape``, ``pad_shape``."""
    kernel = tuple(given.kernel_shape.dim)
    sizes = {"kernel": kernel}
    for name, fill in (("stride", 1), ("pad", 0)):
        values = tuple(getattr(given, f"{name}_shape").dim) or (fill,) * len(kernel)
        if len(values) != len(kernel):
            owner.error(f"{name}_shape has {len(values)} dims, kernel_shape {len(kernel)}", f"{name}_shape")
        sizes[name] = values
    for name, least in (("kernel", 1), ("stride", 1), ("pad", 0)):
        if min(sizes[name], default=least) < least:
            owner.error(f"{name}_shape has a dim of {min(sizes[name])}, expected at least {least}", f"{name}_shape")
    return sizes


class _Renamed(Convolution):
    """A convolution whose settings have other names."""

    facts = Convolution.facts.but(folds=frozenset())

    @classmethod
    def summary(cls, param: LayerParameter) -> list[str]:
        return plain_summary(param, cls.facts.settings)

    def _use(
        self,
        given: ConvolutionParameter | Convolution3DParameter,
        kernel: Sequence[int],
        stride: Sequence[int],
        pad: Sequence[int],
    ) -> None:
        """Give the settings the names that Convolution knows."""
        self.settings = LayerParameter().convolution_param
        self.settings.num_output, self.settings.bias_term = given.num_output, given.bias_term
        for name, values in (("kernel_size", kernel), ("stride", stride), ("pad", pad)):
            getattr(self.settings, name).extend(values)
        for name in ("weight_filler", "bias_filler"):
            if given.HasField(name):
                getattr(self.settings, name).CopyFrom(getattr(given, name))


@layer("Convolution3D")
class Convolution3D(_Renamed):
    """Convolution over depth (time), height and width: ``N × C × D × H × W``.

    ``convolution3d_param`` (C3D 1.1, MNN; C3D 1.0 has the same in ``convolution_param``): ``num_output``;
    ``kernel_size``, ``stride`` (1), ``pad`` (0) of height and width; ``kernel_depth``, ``temporal_stride`` (1),
    ``temporal_pad`` (0) of the depth; ``bias_term``, ``weight_filler``, ``bias_filler``. ``filter_group`` only says how
    C3D goes about it, and ``group`` is not read, as there. Blobs: filters, ``num_output × C × kernel_depth ×
    kernel_size × kernel_size``; bias.

    facebookarchive/C3D; Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks", 2015.
    """

    facts = _Renamed.facts.but(bottoms=1, tops=1, kind="weights", settings=("convolution3d_param", "convolution_param"))

    def setup(self) -> None:
        own = self.param.HasField("convolution3d_param")
        given = self.param.convolution3d_param if own else self.param.convolution_param
        sizes = {}
        for name, least in (("kernel_size", 1), ("stride", 1), ("pad", 0)):
            values = [getattr(given, name)] if own else list(getattr(given, name))
            if len(values) > 1 or (not values and name == "kernel_size"):
                self.error(f"Convolution3D takes one {name}, not {len(values)}", name)
            sizes[name] = values[0] if values else least
        if not sizes["kernel_size"] or not given.kernel_depth:
            self.error("Convolution3D needs kernel_size and kernel_depth of at least 1", "kernel_size")
        self._use(
            given,
            (given.kernel_depth, sizes["kernel_size"], sizes["kernel_size"]),
            (given.temporal_stride, sizes["stride"], sizes["stride"]),
            (given.temporal_pad, sizes["pad"], sizes["pad"]),
        )
        self._check_counts()

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if len(bottoms[0]) != 5:
            self.shape_error(
                f"takes a bottom of 5 axes (images × channels × depth × height × width), not {text_of(bottoms[0])}"
            )
        return super().shapes(*bottoms)

    def convert_blobs(self, blobs: list[np.ndarray], where: str) -> list[np.ndarray]:
        """Take the bias as C3D writes it, ``1 × 1 × 1 × 1 × num_output``."""
        if len(blobs) == 2 and blobs[1].size == blobs[1].shape[-1]:
            return [blobs[0], blobs[1].reshape(-1)]
        return blobs


@layer("NdConvolution")
class NdConvolution(_Renamed):
    """Convolution whose ``convolution_param`` has ``kernel_shape``, ``stride_shape`` and ``pad_shape``.

    Each is a list of dims, one a spatial axis (1 to 3); stride 1 and pad 0 if not given. Other settings are those of
    Convolution. As in video-caffe, whose layer this is, spatial axes that come out as 1 are left out of the top.
    """

    facts = _Renamed.facts.but(kind="weights", settings=("convolution_param",))

    def setup(self) -> None:
        given = self.param.convolution_param
        if not given.kernel_shape.dim:
            self.error("convolution_param needs kernel_shape { dim: … }", "kernel_shape")
        sizes = per_axis(self, given)
        self._use(given, sizes["kernel"], sizes["stride"], sizes["pad"])
        self.settings.group = given.group
        self._check_counts()
        if len(self.param.bottom) != len(self.param.top):
            self.error(f"{len(self.param.bottom)} bottoms need as many tops, not {len(self.param.top)}")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        axes = len(self.settings.kernel_size)
        if len(bottoms[0]) != 2 + axes:
            self.shape_error(
                f"kernel_shape has {axes} dims, which do not fit a bottom of shape {text_of(bottoms[0])}",
                "kernel_shape",
            )
        return [(*top[:2], *(n for n in top[2:] if n > 1)) for top in super().shapes(*bottoms)]
