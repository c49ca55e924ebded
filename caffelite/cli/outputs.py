"""The files that a command writes: their names, and that they can be written."""

from collections.abc import Mapping
from pathlib import Path

from caffelite.cli.arguments import UsageError


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
