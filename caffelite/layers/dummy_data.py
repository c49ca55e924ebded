"""DummyData: blobs of constants or random numbers, made by the net itself."""

from collections.abc import Sequence

import numpy as np

from caffelite.data.share import whole
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.fillers import fill
from caffelite.schema.messages import FillerParameter
from caffelite.words import Shape, text_of

_OLDER = ("num", "channels", "height", "width")


@layer("DummyData")
class DummyData(Layer):
    """Tops of given shapes, filled anew in each pass (constants once).

    ``dummy_data_param``: ``shape`` (older: ``num``, ``channels``, ``height``, ``width``) and ``data_filler``, one for
    all tops or one for each; without a filler, zeros.
    """

    facts = Facts(bottoms=0, tops=(1, None), source=True, kind="data", settings=("dummy_data_param",))

    def setup(self) -> None:
        settings, tops = self.param.dummy_data_param, len(self.param.top)
        older = any(len(getattr(settings, name)) for name in _OLDER)
        if settings.shape and older:
            self.error("give either shape or the older num, channels, height and width, not both", "shape")
        self.top_shapes = self._older_shapes(tops) if older else self._shapes(tops)
        for i, shape in enumerate(self.top_shapes):
            if any(n < 1 for n in shape):
                self.shape_error(f"top {i} would be {text_of(shape)}, expected sizes of at least 1", "shape")
        fillers = list(settings.data_filler) or [FillerParameter(type="constant", value=0)]
        if len(fillers) not in (1, tops):
            self.error(f"{tops} tops need no data_filler, one or {tops}, not {len(fillers)}", "data_filler")
        self.fillers = fillers * tops if len(fillers) == 1 else fillers
        self.shares = [self.share_of(shape[0], "shape") if shape else whole(1) for shape in self.top_shapes]
        shaped = zip(self.shares, self.top_shapes, strict=True)
        self.turns = max((share.stride // shape[0] for share, shape in shaped if shape), default=1)
        self.state["passes"] = np.zeros(1, np.int64)

    def _shapes(self, tops: int) -> list[Shape]:
        given: list[Shape] = [tuple(shape.dim) for shape in self.param.dummy_data_param.shape]
        if len(given) not in (1, tops):
            self.error(f"{tops} tops need one shape or {tops}, not {len(given)}", "shape")
        return given * tops if len(given) == 1 else given

    def _older_shapes(self, tops: int) -> list[Shape]:
        """Return the shapes that num, channels, height and width make; each is given once or for each top."""
        columns = []
        for name in _OLDER:
            sizes = list(getattr(self.param.dummy_data_param, name))
            if len(sizes) not in (1, tops):
                self.error(f"{tops} tops need {name} once or {tops} times, not {len(sizes)} times", name)
            columns.append(sizes * tops if len(sizes) == 1 else sizes)
        return list(zip(*columns, strict=True))

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        own = zip(self.shares, self.top_shapes, strict=True)
        return [(share.count, *shape[1:]) if shape else () for share, shape in own]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        changing = []
        for j, (top, filler) in enumerate(zip(tops, self.fillers, strict=True)):
            # All of them once, so that a filler that does not fit is found when the net is built.
            fill(top.data, filler, np.random.default_rng(0), self.where("data_filler", j))
            if filler.type != "constant":
                shape = self.top_shapes[j]
                batch = top.data if top.shape == shape else np.empty(shape, top.data.dtype)
                changing.append((j, top, filler, batch))
        passes = self.state["passes"]

        def refill() -> None:
            for j, top, filler, batch in changing:
                # A batch is one draw, of which each process takes its piece.
                turn, first = divmod(self.shares[j].first, len(batch) if batch.ndim else 1)
                rng = np.random.default_rng([self.seed, int(passes[0]) + turn, j])
                fill(batch, filler, rng, self.where("data_filler", j))
                if batch is not top.data:
                    top.data[...] = batch[first : first + len(top.data)]
            passes[0] += self.turns

        return [refill] if changing else []
