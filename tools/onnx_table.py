"""Write docs/onnx-layers.md: what each layer type is in ONNX, and how that is checked. ``--check`` only compares.

Every case is converted and run in ONNX Runtime beside caffelite; one that differs ends the run.
"""

import argparse
import sys
import warnings
from collections import Counter
from pathlib import Path

from onnx import GraphProto

from caffelite.export.onnx.operators import mappings, refused
from caffelite.layers.contract.registry import forks, registry

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "onnx-layers.md"
HEAD = """# Layer types in ONNX

Made by `python tools/onnx_table.py` from the registry of what each type becomes and from the test cases; not written by
hand. [Converting](convert.md) is the page about the files.

- *forks*: who has it, where BVLC's Caffe has not.
- *operators*: those of all its cases in opset 13, or the first that it takes; each case needs some of them.
- *opset*: the first that it takes; every later one up to 21 will do.
- *golden*: cases of what BVLC Caffe 1.0 computed, and *nets*: of small nets, that ONNX Runtime agrees with to 1e-4 of
  the largest value.
"""
TITLES = ("type", "forks", "operators", "opset", "golden", "nets")


def known() -> dict[str, tuple[str, str]]:
    """Return for each type its least opset and nothing, or nothing and why it has no operators."""
    classes = {cls.type: cls for cls in registry().values() if not cls.facts.net_input}
    kinds = sorted(classes, key=str.lower)
    return {kind: (str(mappings()[kind].opset), "") if kind in mappings() else ("", refused(kind)) for kind in kinds}


def operators(graph: GraphProto) -> list[str]:
    """Return the types of operators, those of loops too."""
    names = []
    for node in graph.node:
        names.append(node.op_type)
        for attribute in node.attribute:
            names += operators(attribute.g)
    return names


def table() -> str:
    """Convert every case, run it, and return the page."""
    for folder in ("tests", "tests/export/onnx"):
        sys.path.insert(0, str(ROOT / folder))
    from test_layers import GOLDEN, NETS, agree_with_caffelite, made

    warnings.simplefilter("ignore")
    names = {name: cls.type for name, cls in registry().items()}
    used: dict[str, dict[str, None]] = {}
    counts = Counter[tuple[str, str]]()
    for what, cases in (("golden", GOLDEN), ("nets", NETS)):
        for name, case, arrays in cases:
            kind = names[name]
            opset = max(mappings()[kind].opset, 13)
            try:
                converted = agree_with_caffelite(*made(arrays), opset=opset)
            except AssertionError as error:
                raise SystemExit(f"{name}, case {case}: {error}") from None
            used.setdefault(kind, {}).update(dict.fromkeys(operators(converted.model.graph)))
            counts[kind, what] += 1
    rows, reasons = [], []
    for kind, (opset, reason) in known().items():
        if reason:
            reasons.append(f"| {kind} | {', '.join(forks(kind))} | {reason} |")
            continue
        cells = [kind, ", ".join(forks(kind)), ", ".join(used.get(kind, ())) or "none", opset]
        cells += [str(counts[kind, what] or "") for what in ("golden", "nets")]
        rows.append(f"| {' | '.join(cells)} |")
    total = f"{len(rows)} types, {sum(counts[key] for key in counts)} cases.\n"
    heads = [f"| {' | '.join(TITLES)} |", "| --- | --- | --- | --: | --: | --: |"]
    why = [
        "\n## Types without operators",
        f"{len(reasons)}, and why.\n",
        "| type | forks | why |",
        "| --- | --- | --- |",
    ]
    return "\n".join([HEAD, total, *heads, *rows, *why, *reasons]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 where docs/onnx-layers.md is not up to date")
    options = parser.parse_args()
    text = table()
    if not options.check:
        TARGET.write_text(text)
    elif TARGET.read_text() != text:
        print("docs/onnx-layers.md is not up to date: run python tools/onnx_table.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
