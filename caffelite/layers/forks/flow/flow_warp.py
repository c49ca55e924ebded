"""FlowWarp: fetch each pixel from where a flow says it came from."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, text_of

NOT_A_NUMBER = 2


@kernel
def _forward(begin, end, worker, x, flow, y, channels, h, w, fill):
    """A task is a row of an image."""
    for task in range(begin, end):
        image, i = task // h, task % h
        plane = h * w
        for j in range(w):
            place = i * w + j
            across = j + flow[2 * image * plane + place]
            down = i + flow[(2 * image + 1) * plane + place]
            # Written so that a flow that is NaN lies outside.
            inside = across >= 0 and down >= 0 and across < w and down < h
            left, top = np.int64(across if inside else 0), np.int64(down if inside else 0)
            right, bottom = min(left + 1, w - 1), min(top + 1, h - 1)
            b, d = across - left, down - top
            for c in range(image * channels, (image + 1) * channels):
                if inside:
                    upper = x[c * plane + top * w + left] * (1 - b) + x[c * plane + top * w + right] * b
                    lower = x[c * plane + bottom * w + left] * (1 - b) + x[c * plane + bottom * w + right] * b
                    y[c * plane + place] = upper * (1 - d) + lower * d
                else:
                    y[c * plane + place] = fill


@kernel
def _backward(begin, end, worker, x, flow, dy, dx, dflow, channels, h, w):
    """Empty gradients are not computed; a task is an image."""
    plane = h * w
    for image in range(begin, end):
        for i in range(image * channels * plane, (image + 1) * channels * plane if len(dx) else 0):
            dx[i] = np.float32(0)
        for place in range(plane):
            i, j = place // w, place % w
            across = j + flow[2 * image * plane + place]
            down = i + flow[(2 * image + 1) * plane + place]
            inside = across >= 0 and down >= 0 and across < w and down < h
            to_right, to_bottom = np.float32(0), np.float32(0)
            if inside:
                left, top = np.int64(across), np.int64(down)
                right, bottom = min(left + 1, w - 1), min(top + 1, h - 1)
                b, d = across - left, down - top
                for c in range(image * channels, (image + 1) * channels):
                    g = dy[c * plane + place]
                    nw, ne = c * plane + top * w + left, c * plane + top * w + right
                    sw, se = c * plane + bottom * w + left, c * plane + bottom * w + right
                    if len(dx):
                        dx[nw] += g * (1 - b) * (1 - d)
                        dx[ne] += g * b * (1 - d)
                        dx[sw] += g * (1 - b) * d
                        dx[se] += g * b * d
                    to_right += g * ((x[ne] - x[nw]) * (1 - d) + (x[se] - x[sw]) * d)
                    to_bottom += g * ((x[sw] - x[nw]) * (1 - b) + (x[se] - x[ne]) * b)
            if len(dflow):
                dflow[2 * image * plane + place] = to_right
                dflow[(2 * image + 1) * plane + place] = to_bottom


@layer("FlowWarp")
class FlowWarp(Layer):
    """``y[c, i, j] = x[c, i + flow[1, i, j], j + flow[0, i, j]]``, bilinear between the four pixels around.

    Bottoms: x (``N × C × H × W``), flow (``N × 2 × H × W``: horizontal, vertical, in pixels).
    ``flow_warp_param { fill_value: ZERO }``: what a pixel from outside the image (or where the flow is NaN) becomes,
    ZERO or NOT_A_NUMBER. Such a pixel has no gradient.

    Ilg et al., "FlowNet 2.0", 2017; lmb-freiburg/flownet2.
    """

    facts = Facts(bottoms=2, backward_reads=frozenset({"bottom"}), settings=("flow_warp_param",))

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x, flow = bottoms
        if len(x) != 4 or flow != (x[0], 2, *x[2:]):
            self.shape_error(
                f"takes images (N × C × H × W) and their flow (N × 2 × H × W), not {text_of(x)} and {text_of(flow)}",
                "bottom",
                1,
            )
        return [x]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, flow = bottoms
        images, channels, h, w = x.shape
        fill = float("nan") if self.param.flow_warp_param.fill_value == NOT_A_NUMBER else 0.0
        return [
            call(_forward, images * h, x.flat, flow.flat, tops[0].flat, channels, h, w, fill, work=x.data.size * 10)
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, flow = bottoms
        if tops[0].diff is None or (x.diff is None and flow.diff is None):
            return []
        images, channels, h, w = x.shape
        nothing = np.empty(0, x.data.dtype)
        dx, dflow = (nothing if blob.diff is None else blob.flat_diff for blob in bottoms)
        return [
            call(
                _backward,
                images,
                x.flat,
                flow.flat,
                tops[0].flat_diff,
                dx,
                dflow,
                channels,
                h,
                w,
                work=x.data.size * 20,
            )
        ]
