"""``caffelite convert NET.onnx OUT.prototxt``."""

import argparse
import json
from pathlib import Path

from caffelite.cli.arguments import OF_NETS, refuse_options
from caffelite.cli.convert_onnx import check_extra
from caffelite.cli.outputs import check_outputs
from caffelite.cli.progress import compiling
from caffelite.cli.terminal import status
from caffelite.words import quoted, text_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what a net of Caffe's takes: nothing."""


def write(arguments: argparse.Namespace, file: Path, output: Path) -> None:
    """Convert, run the net beside the ONNX file, and write the prototxt and the weights."""
    check_extra()
    from caffelite.export.caffe.convert import from_onnx
    from caffelite.export.caffe.convert import write as write_checked

    refuse_options(arguments, ["--weights"], f"is for nets in a prototxt: {file} has its weights")
    refuse_options(arguments, OF_NETS, f"is for nets in a prototxt, {file} is an ONNX file")
    weights = output.with_suffix(".caffemodel")
    check_outputs({output: file, weights: file}, "is what is read; give another name")
    with compiling():
        with status("converting"):
            net, converted = from_onnx(file, dict(arguments.input))
        with status("running it in ONNX Runtime"):
            differences = write_checked(net, converted, output, weights)
    inputs, outputs = ({name: net.blobs[name].shape for name in names} for names in (net.inputs, net.outputs))
    worst = max(differences, key=lambda d: d.value)
    told = {
        "net": str(output),
        "weights": str(weights),
        "inputs": inputs,
        "outputs": outputs,
        "layers": len(net.layers),
        "parameters": sum(blob.data.size for layer in net.layers for blob in layer.blobs),
        "blobs": len(differences),
        "difference": worst.value,
    }
    if arguments.json:
        print(json.dumps(told))
        return
    shapes = [", ".join(f"{name} {text_of(shape)}" for name, shape in blobs.items()) for blobs in (inputs, outputs)]
    print(f"{output} and {weights}: {' to '.join(shapes)}; {told['layers']} layers, {told['parameters']:,} parameters")
    print(
        f"ONNX Runtime with {file} differs by {worst.value:.1e} of the largest value at most ({quoted(worst.blob)}, of "
        f"{told['blobs']} blobs)"
    )
