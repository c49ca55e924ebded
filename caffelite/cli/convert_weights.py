"""``caffelite convert WEIGHTS OUT.npz``, and back, also of what a PyTorch module has learned."""

import argparse
import json
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from caffelite.cli.arguments import OF_NETS, UsageError, refuse_options
from caffelite.cli.outputs import check_outputs
from caffelite.cli.preparing import nets_of
from caffelite.cli.progress import compiling
from caffelite.export.torch.convert import TRAINED_ON
from caffelite.export.torch.restore import restore
from caffelite.export.trained import take_all
from caffelite.export.weights import BETWEEN, Weights, are_blobs, blobs_of, read_arrays, write_blobs
from caffelite.net import Net
from caffelite.net.deploy import deploy
from caffelite.schema.messages import NetParameter
from caffelite.schema.weights import LayerWeights, read_weights, write_caffemodel
from caffelite.words import TEST, quoted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what weights alone take."""
    add = parser.add_argument_group("weights alone").add_argument
    add(
        "--net",
        metavar="NET",
        help="prototxt of the net that they are for, which goes into OUT.caffemodel as well; takes what the net's "
        "PyTorch module has learned, too",
    )


def write(arguments: argparse.Namespace, file: Path, output: Path) -> None:
    """Read the blobs of all layers, or the state of a module, and write them."""
    if arguments.weights is not None or file.suffix == ".prototxt":
        raise UsageError(f"{output} has weights alone: give their file in place of the net, without --weights")
    if arguments.net is not None and output.suffix != ".caffemodel":
        raise UsageError(f"--net goes with a .caffemodel, which has a net in it; {output} has weights alone")
    if arguments.net is None:
        refuse_options(arguments, [*OF_NETS, "--input"], "is for the net that --net gives, and there is none")
    check_outputs({output: file}, "is what is read; give another name")
    arrays = read_arrays(file) if file.suffix in BETWEEN else None
    left: list[str] = []
    if arrays is not None and arguments.net is not None and not are_blobs(arrays, file):
        weights = _write_learned(arguments, arrays, file, output)
    else:
        weights = _blobs(file) if arrays is None else blobs_of(arrays, file)
        left = _write_blobs(arguments, weights, file, output)
    blobs = [blob for layer in weights.values() for blob in layer]
    told = {
        "weights": str(output),
        "layers": len(weights),
        "blobs": len(blobs),
        "parameters": sum(blob.size for blob in blobs),
        "left": left,
    }
    if arguments.json:
        print(json.dumps(told))
        return
    print(f"{output}: {told['parameters']:,} numbers in {len(blobs)} blobs of {len(weights)} layers")
    if left:
        print(f"the net has no {', '.join(map(quoted, left))}, which {file} has")
    if output.suffix == ".caffemodel" and arguments.net is None:
        print("there is no net in it: --net NET puts it there, and holds the shapes of the blobs against it")


def _blobs(file: Path) -> Weights:
    return {layer.name: layer.blobs for layer in read_weights(file) if layer.blobs}


def _write_blobs(arguments: argparse.Namespace, weights: Weights, file: Path, output: Path) -> list[str]:
    """Write blobs, with the net that they are for where it is given; return the names of layers that it has not."""
    if output.suffix != ".caffemodel":
        write_blobs(output, weights)
    elif arguments.net is None:
        bare = NetParameter()
        for name in weights:
            bare.layer.add(name=name)
        write_caffemodel(output, bare, weights)
    else:
        with compiling():
            net = _net(arguments)
            take_all(net, [LayerWeights(name, "", blobs) for name, blobs in weights.items()], str(file))
        net.save(output)
        return [name for name in weights if name not in net.params]
    return []


def _write_learned(
    arguments: argparse.Namespace, arrays: Mapping[str, np.ndarray], file: Path, output: Path
) -> Weights:
    """Write what a PyTorch module has learned with the net that the module was made of; return its blobs."""
    with compiling():
        net = _net(arguments, TRAINED_ON)
        restore(net, arrays, str(file))
    net.save(output)
    return {name: [blob.data for blob in blobs] for name, blobs in net.params.items()}


def _net(arguments: argparse.Namespace, kept: Collection[str] = ()) -> Net:
    """Return the deploy net of ``--net``, with these layers kept, as a module has them."""
    source = nets_of(Path(arguments.net), TEST, arguments.level, arguments.stage)[0]
    inputs = dict(arguments.input)
    document, _ = deploy(source.document, source.level, source.stages, inputs, arguments.allow_python, kept)
    return Net(document, TEST, keep=True, learn=False, allow_python=arguments.allow_python, output_root=None)
