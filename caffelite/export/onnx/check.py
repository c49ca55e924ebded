"""Holding an ONNX model against the net it was made of, in ONNX Runtime."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.checker import ValidationError
from onnx.shape_inference import InferenceError
from onnxruntime.capi import onnxruntime_pybind11_state as states

from caffelite.errors import NetError, first_line
from caffelite.export.difference import Difference, difference, distances, largest, resize
from caffelite.export.inputs import inputs_of, random_input
from caffelite.export.onnx.choices import choosing_from, chosen_from
from caffelite.export.onnx.convert import FOREIGN, Converted, cut_foreign
from caffelite.export.onnx.files import save
from caffelite.export.rounding import is_rounding, moved_by_rounding
from caffelite.export.trained import forward_afresh
from caffelite.net import Net
from caffelite.net.graph import Version

#: The largest difference of a blob, by the largest of its values.
TOLERANCE = 1e-4
#: Inputs of a random net are drawn so often, for each size of the batch.
_DRAWS = 2
_BATCHES = (1, 2)
#: What ONNX Runtime raises of a model, each class by itself.
_REFUSALS = tuple(
    getattr(states, name) for name in ("Fail", "InvalidArgument", "InvalidGraph", "NotImplemented", "RuntimeException")
)

_Feeds = Mapping[str, np.ndarray]


def agrees(d: Difference) -> bool:
    """Whether the two compute the same."""
    return d.value <= TOLERANCE or d.rounding


def refuse_mistakes(differences: Sequence[Difference], path: Path) -> None:
    """Raise NetError where a blob is not the same: names the first, and the file that is not written therefore."""
    first = next((d for d in differences if not agrees(d)), None)
    if first is not None:
        raise NetError(
            f"{path} is not written, because ONNX Runtime computes something else: {first.told('ONNX Runtime')}"
        )


def compare(net: Net, converted: Converted, seed: int = 1) -> list[Difference]:
    """Run both on the same random inputs; return how far each blob is apart at most, in the order of the net.

    Parameters
    ----------
    net : Net
        Which the model was made of, or with the same blobs as that (one that was not folded), with the same weights,
        planned with ``keep``; its inputs are reshaped.
    converted : Converted
        Where it takes batches of any size, it is run with two.
    seed : int, optional
        Of the inputs.

    Raises
    ------
    NetError
        The ONNX checker or ONNX Runtime does not take the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        save(converted.model, path)
        return compare_file(net, converted, path, seed)


def compare_file(net: Net, converted: Converted, path: Path, seed: int = 1) -> list[Difference]:
    """Do what :func:`compare` does with a model that has been written.

    It is run twice: with every blob as an output, and as it is, because ONNX Runtime computes several operators as one
    where nobody looks between them. What ONNX does not have is left out (see
    :func:`~caffelite.export.onnx.convert.cut_foreign`). Other files are made beside it meanwhile.
    """
    with refusals(path), _known(converted, path) as known:
        onnx.checker.check_model(str(known), full_check=True)
        worst = {d.blob: d for d in _compare_all(net, converted, known, seed)}
        for d in _compare_outputs(net, converted, known, seed):
            worst[d.blob] = _worse(d, worst.get(d.blob))
    return list(worst.values())


@contextmanager
def _known(converted: Converted, path: Path) -> Iterator[Path]:
    """Give the path of a model without what ONNX does not have."""
    if not any(op.op_type in FOREIGN for op in converted.model.graph.node):
        yield path
        return
    model = onnx.load(path, load_external_data=False)
    cut_foreign(model)
    with _beside(path, "known", model) as known:
        yield known


@contextmanager
def _beside(path: Path, what: str, model: onnx.ModelProto) -> Iterator[Path]:
    """Give the path of a model beside another one, with whose weights it goes."""
    made = path.with_name(f"{path.name}.{what}")
    made.write_bytes(model.SerializeToString())
    try:
        yield made
    finally:
        made.unlink()


def _compare_all(net: Net, converted: Converted, path: Path, seed: int) -> list[Difference]:
    names = {version.name for version in converted.tensors}
    versions = [v for v in net.graph.names.values() if v.name in names]
    return _compare_some(net, converted, path, seed, versions) if versions else []


def _compare_outputs(net: Net, converted: Converted, path: Path, seed: int) -> list[Difference]:
    session = new_session(path)
    versions = [net.graph.names[output.name] for output in session.get_outputs() if output.name in net.graph.names]
    names = {version.name for version in converted.tensors}
    # What a layer chose can only be told beside what it chose from.
    others = [v for v in chosen_from(net) if v not in versions and v.name in names]
    if others:
        return _compare_some(net, converted, path, seed, [*versions, *others])
    return _differences(net, converted, versions, session, seed)


def _compare_some(
    net: Net, converted: Converted, path: Path, seed: int, versions: Sequence[Version]
) -> list[Difference]:
    """Compare with these blobs as outputs."""
    model = onnx.load(path, load_external_data=False)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in _names(converted, versions))
    with _beside(path, "probe", model) as probe:
        del model
        return _differences(net, converted, versions, new_session(probe), seed)


def _names(converted: Converted, versions: Sequence[Version]) -> list[str]:
    """Return the tensors of blobs; an output that is a constant or an input is called as the blob."""
    tensors = {version.name: tensor for version, tensor in converted.tensors.items()}
    return [tensors.get(version.name, version.name) for version in versions]


def new_session(model: Path | bytes, folder: Path | None = None) -> Any:
    """Return what runs a model, on the CPU, without a word.

    Parameters
    ----------
    model : Path or bytes
        Its file, or what would be in one.
    folder : Path, optional
        Where weights lie that bytes do not hold.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    content = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Make one sentence of what the checker and ONNX Runtime say."""
    try:
        yield
    except (ValidationError, InferenceError) as error:
        raise NetError(f"{path.name}: the ONNX checker does not take it: {first_line(error)}") from error
    except _REFUSALS as error:
        raise NetError(f"{path.name}: ONNX Runtime does not run it: {first_line(error)}") from error


def _differences(
    net: Net, converted: Converted, versions: Sequence[Version], session: Any, seed: int
) -> list[Difference]:
    """Run both on several inputs; return the largest difference of each of these blobs."""
    rng = np.random.default_rng(seed)
    names = _names(converted, versions)
    worst: dict[str, Difference] = {}
    for size in (converted.batch,) if converted.fixed else _BATCHES:
        if size is not None:
            resize(net, size)
        for _ in range(_DRAWS):
            feeds = _drawn(net, converted, rng)
            theirs = session.run(names, feeds)
            with choosing_from(net, dict(zip(versions, theirs, strict=True))):
                forward_afresh(net)
            for d in _with_rounding(net, versions, theirs):
                worst[d.blob] = _worse(d, worst.get(d.blob))
    return list(worst.values())


def _worse(one: Difference, other: Difference | None) -> Difference:
    if other is None or agrees(one) < agrees(other) or agrees(one) == agrees(other) and not one.value <= other.value:
        return one
    return other


def _with_rounding(net: Net, versions: Sequence[Version], theirs: Sequence[np.ndarray]) -> list[Difference]:
    """Return the differences, with whether rounding makes those that are too large."""
    ours = [net.plan.blob(version).data for version in versions]
    told = [difference(v.name, x, y) for v, x, y in zip(versions, ours, theirs, strict=True)]
    large = [j for j, d in enumerate(told) if not agrees(d) and theirs[j].shape == versions[j].shape]
    if large:
        kept = [ours[j].copy() for j in large]
        moved = moved_by_rounding(net, [versions[j] for j in large])
        for j, y, far in zip(large, kept, moved, strict=True):
            same = is_rounding(distances(y, theirs[j]), far, TOLERANCE * largest(y))
            told[j] = replace(told[j], rounding=same)
    return told


def _drawn(net: Net, converted: Converted, rng: np.random.Generator) -> _Feeds:
    """Fill the inputs of a net with random values; return those of the model."""
    feeds = {}
    for version in inputs_of(net):
        values = net.plan.blob(version).data
        if converted.preprocessing is not None:
            images = rng.integers(0, 256, (values.shape[0], *values.shape[2:], values.shape[1]), np.uint8)
            values[...] = converted.preprocessing.apply(images)
            return {converted.model.graph.input[0].name: images}
        values[...] = random_input(version, values.shape, rng)
        feeds[version.name] = values.copy()
    return feeds
