"""A model of ONNX's as a net of Caffe's, and its files, which are written only if both compute the same."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from caffelite.errors import NetError
from caffelite.export.caffe.graph import CaffeGraph, refusal
from caffelite.export.caffe.operators import operators
from caffelite.export.caffe.reading import OnnxSource
from caffelite.export.difference import Difference
from caffelite.export.onnx.check import compare, refuse_mistakes
from caffelite.export.onnx.convert import Converted
from caffelite.net import Net
from caffelite.schema.messages import NetParameter
from caffelite.schema.printer import write_text
from caffelite.schema.text import net_from_message
from caffelite.words import TEST, Shape, quoted


def from_onnx(path: Path, shapes: Mapping[str, Shape] | None = None) -> tuple[Net, Converted]:
    """Return the net that an ONNX model is, with its weights, every blob kept; and the model with the same tensors.

    Parameters
    ----------
    path : Path
    shapes : mapping of str to tuple of int, optional
        Of inputs, in place of those in the file; an open batch is 1 without.

    Raises
    ------
    DataError
        It cannot be read.
    NetError
        A node has no layer in Caffe: names it, and what it is used for; or ONNX Runtime does not run the model.
    """
    source = OnnxSource(path, shapes or {})
    known = operators()
    for node in source.nodes:
        if node.operator not in known:
            raise refusal(source, node, "no layer of Caffe's is known for it")
    source.look()
    graph = CaffeGraph(source)
    for node in source.nodes:
        known[node.operator](graph, node)
    graph.finish()
    net = _built(graph)
    made = {name for node in source.nodes for name in node.outputs}
    tensors = {version: name for name, version in net.graph.names.items() if name in made}
    return net, Converted(source.model, "it is held against the model with the shapes of its inputs", tensors)


def _built(graph: CaffeGraph) -> Net:
    message = NetParameter(name=graph.source.model.graph.name, layer=graph.layers)
    net = Net(net_from_message(message, str(graph.source.path)), TEST, keep=True, learn=False, output_root=None)
    for layer in net.layers:
        given = graph.weights.get(layer.name, [])
        if [blob.data.size for blob in layer.blobs] != [values.size for values in given]:
            raise NetError(f"{graph.source.path}: the weights of {quoted(layer.name)} are not as many as it takes")
        for blob, values in zip(layer.blobs, given, strict=True):
            blob.data[...] = np.asarray(values, np.float32).reshape(blob.shape)
    net.changed()
    return net


def write(net: Net, converted: Converted, prototxt: Path, caffemodel: Path) -> list[Difference]:
    """Write a net and its weights, if ONNX Runtime gives the same numbers for all tensors.

    Returns
    -------
    list of Difference
        How far each blob is apart at most.

    Raises
    ------
    NetError
        A blob differs: the first one is named. Nothing is written then.
    OSError
        It cannot be written.
    """
    differences = compare(net, converted)
    refuse_mistakes(differences, prototxt)
    net.save(caffemodel)
    write_text(net.document, prototxt)
    return differences
