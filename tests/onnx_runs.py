"""Nets in caffelite and as ONNX models in ONNX Runtime, on the same inputs."""

import numpy as np
import onnxruntime

from caffelite.export.onnx.convert import Converted
from caffelite.layers.input import Input
from caffelite.net import Net

Arrays = dict[str, np.ndarray]


def run(converted: Converted, inputs: Arrays) -> Arrays:
    """Run a model in ONNX Runtime; return its outputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = converted.model.SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    feeds = {one.name: inputs[one.name] for one in session.get_inputs()}
    return dict(zip(names, session.run(names, feeds), strict=True))


def forward(net: Net, inputs: Arrays) -> Arrays:
    """Run the net on inputs of any shape; return its outputs."""
    for layer in net.layers:
        if isinstance(layer, Input):
            layer.top_shapes = [inputs[name].shape for name in layer.param.top]
    net.reshape()
    for name in net.inputs:
        net.blobs[name].data[...] = inputs[name]
    net.load_state({key: np.zeros_like(array) for key, array in net.state().items()})
    net.forward()
    return {name: net.blobs[name].data.copy() for name in net.outputs}


def twice(inputs: Arrays) -> Arrays:
    return {name: np.concatenate([x, x]) if x.ndim > 1 else x for name, x in inputs.items()}


def agree(ours: Arrays, theirs: Arrays) -> None:
    assert set(ours) == set(theirs)
    for name, y in theirs.items():
        finite = np.abs(np.where(np.isfinite(y), y, 0))
        np.testing.assert_allclose(ours[name], y, rtol=0, atol=1e-4 * float(finite.max(initial=0)), err_msg=name)
