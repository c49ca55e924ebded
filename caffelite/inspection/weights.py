"""Files of numbers: weights, states of solvers, means, HDF5."""

from pathlib import Path
from typing import Any

import numpy as np

from caffelite.inspection.told import Inspection, plural, shapes_text, size_text, total
from caffelite.schema.blobs import read_blob
from caffelite.schema.hdf5 import list_hdf5
from caffelite.schema.weights import read_weights
from caffelite.solvers.snapshots import read_state
from caffelite.words import Shape, text_of


def weights_inspection(path: Path) -> Inspection:
    """Return what is told of a ``.caffemodel``: its layers and the shapes of their blobs."""
    layers = [(layer.name, layer.type, [blob.shape for blob in layer.blobs]) for layer in read_weights(path)]
    return _weights("caffemodel", "binary", layers)


def _weights(kind: str, form: str, layers: list[tuple[str, str, list[Shape]]]) -> Inspection:
    parameters = sum(total(shapes) for _, _, shapes in layers)
    learned = sum(bool(shapes) for _, _, shapes in layers)
    lines = [
        f"weights ({form}), {plural(len(layers), 'layer')}, {learned:,} of them with blobs",
        f"Total: {plural(parameters, 'parameter')}, {size_text(4 * parameters)} in float32",
    ]
    rows = [["layer", "type", "blobs", "parameters"]]
    rows += [[name, type, shapes_text(shapes), f"{total(shapes):,}" if shapes else ""] for name, type, shapes in layers]
    data = {
        "layers": [
            {"layer": name, "type": type, "shapes": [list(shape) for shape in shapes], "parameters": total(shapes)}
            for name, type, shapes in layers
        ],
        "parameters": parameters,
    }
    return Inspection(kind, lines, rows, data)


def state_inspection(path: Path) -> Inspection:
    """Return what is told of a state: where the run stood, and what its update rule keeps."""
    state = read_state(path)
    shapes = [array.shape for array in state.history]
    lines = [
        f"state of a solver{f' ({state.rule})' if state.rule else ''} at iteration {state.iteration:,}, "
        f"step {state.current_step} of its learning rate",
        f"Weights: {state.learned_net or 'not named'}",
        f"History: {plural(len(shapes), 'blob')}, {total(shapes):,} numbers",
    ]
    if state.extra:
        lines.append(f"Of caffelite's own: {plural(len(state.extra), 'array')}, with which a run goes on bit for bit")
    rows = [["history", "shape"], *([str(j), text_of(shape)] for j, shape in enumerate(shapes))]
    data = {
        "iteration": state.iteration,
        "current_step": state.current_step,
        "learned_net": state.learned_net,
        "type": state.rule,
        "history": [list(shape) for shape in shapes],
        "own": {name: list(array.shape) for name, array in state.extra.items()},
    }
    return Inspection("solverstate", lines, rows, data)


def blob_inspection(path: Path) -> Inspection:
    """Return what is told of a single blob, usually a mean: shape, range, mean of each channel."""
    blob = read_blob(path)
    planes = blob.reshape(-1, *blob.shape[-2:]) if blob.ndim > 2 else blob.reshape(1, -1)
    means = [_finite(value) for value in planes.reshape(len(planes), -1).mean(1, dtype=np.float64)]
    low, high, mean = (_finite(value) for value in (blob.min(), blob.max(), blob.mean(dtype=np.float64)))
    lines = [
        f"blob (binaryproto), {text_of(blob.shape)}, {blob.size:,} values",
        f"Values: {_text(low)} to {_text(high)}, mean {_text(mean)}",
    ]
    if 1 < len(means) <= 16:
        lines.append(f"Means of the channels: {', '.join(map(_text, means))}")
    data = {"shape": list(blob.shape), "min": low, "max": high, "mean": mean, "channel_means": means}
    return Inspection("binaryproto", lines, [], data)


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _text(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.6g}"


def hdf5_inspection(path: Path) -> Inspection:
    """Return what is told of an HDF5 file: weights, the state of a solver, or data."""
    datasets = list_hdf5(path)
    names = {name.split("/")[0] for name, _, _ in datasets}
    if {"iter", "history"} <= names:
        state = state_inspection(path)
        state.kind = "HDF5 solverstate"
        return state
    if names == {"data"} and all(name.count("/") > 1 for name, _, _ in datasets):
        layers: dict[str, list[Shape]] = {}
        for name, shape, _ in datasets:
            layers.setdefault(name.removeprefix("data/").rpartition("/")[0], []).append(shape)
        return _weights("HDF5 weights", "HDF5", [(name, "", shapes) for name, shapes in layers.items()])
    rows = {shape[:1] for _, shape, _ in datasets}
    alike = f", {next(iter(rows))[0]:,} rows each" if len(rows) == 1 and () not in rows else ""
    return Inspection(
        "HDF5 data",
        [f"data (HDF5), {plural(len(datasets), 'dataset')}{alike}"],
        [["dataset", "shape", "numbers"], *([name, text_of(shape), kind] for name, shape, kind in datasets)],
        {"datasets": [{"name": name, "shape": list(shape), "dtype": kind} for name, shape, kind in datasets]},
    )
