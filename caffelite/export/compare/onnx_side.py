"""An ONNX model as a side of a comparison: run in ONNX Runtime, with every tensor as an output."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx.helper import tensor_dtype_to_np_dtype

from caffelite.errors import DataError, NetError, first_line
from caffelite.export.compare.sides import Blobs
from caffelite.export.onnx.check import new_session
from caffelite.words import Shape, quoted, text_of


class OnnxSide:
    """A model in a file.

    Raises
    ------
    DataError
        It is no ONNX model.
    NetError
        ONNX Runtime does not take it.
    """

    reshapes = False

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            model = onnx.load(path, load_external_data=False)
        except (DecodeError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it cannot be decoded"
            raise DataError(f"{path}: it is no ONNX model that can be read: {reason}") from None
        constants = {tensor.name for tensor in model.graph.initializer}
        values = [value for value in model.graph.input if value.name not in constants]
        self.inputs: dict[str, Shape] = {
            v.name: tuple(dim.dim_value or -1 for dim in v.type.tensor_type.shape.dim) for v in values
        }
        with self._refusals():
            self._types = {v.name: tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type) for v in values}
            self._outputs = [name for node in model.graph.node for name in node.output if name]
            del model.graph.output[:]
            model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._outputs)
            self._session = new_session(model.SerializeToString(), path.absolute().parent)

    def draw(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> Blobs:
        drawn: Blobs = {}
        for name, dtype in self._types.items():
            if dtype.kind == "f":
                drawn[name] = rng.standard_normal(shapes[name], np.float32)
            else:
                whole = rng.integers(256 if dtype == np.uint8 else 2, size=shapes[name])
                drawn[name] = whole.astype(np.float32)
        return drawn

    def run(self, feeds: Mapping[str, np.ndarray]) -> Blobs:
        for name, shape in self.inputs.items():
            given = feeds[name].shape
            if len(given) != len(shape) or any(n not in (-1, m) for n, m in zip(shape, given, strict=True)):
                sizes = text_of(shape).replace("-1", "any")
                raise DataError(f"{self.name}: its input {quoted(name)} is {sizes}, and {text_of(given)} is given")
        with self._refusals():
            results = self._session.run(None, {name: feeds[name].astype(self._types[name]) for name in self.inputs})
        # What is no tensor of numbers (a sequence, strings) has no partner anywhere.
        tensors = {
            name: values.astype(np.float32)
            for name, values in zip(self._outputs, results, strict=True)
            if isinstance(values, np.ndarray) and values.dtype.kind in "biuf"
        }
        return {name: feeds[name] for name in self.inputs} | tensors

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Make one sentence of what ONNX Runtime says."""
        try:
            yield
        except (NetError, MemoryError):
            raise
        except Exception as error:  # each of its classes derives from Exception alone
            raise NetError(f"{self.name}: ONNX Runtime does not run it: {first_line(error)}") from error
