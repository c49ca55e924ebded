"""Mean: add a mean, or take it off."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.errors import SchemaError, WeightsError
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.schema.blobs import read_blob
from caffelite.words import Shape, text_of

ADD = 1


@layer("Mean")
class Mean(Layer):
    """``y = output_scale * (input_scale * x ± mean_scale * mean)``, for each bottom and its top.

    ``mean_param``: ``operation`` ADD or SUBTRACT; the mean as ``file`` (a binaryproto of the height and width of the
    bottoms) or as ``value`` (one for all channels, or several that are repeated over the channels); ``mean_scale``,
    ``input_scale``, ``output_scale`` (1).

    lmb-freiburg/flownet2, where it has no gradient; here that is ``output_scale * input_scale * dy``.
    """

    facts = Facts(bottoms=(1, None), tops=(1, None), backward_reads=frozenset(), settings=("mean_param",))

    def setup(self) -> None:
        p = self.settings = self.param.mean_param
        if len(self.param.bottom) != len(self.param.top):
            self.error(f"{len(self.param.bottom)} bottoms need as many tops, not {len(self.param.top)}")
        if not p.HasField("operation"):
            self.error("mean_param needs operation, ADD or SUBTRACT")
        if p.HasField("file") == bool(p.value):
            self.error("mean_param needs either file or value")
        if p.value:
            self.mean = np.array(p.value, np.float32).reshape(-1, 1, 1)
            return
        try:
            mean = np.array(read_blob(p.file), ndmin=3)
        except (OSError, SchemaError, WeightsError) as error:
            self.error(f"file: {error}", "file")
        self.mean = mean.reshape(-1, *mean.shape[-2:])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        for j, x in enumerate(bottoms):
            if len(x) != 4 or x[1] % len(self.mean) or self.mean.shape[1:] not in ((1, 1), x[2:]):
                self.shape_error(f"its mean of {text_of(self.mean.shape)} does not fit {text_of(x)}", "bottom", j)
        return bottoms

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        p = self.settings
        steps: list[Step] = []
        for x, y in zip(bottoms, tops, strict=True):
            sign = 1 if p.operation == ADD else -1
            mean = np.tile(self.mean, (x.shape[1] // len(self.mean), 1, 1))
            mean = (mean * (sign * p.mean_scale * p.output_scale)).astype(x.data.dtype)
            factor = x.data.dtype.type(p.input_scale * p.output_scale)
            steps += [partial(np.multiply, x.data, factor, out=y.data), partial(np.add, y.data, mean, out=y.data)]
        return steps

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        factor = self.settings.input_scale * self.settings.output_scale
        return [
            partial(np.multiply, y.diff, y.data.dtype.type(factor), out=x.diff)
            for x, y in zip(bottoms, tops, strict=True)
            if x.diff is not None and y.diff is not None
        ]
