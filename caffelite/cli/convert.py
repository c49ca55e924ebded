"""Write a trained net for other programs, or an ONNX file as a net of Caffe's: the name of the output says for which. A
file that is trained needs no deploy twin; nothing is written that does not compute the same."""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from caffelite.cli.arguments import UsageError, add_input, add_python, add_state, add_threads, the_file
from caffelite.words import did_you_mean

#: The modules that write, by the ending of what they write. Each has ``write(arguments, file, output)``, which tells
#: what it did, and ``add_arguments(parser)`` for options of its own.
TARGETS = {
    ".onnx": "caffelite.cli.convert_onnx",
    ".py": "caffelite.cli.convert_torch",
    **dict.fromkeys((".npz", ".safetensors", ".h5", ".caffemodel"), "caffelite.cli.convert_weights"),
    ".prototxt": "caffelite.cli.convert_caffe",
}

EXAMPLES = """examples:
  caffelite convert ResNet-50-deploy.prototxt --weights ResNet-50-model.caffemodel resnet50.onnx
  caffelite convert train_val.prototxt --weights net.caffemodel --input data=1,3,224,224 net.onnx
  caffelite convert deploy.prototxt --weights net.caffemodel --mean 104,117,123 --bake-preprocessing net.onnx
  caffelite convert deploy.prototxt --weights net.caffemodel net.py
  caffelite convert net.caffemodel net.npz
  caffelite convert net.safetensors net.caffemodel --net deploy.prototxt
  caffelite convert net.onnx net.prototxt

The last one writes net.prototxt and net.caffemodel.

An ONNX file needs the extra onnx: pip install 'caffelite[onnx]'; a PyTorch module, which has net.safetensors beside it,
the extra torch.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("file", metavar="FILE", help="prototxt of a net or of a solver; an ONNX file; or weights alone")
    add("output", metavar="OUTPUT", help=f"file to write: {', '.join(TARGETS)}")
    add("--weights", metavar="FILE", help="the trained weights")
    add_input(parser, "--shape")
    add("--json", action="store_true", help="print the result as JSON")
    add_state(parser)
    add_threads(parser)
    add_python(parser)
    for module in dict.fromkeys(TARGETS.values()):
        import_module(module).add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Convert, hold both against each other, and write."""
    file = the_file([arguments.file], "the prototxt of a net or of a solver, an ONNX file, or weights")
    output = Path(arguments.output)
    if output.suffix not in TARGETS:
        hint = did_you_mean(output.suffix, TARGETS, f"it can be {', '.join(TARGETS)}")
        raise UsageError(f"{output}: its ending says what is written, and {output.suffix or 'none'} is not known{hint}")
    if (file.suffix == ".onnx") != (output.suffix == ".prototxt"):
        raise UsageError(f"{file} to {output}: an ONNX file becomes a .prototxt, and nothing else does")
    _check_options(arguments, output)
    import_module(TARGETS[output.suffix]).write(arguments, file, output)
    return 0


def _check_options(arguments: argparse.Namespace, output: Path) -> None:
    """Raise UsageError where an option is set that another ending takes."""
    own = _defaults(TARGETS[output.suffix])
    for ending, module in TARGETS.items():
        for name, default in _defaults(module).items():
            if name not in own and getattr(arguments, name) != default:
                raise UsageError(f"--{name.replace('_', '-')} is for {ending}, {output} takes no such option")


def _defaults(module: str) -> dict[str, Any]:
    """Return the options of a module's own, with what they are where they are not given."""
    parser = argparse.ArgumentParser()
    import_module(module).add_arguments(parser)
    return vars(parser.parse_args([]))
