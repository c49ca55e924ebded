"""``caffelite convert … OUT.onnx``."""

import argparse
import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caffelite.batchnorm.fold import fold
from caffelite.cli.arguments import UsageError, refuse_options, whole
from caffelite.cli.outputs import check_outputs
from caffelite.cli.preparing import nets_of
from caffelite.cli.progress import compiling
from caffelite.cli.terminal import status
from caffelite.errors import DataError, MissingExtraError
from caffelite.export.onnx.choices import DETECTIONS
from caffelite.export.preprocessing import ORDERS, Preprocessing, of_data, with_mean
from caffelite.export.trained import origin, trained_net
from caffelite.net import Net
from caffelite.schema.text import read_text
from caffelite.solvers.sources import NetSource
from caffelite.words import TEST, quoted

if TYPE_CHECKING:
    from caffelite.export.difference import Difference
    from caffelite.export.onnx.convert import Converted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what an ONNX file takes."""
    add = parser.add_argument_group("ONNX").add_argument
    add("--opset", type=int, default=13, metavar="N", help="version of ONNX's operators, 11 to 21 (13)")
    add("--batch", type=whole, metavar="N", help="size of the batch (any)")
    add("--keep-bn", action="store_true", help="leave BatchNorm and Scale as they are, do not fold them into weights")
    add("--mean", metavar="B,G,R|FILE", help="mean that the net was trained with (its data layer's): numbers or a file")
    add("--scale", type=float, metavar="X", help="what the difference to the mean is multiplied by (its data layer's)")
    add("--channel-order", type=str.upper, choices=ORDERS, default=ORDERS[0], help="channels that the net takes (BGR)")
    add(
        "--bake-preprocessing",
        action="store_true",
        help="put mean, scale and channel order into the file; its input is uint8, N x H x W x 3, RGB",
    )
    add(
        "--detections",
        choices=DETECTIONS,
        default=DETECTIONS[0],
        help="what makes detections: operators (nms), OpenCV's node (opencv), or none, its bottoms go out (raw)",
    )
    add(
        "--decompose-lrn",
        action="store_true",
        help="write LRN across channels as what it is made of, faster in ONNX Runtime than the operator LRN",
    )
    add("--labels", metavar="FILE", help="names of the classes, one a line, to be kept in the file")


def check_extra() -> None:
    """Tell what to install, where it is missing."""
    for package in ("onnx", "onnxruntime"):
        if find_spec(package) is None:
            raise MissingExtraError(f"ONNX files need onnx and onnxruntime: pip install 'caffelite[onnx]' ({package})")


def write(arguments: argparse.Namespace, file: Path, output: Path) -> None:
    """Convert, hold the file against the net in ONNX Runtime, and write it."""
    check_extra()
    from caffelite.export.onnx.convert import check_opset, convert
    from caffelite.export.onnx.write import write as write_checked

    weights = None if arguments.weights is None else Path(arguments.weights)
    check_opset(arguments.opset)
    for read in (file, weights or file):
        check_outputs({output: read}, "is what is read; give another name")
    source = nets_of(file, TEST, arguments.level, arguments.stage)[0]
    preprocessing = _preprocessing(arguments, source)
    with compiling():
        with status("building the net"):
            net, dropped = trained_net(source, weights, dict(arguments.input), arguments.allow_python)
        with status("converting"):
            folded = None if arguments.keep_bn else fold(net, check=False)
            metadata = origin(source, weights) | _metadata(arguments, preprocessing, net)
            converted = convert(
                net if folded is None else folded.net,
                arguments.opset,
                arguments.batch,
                preprocessing if arguments.bake_preprocessing else None,
                metadata,
                arguments.detections,
                arguments.decompose_lrn,
            )
        told = _told(converted)
        with status("running it in ONNX Runtime"):
            differences = write_checked(net, converted, output)
    told |= {
        "model": str(output),
        "opset": arguments.opset,
        "dropped": dropped,
        "folded": {} if folded is None else folded.layers,
        "blobs": len(differences),
        "difference": max((d.value for d in differences), default=0.0),
        "rounding": [d.blob for d in differences if d.rounding],
        "metadata": metadata,
    }
    print(json.dumps(told) if arguments.json else _sentences(told, file, differences))


def _preprocessing(arguments: argparse.Namespace, source: NetSource) -> Preprocessing | None:
    known = of_data(source.document, source.level, source.stages)
    asked = with_mean(known, arguments.mean, arguments.scale, arguments.channel_order)
    if asked is None:
        reason = "goes with a mean or a scale: the net has no data layer that says them; give --mean"
        refuse_options(arguments, ["--bake-preprocessing"], reason)
        if arguments.channel_order != ORDERS[0]:
            raise UsageError(f"--channel-order {reason}")
    return asked


def _metadata(arguments: argparse.Namespace, preprocessing: Preprocessing | None, net: Net) -> dict[str, str]:
    told = {}
    if preprocessing is not None:
        told["preprocessing"] = json.dumps({**preprocessing.told(), "in_the_graph": arguments.bake_preprocessing})
    if arguments.labels is not None:
        told["labels"] = "\n".join(_labels(Path(arguments.labels), net))
    return told


def _labels(path: Path, net: Net) -> list[str]:
    """Return the names of the classes; there must be one for each that an output of the net has."""
    labels = read_text(path).splitlines()
    sizes = {name: net.blobs[name].shape[1] for name in net.outputs if len(net.blobs[name].shape) > 1}
    if len(labels) not in sizes.values():
        outputs = ", ".join(f"{quoted(name)} has {size} channels" for name, size in sizes.items())
        raise DataError(f"{path}: {len(labels)} lines are not the names of the classes of this net: {outputs}")
    return labels


def _told(converted: "Converted") -> dict[str, Any]:
    graph = converted.model.graph

    def shapes(values: Any) -> dict[str, list[int | str]]:
        return {
            value.name: [dim.dim_param or dim.dim_value or "?" for dim in value.type.tensor_type.shape.dim]
            for value in values
        }

    return {
        "inputs": shapes(graph.input),
        "outputs": shapes(graph.output),
        "operators": len(graph.node),
        "lrn_operators": sum(op.op_type == "LRN" for op in graph.node),
        # Shapes and axes, whole numbers, are none.
        "parameters": sum(math.prod(t.dims) for t in graph.initializer if t.data_type == t.FLOAT),
        "fixed": converted.fixed,
    }


def _sentences(told: dict[str, Any], file: Path, differences: "list[Difference]") -> str:
    inputs, outputs = (
        ", ".join(f"{name} {'×'.join(map(str, shape))}" for name, shape in told[key].items())
        for key in ("inputs", "outputs")
    )
    worst = max(differences, key=lambda d: d.value)
    lines = [
        f"{told['model']}: {inputs} to {outputs}; {told['operators']} operators of opset {told['opset']}, "
        f"{told['parameters']:,} parameters",
        f"ONNX Runtime and {file} differ by {worst.value:.1e} of the largest value at most ({quoted(worst.blob)}, of "
        f"{told['blobs']} blobs)",
    ]
    if told["rounding"]:
        names = ", ".join(map(quoted, told["rounding"]))
        lines.append(f"rounding makes as much of a difference, where it is more than 1e-4: {names}")
    if told["lrn_operators"]:
        lines.append("ONNX Runtime computes the operator LRN slowly; --decompose-lrn writes what it is made of instead")
    if told["fixed"]:
        lines.insert(1, f"the batch is of one size: {told['fixed']}")
    return "\n".join(lines)
