"""Holding a written PyTorch module against the net it was made of, layer by layer."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from caffelite.errors import NetError, ShapeError, first_line
from caffelite.export.difference import Difference, difference, resize
from caffelite.export.inputs import inputs_of, random_input
from caffelite.export.torch.convert import TorchModule
from caffelite.export.trained import forward_afresh
from caffelite.layers.input import Input
from caffelite.net import Net
from caffelite.words import TEST, quoted

#: The largest difference of a blob, by the largest of its values.
TOLERANCE = 1e-5
_BATCHES = (2, 3)


def compare(net: Net, made: TorchModule, path: Path, seed: int = 1) -> list[tuple[str, Difference]]:
    """Run both on the same random inputs, at two sizes of the batch where the net allows them.

    In float32 sums in another order can differ by more than the tolerance, or another one of two equal values be the
    largest. Where that happens, both are run in float64, and what they differ by then counts.

    Parameters
    ----------
    net : Net
        Which the module was made of; its inputs are reshaped.
    made : TorchModule
    path : Path
        The file as it was written, with its weights beside it.
    seed : int, optional
        Of the inputs.

    Returns
    -------
    list of (str, Difference)
        For each layer, in order, how far what it makes is apart at most.

    Raises
    ------
    NetError
        The module does not run; the message names the layer.
    """
    module = load_module(path)
    found = _differences(net, made, module, seed)
    if all(d.value <= TOLERANCE for _, d in found):
        return found
    return _differences(_in_float64(net), made, module.double(), seed)


def load_module(path: Path) -> Any:
    """Return the module that a file has, with the weights beside it; what is in the file is run."""
    spec = importlib.util.spec_from_file_location("written", path)
    assert spec is not None and spec.loader is not None
    written = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(written)
    return written.load()


def _in_float64(net: Net) -> Net:
    wide = Net(
        net.document,
        TEST,
        keep=True,
        learn=False,
        dtype=np.float64,
        allow_python=net.context.allow_python,
        output_root=None,
    )
    for mine, theirs in zip(wide.layers, net.layers, strict=True):
        for blob, values in zip(mine.blobs, theirs.blobs, strict=True):
            blob.data[...] = values.data
    wide.changed()
    return wide


def _differences(net: Net, made: TorchModule, module: Any, seed: int) -> list[tuple[str, Difference]]:
    rng = np.random.default_rng(seed)
    worst: dict[int, tuple[str, Difference]] = {}
    for size in _BATCHES:
        before = {layer: layer.top_shapes for layer in net.layers if isinstance(layer, Input)}
        try:
            resize(net, size)
        except ShapeError:
            for layer, shapes in before.items():
                layer.top_shapes = shapes
            net.reshape()
        for version in inputs_of(net):
            values = net.plan.blob(version).data
            values[...] = random_input(version, values.shape, rng)
        forward_afresh(net)
        for i, (name, found) in enumerate(layer_differences(net, made, module)):
            if i not in worst or not found.value <= worst[i][1].value:
                worst[i] = name, found
    return list(worst.values())


def layer_differences(net: Net, made: TorchModule, module: Any) -> list[tuple[str, Difference]]:
    """Run a module on the inputs that a net has run on; return for each layer how far what it makes is apart.

    What a layer makes is looked at when its lines are done, before another one writes the variable.

    Parameters
    ----------
    net : Net
        Which the module was made of, or another of the same layers; it keeps its blobs.
    made : TorchModule
    module : torch.nn.Module
        Of the net's precision.

    Raises
    ------
    NetError
        The module does not run; the message names the layer.
    """
    inputs = [torch.from_numpy(net.plan.blob(version).data.copy()) for version in inputs_of(net)]
    found: list[tuple[str, Difference]] = []
    pending = list(reversed(made.steps))
    failed = False

    def look(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal failed
        failed = failed or event == "exception"
        while pending and not failed and (event == "return" or pending[-1][1] < frame.f_lineno):
            node = pending.pop()[0]
            for own, version in zip(net.graph.nodes[node.index].tops, node.tops, strict=True):
                theirs = frame.f_locals[made.variables[version]]
                ours = net.plan.blob(own).data
                found.append((node.name, difference(own.name, ours, theirs.numpy(force=True))))
        return look

    try:
        with _watched(type(module).forward.__code__, look), torch.no_grad():
            module(*inputs)
    except Exception as error:
        where = quoted(pending[-1][0].name) if pending else "its outputs"
        raise NetError(f"{net.document.filename}: PyTorch does not run {where}: {first_line(error)}") from error
    return found


@contextmanager
def _watched(code: Any, look: Any) -> Iterator[None]:
    """Let a function's lines be looked at while it runs."""
    before = sys.gettrace()
    sys.settrace(lambda frame, event, argument: look if frame.f_code is code else None)
    try:
        yield
    finally:
        sys.settrace(before)
