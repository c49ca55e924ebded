"""Nets with layers of ``layers_in_python`` or of another module of the user's."""

from typing import Any

from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TRAIN


def python(kind: str, bottom: str, top: str, more: str = "", module: str = "layers_in_python") -> str:
    blobs = " ".join([f'bottom: "{b}"' for b in bottom.split()] + [f'top: "{t}"' for t in top.split()])
    return f'layer {{ name: "{kind}" type: "Python" {blobs}\n python_param {{ module: "{module}" layer: "{kind}" {more} }} '


def inputs(*shapes: tuple[int, ...]) -> str:
    tops = " ".join(f'top: "x{j}"' for j in range(len(shapes)))
    dims = " ".join(f"shape {{ {' '.join(f'dim: {n}' for n in shape)} }}" for shape in shapes)
    return f'layer {{ name: "in" type: "Input" {tops} input_param {{ {dims} }} }}\n'


def net_of(text: str, phase: int = TRAIN, **options: Any) -> Net:
    options = {"allow_python": True, "keep": True, **options}
    return Net(net_from_text(text, "a.prototxt"), phase, **options)
