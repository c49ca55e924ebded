"""``caffelite convert WEIGHTS OUT.npz``, and back."""

import argparse
import json
from pathlib import Path

from caffelite.cli.arguments import OF_NETS, UsageError, refuse_options
from caffelite.cli.outputs import check_outputs
from caffelite.cli.preparing import nets_of
from caffelite.cli.progress import compiling
from caffelite.export.trained import take_all
from caffelite.export.weights import FORMATS, Weights
from caffelite.net import Net
from caffelite.net.deploy import deploy
from caffelite.schema.messages import NetParameter
from caffelite.schema.weights import LayerWeights, read_weights, write_caffemodel
from caffelite.words import TEST, quoted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what weights alone take."""
    add = parser.add_argument_group("weights alone").add_argument
    add("--net", metavar="NET", help="prototxt of the net that they are for, which goes into OUT.caffemodel as well")


def write(arguments: argparse.Namespace, file: Path, output: Path) -> None:
    """Read the blobs of all layers, and write them."""
    if arguments.weights is not None or file.suffix == ".prototxt":
        raise UsageError(f"{output} has weights alone: give their file in place of the net, without --weights")
    if arguments.net is not None and output.suffix != ".caffemodel":
        raise UsageError(f"--net goes with a .caffemodel, which has a net in it; {output} has weights alone")
    if arguments.net is None:
        refuse_options(arguments, [*OF_NETS, "--input"], "is for the net that --net gives, and there is none")
    check_outputs({output: file}, "is what is read; give another name")
    weights, left = _read(file), []
    if output.suffix != ".caffemodel":
        FORMATS[output.suffix].write(output, weights)
    elif arguments.net is None:
        bare = NetParameter()
        for name in weights:
            bare.layer.add(name=name)
        write_caffemodel(output, bare, weights)
    else:
        left = _write_with_net(arguments, weights, file, output)
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


def _read(file: Path) -> Weights:
    if file.suffix in FORMATS and file.suffix != ".h5":
        return FORMATS[file.suffix].read(file)
    return {layer.name: layer.blobs for layer in read_weights(file) if layer.blobs}


def _write_with_net(arguments: argparse.Namespace, weights: Weights, file: Path, output: Path) -> list[str]:
    """Write weights and the net that they are for; return the names of layers that it has not."""
    source = nets_of(Path(arguments.net), TEST, arguments.level, arguments.stage)[0]
    document, _ = deploy(source.document, source.level, source.stages, dict(arguments.input), arguments.allow_python)
    with compiling():
        net = Net(document, TEST, learn=False, allow_python=arguments.allow_python, output_root=None)
        take_all(net, [LayerWeights(name, "", blobs) for name, blobs in weights.items()], str(file))
    net.save(output)
    return [name for name in weights if name not in net.params]
