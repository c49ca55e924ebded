"""Pooling3D and NdPooling: pooling of volumes."""

from collections.abc import Sequence
from fractions import Fraction

from caffelite.kernels.engine.arrays import zeros
from caffelite.kernels.pooling.windows import Windows
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.forks.filters.convolution_3d import per_axis
from caffelite.layers.pooling import Pooling
from caffelite.schema.messages import LayerParameter, Pooling3DParameter
from caffelite.words import Shape, count, text_of

_MAX, _AVE = 0, 1


class _EveryWindow(Pooling):
    """Pooling that keeps a last window that begins in the padding."""

    def _output(self, size: int, kernel: int, stride: int, pad: int) -> int:
        windows = -(-(size + 2 * pad - kernel) // stride) + 1
        if windows < 1:
            self.shape_error(f"a window of {kernel} does not fit into {size} with pad {pad}", "kernel_size")
        return windows


class Volumes(Layer):
    """Pooling of maps or volumes: each slice as a map, then what that gives along the depth."""

    facts = Facts(backward_reads=frozenset())
    #: For each spatial axis; no kernel: all of it.
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    pad: tuple[int, ...] = ()
    #: What pools maps.
    pooling: type[Pooling] = Pooling
    pool = _MAX

    def _map_pooling(self, axes: slice, thin: bool = False) -> Pooling:
        """Return what pools maps along two of the axes, or along one of them (``thin``) and nothing across."""
        param = LayerParameter(name=self.name, type="Pooling", bottom=["x"], top=["y"])
        p = param.pooling_param
        p.pool = self.pool
        if self.kernel:
            across: tuple[tuple[int, ...], ...] = ((1,), (1,), (0,)) if thin else ((), (), ())
            p.kernel_h, p.kernel_w = self.kernel[axes] + across[0]
            p.stride_h, p.stride_w = self.stride[axes] + across[1]
            p.pad_h, p.pad_w = self.pad[axes] + across[2]
        else:
            p.global_pooling = True
        return self.pooling(param, self.context, self.place)

    def _plan(self, x: Shape) -> tuple[Pooling, Shape, Shape, Pooling | None, Shape, Shape]:
        """Return what pools the slices, from which shape to which, and the same along the depth (None: nothing)."""
        maps = count(x[:2])
        inner = self._map_pooling(slice(-2, None))
        if len(x) == 4:
            return inner, x, inner.shapes(x)[0], None, (), ()
        slices = (maps, x[2], *x[3:])
        pooled = inner.shapes(slices)[0]
        if self.kernel and (self.kernel[0], self.stride[0], self.pad[0]) == (1, 1, 0):
            return inner, slices, pooled, None, (), ()
        outer = self._map_pooling(slice(0, 1), thin=True)
        columns = (maps, 1, x[2], count(pooled[2:]))
        return inner, slices, pooled, outer, columns, outer.shapes(columns)[0]

    def windows(self, x: Shape) -> list[tuple[Windows, int]]:
        """Return, for each spatial axis, the windows of a pooling of maps, and which of its axes it is."""
        inner, slices, _, outer, columns, _ = self._plan(x)
        along = inner.windows(slices)
        if len(x) == 4:
            return [(along, 0), (along, 1)]
        deep = outer.windows(columns) if outer else Windows(x[2], 1, 1, 1, 1, 1, 0, 0, x[2], 1)
        return [(deep, 0), (along, 0), (along, 1)]

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x = bottoms[0]
        if len(x) not in (4, 5) or (self.kernel and len(x) != len(self.kernel) + 2):
            expected = f"{len(self.kernel) + 2} axes" if self.kernel else "4 or 5 axes"
            self.shape_error(f"takes a bottom of {expected}, not {text_of(x)}")
        _, _, pooled, _, _, deep = self._plan(x)
        if len(x) == 4:
            return [pooled]
        return [(*x[:2], deep[2] if deep else pooled[1], *pooled[2:])]

    def window(self, bottom: Shape) -> list[tuple[int, Fraction]]:
        along = [((g.kernel_h, g.kernel_w)[axis], (g.stride_h, g.stride_w)[axis]) for g, axis in self.windows(bottom)]
        return [(kernel, Fraction(stride)) for kernel, stride in along]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0]
        inner, slices, pooled, outer, columns, deep = self._plan(x.shape)
        if outer is None:
            self.stages = [(inner, _seen(x, slices), _seen(y, pooled))]
        else:
            diff = None if x.diff is None else zeros(pooled, x.data.dtype)
            middle = Blob("pooled", zeros(pooled, x.data.dtype), diff)
            self.stages = [(inner, _seen(x, slices), middle), (outer, _seen(middle, columns), _seen(y, deep))]
        return [step for pooling, source, target in self.stages for step in pooling.forward([source], [target])]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if bottoms[0].diff is None or tops[0].diff is None:
            return []
        return [step for pooling, source, target in self.stages[::-1] for step in pooling.backward([source], [target])]


def _seen(blob: Blob, shape: Shape) -> Blob:
    """Return the blob with another shape (a view)."""
    return Blob(blob.name, blob.data.reshape(shape), None if blob.diff is None else blob.diff.reshape(shape))


@layer("Pooling3D")
class Pooling3D(Volumes):
    """The largest (``MAX``) or mean (``AVE``) value of each window of a volume, ``N × C × D × H × W``.

    ``pooling3d_param`` (C3D 1.1, MNN; C3D 1.0 has the same in ``pooling_param``): ``pool``; ``kernel_size``, ``stride``
    (1), ``pad`` (0, with AVE only) of height and width; ``kernel_depth``, ``temporal_stride`` (1), ``temporal_pad`` (0)
    of the depth. Sizes and divisors are those of Pooling, but a last window that begins in the padding is kept, as in
    C3D (its mean is NaN if it begins behind it).

    facebookarchive/C3D.
    """

    facts = Volumes.facts.but(kind="pooling", settings=("pooling3d_param", "pooling_param"))

    pooling = _EveryWindow

    def setup(self) -> None:
        own = self.param.HasField("pooling3d_param")
        p = self.param.pooling3d_param if own else self.param.pooling_param
        self.pool = p.pool
        if p.pool not in (_MAX, _AVE):
            self.error("pool must be MAX or AVE", "pool")
        if not p.kernel_size or not p.kernel_depth:
            self.error("Pooling3D needs kernel_size and kernel_depth of at least 1", "kernel_size")
        self.kernel = (p.kernel_depth, p.kernel_size, p.kernel_size)
        self.stride = (p.temporal_stride, p.stride, p.stride)
        if min(self.stride) < 1:
            self.error(
                f"stride and temporal_stride are {p.stride} and {p.temporal_stride}, expected at least 1", "stride"
            )
        depth_pad = p.temporal_pad if isinstance(p, Pooling3DParameter) else 0
        self.pad = (depth_pad, p.pad, p.pad)
        if any(self.pad) and p.pool != _AVE:
            self.error("a pad goes with pool AVE", "pad" if p.pad else "temporal_pad")
        if p.pad >= p.kernel_size or depth_pad >= p.kernel_depth:
            self.error(
                f"pads {p.pad} and {depth_pad} must be smaller than the kernel, {p.kernel_size} and {p.kernel_depth}",
                "pad",
            )


@layer("NdPooling")
class NdPooling(Volumes):
    """Pooling whose ``pooling_param`` has ``kernel_shape``, ``stride_shape`` and ``pad_shape``.

    Each is a list of dims, one a spatial axis (2 or 3); stride 1 and pad 0 if not given. ``pool`` MAX or AVE;
    ``global_pooling``: one window, all of the map or volume. Sizes and divisors are those of Pooling.

    chuckcho/video-caffe.
    """

    facts = Volumes.facts.but(kind="pooling", settings=("pooling_param",))

    def setup(self) -> None:
        p = self.param.pooling_param
        self.pool = p.pool
        if p.pool not in (_MAX, _AVE):
            self.error("pool must be MAX or AVE", "pool")
        if p.global_pooling:
            return
        if len(p.kernel_shape.dim) not in (2, 3):
            self.error(
                f"pooling_param needs a kernel_shape of 2 or 3 dims, not {len(p.kernel_shape.dim)}", "kernel_shape"
            )
        sizes = per_axis(self, p)
        self.kernel, self.stride, self.pad = sizes["kernel"], sizes["stride"], sizes["pad"]
        for k, q in zip(self.kernel, self.pad, strict=True):
            if q >= k:
                self.error(f"pad {q} must be smaller than the kernel, {k}", "pad_shape")
