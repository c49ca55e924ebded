"""Hold two of anything against each other that computes a net's blobs: nets with weights, ONNX models, saved blobs.
Both get the same input; what differs first is told, how, and why where that is known."""

import argparse
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from caffelite.cli.arguments import OF_NETS, UsageError, add_python, add_state, add_threads, blob_shape, refuse_options
from caffelite.cli.outputs import check_outputs
from caffelite.cli.preparing import nets_of
from caffelite.cli.progress import compiling
from caffelite.cli.terminal import say, status
from caffelite.errors import MissingExtraError
from caffelite.export.compare.causes import Cause
from caffelite.export.compare.comparison import Comparison, compare
from caffelite.export.compare.feeding import feed
from caffelite.export.compare.matching import TOLERANCE, Pair
from caffelite.export.compare.sides import NetSide, SavedSide, Side
from caffelite.export.trained import trained_net
from caffelite.schema.npz import read_npz, write_npz
from caffelite.words import TEST, columns, printable, text_of

EXAMPLES = """examples:
  caffelite compare deploy.prototxt:net.caffemodel net.onnx
  caffelite compare old.prototxt new.prototxt --weights net.caffemodel --input cat.jpg
  caffelite compare deploy.prototxt:net.caffemodel blobs_of_pycaffe.npz
  caffelite compare deploy.prototxt:net.caffemodel --save-blobs here.npz

A side is NET:WEIGHTS (a prototxt and its weights), an .onnx model, or an .npz file: names and arrays, as --save-blobs
writes them, and as pycaffe does with numpy.savez. The exit code is 0 where all blobs are equal, and 1 where one is not.
docs/compare.md tells more.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("a", metavar="A", help="NET:WEIGHTS, or NET; a .onnx or an .npz file")
    add("b", nargs="?", metavar="B", help="another one; can be left out with --save-blobs")
    add("--weights", metavar="FILE", help="weights of nets that are given without their own")
    add("--input", metavar="FILE", help="what both read: .npz by name, .npy, or an image (random values)")
    add("--shape", type=blob_shape, action="append", default=[], metavar="BLOB:N,C,H,W", help="shape of an input")
    add("--seed", type=int, default=1, metavar="N", help="of random inputs (1)")
    add("--tolerance", type=_tolerance, default=TOLERANCE, metavar="X", help="of the largest value of a blob (1e-4)")
    add("--save-blobs", metavar="FILE.npz", help="write the input and every blob of A")
    add("--json", action="store_true", help="print the result as JSON")
    add_state(parser)
    add_threads(parser)
    add_python(parser)


def _tolerance(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more and below 1")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Run both sides, and tell where they part."""
    names = [name for name in (arguments.a, arguments.b) if name is not None]
    saved = None if arguments.save_blobs is None else Path(arguments.save_blobs)
    _check(names, saved, arguments)
    with compiling(), status("comparing"):
        sides = [_side(name, arguments) for name in names]
        file = None if arguments.input is None else Path(arguments.input)
        feeds = feed(sides, file, dict(arguments.shape), arguments.seed)
        if saved is not None:
            write_npz(saved, sides[0].run(feeds[0]))
            say(f"{saved}: the blobs of {names[0]}")
        if len(sides) == 1:
            return 0
        result = compare((sides[0], sides[1]), (feeds[0], feeds[1]), arguments.tolerance)
    print(json.dumps(_plain(names, result, arguments.tolerance)) if arguments.json else _text(names, result, arguments))
    return 0 if result.first is None else 1


def _check(names: list[str], saved: Path | None, arguments: argparse.Namespace) -> None:
    if len(names) == 1 and saved is None:
        raise UsageError("give two to be compared; --save-blobs FILE.npz writes the blobs of one")
    nets = [name for name in names if Path(name).suffix not in (".npz", ".onnx")]
    if arguments.weights and all(_net_and_weights(name)[1] for name in nets):
        raise UsageError("--weights is for nets that are given without weights of their own, and there is none")
    if not nets:
        refuse_options(arguments, OF_NETS, "is for nets in a prototxt, and neither side is one")
    if saved is None:
        return
    if saved.suffix != ".npz":
        raise UsageError(f"{saved}: blobs are saved in an .npz file; give it such a name")
    for read in (*(str(_net_and_weights(name)[0]) for name in names), arguments.input or arguments.a):
        check_outputs({saved: Path(read)}, "is what is read; give another name")


def _side(given: str, arguments: argparse.Namespace) -> Side:
    """Return what a name on the command line stands for."""
    path = Path(given)
    if path.suffix == ".npz":
        return SavedSide(given, read_npz(path))
    if path.suffix == ".onnx":
        for package in ("onnx", "onnxruntime"):
            if find_spec(package) is None:
                raise MissingExtraError(
                    f"{given} needs onnx and onnxruntime: pip install 'caffelite[onnx]' ({package})"
                )
        from caffelite.export.compare.onnx_side import OnnxSide

        return OnnxSide(path)
    net, weights = _net_and_weights(given)
    if net.suffix in (".caffemodel", ".h5", ".npy", ".safetensors", ".pth"):
        raise UsageError(f"{net} is no side: give NET.prototxt:WEIGHTS, a .onnx model or an .npz file of blobs")
    source = nets_of(net, TEST, arguments.level, arguments.stage)[0]
    tops = {name for layer in source.document.message.layer for name in layer.top}
    shapes = {name: shape for name, shape in arguments.shape if name in tops}
    weights = weights or arguments.weights
    built, _ = trained_net(source, None if weights is None else Path(weights), shapes, arguments.allow_python)
    return NetSide(given, built)


def _net_and_weights(given: str) -> tuple[Path, str | None]:
    """Return both of ``NET:WEIGHTS``; a colon may stand in the name of a folder too."""
    for i, letter in enumerate(given):
        if letter == ":" and (Path(given[:i]).is_file() or given[:i].endswith(".prototxt")):
            return Path(given[:i]), given[i + 1 :]
    return Path(given), None


def _text(names: list[str], result: Comparison, arguments: argparse.Namespace) -> str:
    rows = [_row(pair, result, arguments.tolerance) for pair in result.pairs]
    lines = [columns([("blob", "shape", "difference", ""), *rows])]
    for name, alone in zip(names, result.alone, strict=True):
        if alone:
            some = ", ".join(printable(blob) for blob in alone[:4]) + (", …" if len(alone) > 4 else "")
            lines.append(f"only in {name}: {len(alone)} blob{'s' if len(alone) > 1 else ''} ({some})")
    if result.first is None:
        worst = max(pair.difference for pair in result.pairs)
        lines.append(f"equal: {len(result.pairs)} blobs differ by {worst:.1e} of the largest value at most")
        return "\n".join(lines)
    lines.append(f"the first that differs is {_named(result.first)}: {_values(result.first, result, names)}")
    lines += [f"  how: of {names[1]}, {pattern.text}" for pattern in result.patterns]
    lines += [f"  {_sureness(cause)}: {cause.text}" for cause in result.causes]
    return "\n".join(lines)


def _sureness(cause: Cause) -> str:
    if cause.proven:
        return "why"
    return "the files differ" if cause.kind in ("settings", "weights") else "perhaps"


def _row(pair: Pair, result: Comparison, tolerance: float) -> tuple[str, str, str, str]:
    mark = "" if pair.difference <= tolerance else "differs, first" if pair is result.first else "differs"
    difference = f"{pair.difference:.1e}" if np.isfinite(pair.difference) else "NaN" if pair.place else "shape"
    return _named(pair), text_of(result.shapes[0][pair.a]), difference, mark


def _named(pair: Pair) -> str:
    return printable(pair.a if pair.a == pair.b else f"{pair.a} = {pair.b}")


def _values(first: Pair, result: Comparison, names: list[str]) -> str:
    if first.place:
        told = [f"{value + 0.0:.6g}" for value in first.values]
        return f"{told[0]} in {names[0]} and {told[1]} in {names[1]} at ({', '.join(map(str, first.place))})"
    told = [text_of(shapes[name]) for shapes, name in zip(result.shapes, (first.a, first.b), strict=True)]
    return f"{told[0]} in {names[0]} and {told[1]} in {names[1]}"


def _plain(names: list[str], result: Comparison, tolerance: float) -> dict[str, Any]:
    first = result.first
    return {
        "a": names[0],
        "b": names[1],
        "tolerance": tolerance,
        "equal": first is None,
        "blobs": [_plain_pair(pair, result, tolerance) for pair in result.pairs],
        "only_in_a": result.alone[0],
        "only_in_b": result.alone[1],
        "first": None
        if first is None
        else {
            **_plain_pair(first, result, tolerance),
            "place": list(first.place),
            "values": [value if np.isfinite(value) else None for value in first.values],
            "how": [{"kind": pattern.kind, "text": pattern.text} for pattern in result.patterns],
            "causes": [{"kind": c.kind, "text": c.text, "proven": c.proven} for c in result.causes],
        },
    }


def _plain_pair(pair: Pair, result: Comparison, tolerance: float) -> dict[str, Any]:
    """Return a row; JSON has no infinite numbers, so a difference in shape or in NaN has none."""
    return {
        "a": pair.a,
        "b": pair.b,
        "by": pair.by,
        "shapes": [list(result.shapes[0][pair.a]), list(result.shapes[1][pair.b])],
        "difference": pair.difference if np.isfinite(pair.difference) else None,
        "equal": pair.difference <= tolerance,
    }
