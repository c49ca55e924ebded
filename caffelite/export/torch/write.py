"""A PyTorch module that is written, with its weights beside it, only if it computes what the net computes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import numpy as safetensors

from caffelite.errors import NetError
from caffelite.export.difference import Difference
from caffelite.export.torch.check import TOLERANCE, compare
from caffelite.export.torch.convert import TorchModule
from caffelite.files import atomic_write, replace
from caffelite.net import Net
from caffelite.words import quoted


def weights_beside(path: Path) -> Path:
    """Return where the weights of a module are."""
    return path.with_suffix(".safetensors")


def save(made: TorchModule, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a module and its weights as they are."""
    path.write_text(made.source, encoding="utf-8")
    # Copies: what is transposed, or float64 for the sake of a comparison.
    types = {"i": np.int64, "f": np.float32}
    state = {name: np.array(values, types[values.dtype.kind], order="C") for name, values in made.state.items()}
    # Not by its save_file, whose files nobody else can read.
    weights_beside(path).write_bytes(safetensors.save(state, dict(metadata)))


def write(net: Net, made: TorchModule, path: Path, metadata: Mapping[str, str]) -> list[tuple[str, Difference]]:
    """Write a module, and its weights to :func:`weights_beside`.

    Parameters
    ----------
    net : Net
        As for :func:`caffelite.export.torch.check.compare`.
    made : TorchModule
    path : Path
        Ends in ``.py``.
    metadata : mapping of str to str
        Kept in the file of weights.

    Returns
    -------
    list of (str, Difference)
        For each layer how far what it makes is apart at most.

    Raises
    ------
    NetError
        A layer differs: the first one is named; or the module does not run. Nothing is written then.
    OSError
        They cannot be written.
    """
    with atomic_write(path) as text:
        save(made, text, metadata)
        differences = compare(net, made, text)
        for layer, found in differences:
            if not found.value <= TOLERANCE:
                raise NetError(
                    f"{path} is not written, because layer {quoted(layer)} is something else in PyTorch: "
                    f"{found.told('PyTorch')}"
                )
        replace(weights_beside(text), weights_beside(path))
    return differences
