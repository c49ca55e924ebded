"""Input: blobs that the caller fills."""

from collections.abc import Sequence

from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape


@layer("Input")
class Input(Layer):
    """Tops of the shapes in ``input_param { shape { dim: … } }``: one shape for all, or one for each.

    Attributes
    ----------
    top_shapes : list of tuple of int
        The shapes; what is written here is taken up by ``Net.reshape``.
    """

    facts = Facts(
        bottoms=0,
        tops=(1, None),
        source=True,
        net_input=True,
        filled_by_caller=True,
        kind="data",
        settings=("input_param",),
    )

    def setup(self) -> None:
        given = [tuple(shape.dim) for shape in self.param.input_param.shape]
        tops = len(self.param.top)
        if len(given) not in (1, tops):
            self.error(f"{tops} tops need one shape or {tops}, not {len(given)}", "shape")
        for i, shape in enumerate(given):
            if any(n < 1 for n in shape):
                self.shape_error(f"dim {min(shape)} is not a size, expected at least 1", "shape", i)
        self.top_shapes: list[Shape] = given * tops if len(given) == 1 else given

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        return self.top_shapes
