"""The example nets of ``models/``, on arrays in place of a database."""

from pathlib import Path

from caffelite.schema.documents import NetDocument
from caffelite.schema.text import net_from_message, read_net

MODELS = Path(__file__).parent.parent / "models"


def with_input(name: str, image: tuple[int, ...], batch: int = 4) -> NetDocument:
    """Return a net with Input layers of ``batch`` images, and their labels if it has any, where its data come in."""
    message = read_net(MODELS / f"{name}.prototxt").message
    for layer in message.layer:
        if layer.type == "Data":
            layer.type = "Input"
            for shape in ((batch, *image), (batch,))[: len(layer.top)]:
                layer.input_param.shape.add(dim=shape)
    return net_from_message(message)
