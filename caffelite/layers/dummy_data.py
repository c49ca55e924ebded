"""DummyData: blobs of constants or random numbers, made by the net itself."""

from collections.abc import Sequence

import numpy as np

from caffelite.layers.base import Blob, Layer, Shape, Step, layer
from caffelite.layers.fillers import fill
from caffelite.schema.messages import FillerParameter


@layer("DummyData")
class DummyData(Layer):
    """Tops of given shapes, filled anew in each pass (constants once).

    ``dummy_data_param``: ``shape`` (older: ``num``, ``channels``, ``height``, ``width``) and ``data_filler``, one for
    all tops or one for each; without a filler, zeros.
    """

    bottoms = 0
    tops = (1, None)
    source = True

    def setup(self) -> None:
        settings, many = self.param.dummy_data_param, len(self.param.top)
        if settings.shape and settings.num:
            self.error("give either shape or the older num, channels, height and width, not both", "shape")
        if settings.shape:
            given: list[Shape] = [tuple(shape.dim) for shape in settings.shape]
        else:
            sizes = [list(getattr(settings, name)) for name in ("num", "channels", "height", "width")]
            if len({len(size) for size in sizes}) != 1:
                self.error("num, channels, height and width must be given equally often", "num")
            given = [tuple(shape) for shape in zip(*sizes, strict=True)]
        if len(given) not in (1, many):
            self.error(f"{many} tops need one shape or {many}, not {len(given)}", "shape")
        fillers = list(settings.data_filler) or [FillerParameter(type="constant", value=0)]
        if len(fillers) not in (1, many):
            self.error(f"{many} tops need no data_filler, one or {many}, not {len(fillers)}", "data_filler")
        self.top_shapes = given * many if len(given) == 1 else given
        self.fillers = fillers * many if len(fillers) == 1 else fillers
        self.state["passes"] = np.zeros(1, np.int64)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        return self.top_shapes

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        changing = []
        for j, (top, filler) in enumerate(zip(tops, self.fillers, strict=True)):
            if filler.type == "constant":
                fill(top.data, filler, np.random.default_rng(), self.where("data_filler", j))
            else:
                changing.append((j, top, filler))
        passes = self.state["passes"]

        def refill() -> None:
            for j, top, filler in changing:
                rng = np.random.default_rng([self.seed, int(passes[0]), j])
                fill(top.data, filler, rng, self.where("data_filler", j))
            passes[0] += 1

        return [refill] if changing else []
