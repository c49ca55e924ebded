"""Write the deploy net of a trained one: BatchNorm and Scale in the weights beside them."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from caffelite.batchnorm.fold import BECAME_SCALE, fold
from caffelite.cli.arguments import add_running, the_file
from caffelite.cli.outputs import check_outputs, without_ending
from caffelite.cli.preparing import nets_of, prepare_data
from caffelite.cli.progress import compiling
from caffelite.cli.terminal import say, status
from caffelite.schema.printer import write_text
from caffelite.words import TEST

#: So many names are told without --verbose.
_FEW = 4

EXAMPLES = """examples:
  caffelite bn fold models/mnist_mlp_bn.prototxt --weights snapshots/mnist_mlp_bn_iter_5000.caffemodel
  caffelite bn fold ResNet-50-deploy.prototxt --weights ResNet-50-model.caffemodel --out resnet50

--out resnet50 writes resnet50.prototxt and resnet50.caffemodel, which Caffe and OpenCV 4 read as well.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("file", metavar="NET_OR_SOLVER", help="prototxt of a net or of a solver")
    add("--weights", required=True, metavar="FILE", help="the trained weights")
    add("--out", metavar="PREFIX", help="what the new files' names begin with (WEIGHTS_deploy)")
    add("--verbose", action="store_true", help="tell of each layer where it is now")
    add("--json", action="store_true", help="print the result as JSON")
    add_running(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fold, hold the outputs against each other, and write both files."""
    file = the_file([arguments.file], "the prototxt of a net or of a solver")
    weights = Path(arguments.weights)
    prefix = arguments.out or f"{without_ending(weights)[0]}_deploy"
    net_file, weights_file = Path(f"{prefix}.prototxt"), Path(f"{prefix}.caffemodel")
    check_outputs({net_file: file, weights_file: weights}, "is what is read; give other names with --out")
    source = nets_of(file, TEST, arguments.level, arguments.stage)[0]
    prepare_data([source], arguments.data, say)
    with compiling():
        with status("building the net"):
            net = source.net(learn=False, allow_python=arguments.allow_python, output_root=None)
        try:
            net.copy_from(weights)
            with status("folding"):
                folded = fold(net)
        finally:
            net.close()
    folded.net.save(weights_file)
    write_text(folded.net.document, net_file)
    if arguments.json:
        print(
            json.dumps(
                {
                    "net": str(net_file),
                    "weights": str(weights_file),
                    "layers": folded.layers,
                    "dropped": folded.dropped,
                    "difference": folded.difference,
                }
            )
        )
        return 0
    if arguments.verbose:
        for name, place in folded.layers.items():
            print(f"{name}: {place}")
    print(_folded(folded.layers, arguments.verbose))
    print(f"gone: {_names(folded.dropped, arguments.verbose)}")
    print(f"{net_file} and {weights_file}: outputs on random input differ by {folded.difference:.1e} of the largest")
    return 0


def _folded(layers: Mapping[str, str], every: bool) -> str:
    """Say how many layers are in others now, and which are Scale layers; ``layers`` is that of Folded."""
    scales = [name for name, place in layers.items() if place == BECAME_SCALE]
    takers = len(set(layers.values()) - {BECAME_SCALE})
    text = f"folded: {len(layers) - len(scales)} of {len(layers)}, into {takers} layer{'' if takers == 1 else 's'}"
    return f"{text}; left as Scale: {_names(scales, every)}" if scales else text


def _names(names: Sequence[str], every: bool) -> str:
    shown = names if every or len(names) <= _FEW else [*names[: _FEW - 1], f"{len(names) - _FEW + 1} more"]
    return ", ".join(shown) or "none"
