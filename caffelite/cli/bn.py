"""What batch normalization does in a net: found out, shown and changed."""

from collections.abc import Mapping
from pathlib import Path

from caffelite.cli.arguments import UsageError

#: Each is a module ``bn_COMMAND`` of this package, built like that of any command.
COMMANDS = {
    "check": "find what is wrong with the batch normalization of a net, and how to mend it",
    "show": "show the stored statistics, and how far they are from those of the data",
    "recalibrate": "measure the statistics anew over the training data",
    "fold": "write the deploy net, with BatchNorm and Scale in the weights",
}

EXAMPLES = """examples:
  caffelite bn check models/cifar10_bn.prototxt
  caffelite bn show models/cifar10_bn.prototxt --weights snapshots/cifar10_bn_iter_5000.caffemodel
  caffelite bn recalibrate models/cifar10_bn.prototxt --weights snapshots/cifar10_bn_iter_5000.caffemodel
  caffelite bn fold models/cifar10_bn.prototxt --weights snapshots/cifar10_bn_iter_5000.caffemodel

"caffelite bn COMMAND --help" tells more of each.
"""


def without_ending(weights: Path) -> tuple[str, str]:
    """Return the path of a weights file without its ending, and the ending: ``.caffemodel`` where it has none."""
    ending = "".join(suffix for suffix in weights.suffixes[-2:] if suffix in (".caffemodel", ".h5")) or ".caffemodel"
    return str(weights).removesuffix(ending), ending


def check_outputs(files: Mapping[Path, Path], problem: str) -> None:
    """Check where the files that a command makes go, before it begins.

    Parameters
    ----------
    files : mapping of Path to Path
        The files to be written, all in one folder; and for each what is read, which it must not be.
    problem : str
        What is said of one that is, and what to do.

    Raises
    ------
    UsageError
        One is the file that is read; their folder is missing.
    """
    for new, old in files.items():
        if new.resolve() == old.resolve():
            raise UsageError(f"{new} {problem} with --out")
    for new in files:
        if not new.absolute().parent.is_dir():
            raise UsageError(f"{new}: there is no folder {new.parent}")
