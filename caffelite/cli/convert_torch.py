"""``caffelite convert … OUT.py``."""

import argparse
import json
from importlib.util import find_spec
from pathlib import Path

from caffelite.cli.outputs import check_outputs
from caffelite.cli.preparing import nets_of
from caffelite.cli.progress import compiling
from caffelite.cli.terminal import status
from caffelite.errors import MissingExtraError
from caffelite.export.torch.convert import TRAINED_ON, convert
from caffelite.export.trained import origin, trained_net
from caffelite.words import TEST, quoted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what a PyTorch module takes: nothing of its own."""


def write(arguments: argparse.Namespace, file: Path, output: Path) -> None:
    """Convert, hold the module against the net in PyTorch, and write it with its weights beside it."""
    for package in ("torch", "safetensors"):
        if find_spec(package) is None:
            raise MissingExtraError(
                f"PyTorch modules need torch and safetensors: pip install 'caffelite[torch]' ({package})"
            )
    from caffelite.export.torch.write import weights_beside
    from caffelite.export.torch.write import write as write_checked

    weights = None if arguments.weights is None else Path(arguments.weights)
    read = weights or file
    check_outputs({output: read, weights_beside(output): read}, "is what is read; give another name")
    source = nets_of(file, TEST, arguments.level, arguments.stage)[0]
    with compiling():
        with status("building the net"):
            net, dropped = trained_net(source, weights, dict(arguments.input), arguments.allow_python, TRAINED_ON)
        with status("converting"):
            metadata = origin(source, weights)
            made = convert(net, metadata)
        with status("running it in PyTorch"):
            differences = write_checked(net, made, output, metadata)
    worst_layer, worst = max(differences, key=lambda found: found[1].value)
    told = {
        "module": str(output),
        "weights": str(weights_beside(output)),
        "class": made.name,
        "parameters": sum(values.size for values in made.state.values()),
        "dropped": dropped,
        "left_out": made.left_out,
        "layers": len(differences),
        "difference": worst.value,
        "metadata": metadata,
    }
    if arguments.json:
        print(json.dumps(told))
        return
    print(f"{output} and {weights_beside(output)}: {made.name}, {told['parameters']:,} numbers")
    if made.left_out:
        print(f"without {', '.join(made.left_out)}, which picks boxes; what it reads is what comes out")
    print(
        f"PyTorch and {file} differ by {worst.value:.1e} of the largest value at most (layer {quoted(worst_layer)}, of "
        f"{len(differences)})"
    )
