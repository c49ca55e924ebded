"""ONNX files: of any size, whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnx import ModelProto

from caffelite.files import atomic_write, replace

#: A message of protobuf has fewer bytes than 2 GiB; weights of more lie in a file beside the model. What is no weights
#: takes less than the rest.
LIMIT = 2**31 - 2**26
#: Constants of fewer bytes stay in the model then.
_SMALL = 1024


def data_file(path: Path) -> Path:
    """Return where the weights of a model are that is too large for one file."""
    return path.with_name(f"{path.name}.data")


def save(model: ModelProto, path: Path) -> None:
    """Write a model; where it is too large, its weights to :func:`data_file`. The weights leave the model then."""
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) <= LIMIT:
        path.write_bytes(model.SerializeToString(deterministic=True))
        return
    onnx.save_model(model, path, save_as_external_data=True, location=data_file(path).name, size_threshold=_SMALL)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give the path of a model to write; at the end it takes the place of ``path``, with the weights beside it.

    Raises
    ------
    OSError
        As from :func:`caffelite.files.atomic_write`.
    """
    with atomic_write(path) as made:
        yield made
        if data_file(made).exists():
            replace(data_file(made), data_file(path))
