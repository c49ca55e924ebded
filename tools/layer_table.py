"""Write docs/layers.md: every layer type, what it takes and makes, and how it is checked. ``--check`` only compares."""

import argparse
import sys
import warnings
from collections import Counter
from pathlib import Path

from caffelite.errors import Error
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import fork_types, forks, registry

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from cases import Case, golden_cases, graph_of, net_cases  # noqa: E402

TARGET = ROOT / "docs" / "layers.md"
HEAD = """# Layer types

Made by `python tools/layer_table.py` from the layer registry, the registrations of the forks' sources and the test
cases; not written by hand. All that a layer computes, its settings, their defaults and its source are in the docstring
of its class.

- *forks*: who has it, where BVLC's Caffe has not.
- *bottoms*, *tops*: how many; *n+* is n or more.
- *settings*: the messages of the prototxt that it reads.
- *blobs*: how many parameter blobs it has in the cases.
- *golden*: cases of what BVLC Caffe 1.0 computed that it agrees with.
- *gradient*: cases in which its gradient is held against central differences in float64; *none* where it has none,
  *by hand* where what it sends back is not the derivative of what it computes, in the original too.
"""


DIVIDED = """
## Batches that processes share

Where a batch is divided among processes, they compute together what one process computes: gradients of parameters are
added up; a loss, a measure and every other number of the whole batch is a mean, weighed by the parts of the batch that
processes have; random numbers are those of the image's place in the whole batch. Losses whose divisor depends on the
data (`ignore_label`, and what is not a number), Accuracy with `ignore_label` and of classes, SegAccuracy, centres of
CenterLoss, DiceCoefLoss with MULTICLASS_WEIGHTED_BATCH and Noise ask for sums over all processes. A top of a Python
layer that has one value is taken to be a mean over images; a Python source runs whole in every process, which keeps its
rows of each top, so it has to give all of them the same.

Layers in which images of a batch meet are refused then, with a sentence that says so; where each process has whole
batches (`--batch per-process`) they are not:

| layers | why |
| --- | --- |
"""


def divided() -> str:
    """Return what the types say of batches that processes share."""
    reasons: dict[str, list[str]] = {}
    for kind, cls in sorted({cls.type: cls for cls in registry().values()}.items()):
        reason = cls.facts.images_meet
        if cls.images_meet is not Layer.images_meet:
            reason = "by their settings: what they do along axis 0"
        if cls.facts.filled_by_caller:
            reason = "always: a program fills them in, and no process knows which images are its own"
        if reason:
            reasons.setdefault(reason, []).append(kind)
    return DIVIDED + "\n".join(f"| {', '.join(kinds)} | {reason} |" for reason, kinds in sorted(reasons.items()))


def amount(number: int | tuple[int, int | None]) -> str:
    if isinstance(number, int):
        return str(number)
    low, high = number
    if high is None:
        return f"{low}+"
    return str(low) if low == high else f"{low}–{high}"


def blobs_of(case: Case) -> int:
    graph = graph_of(case)
    graph.infer_shapes()
    last = graph.nodes[-1]
    return len(last.layer.parameters(*[version.shape for version in last.bottoms]))


def first_line(cls: type[Layer]) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0].replace("``", "`").replace("|", "\\|")


def table() -> str:
    warnings.simplefilter("ignore")
    blobs: dict[str, set[int]] = {}
    golden: Counter[str] = Counter()
    gradient: Counter[str] = Counter()
    names = {name: cls.type for name, cls in registry().items()}
    for kind, _, case in golden_cases():
        golden[names[kind]] += 1
        gradient[names[kind]] += any(key.startswith(("gx", "gw")) for key in case)
        blobs.setdefault(names[kind], set()).add(blobs_of(case))
    for kind, _, case in net_cases():
        gradient[names[kind]] += registry()[kind].facts.differentiable
        blobs.setdefault(names[kind], set()).add(blobs_of(case))
    rows = [["type", "what", "forks", "bottoms", "tops", "settings", "blobs", "golden", "gradient"]]
    rows += [["---"] * 3 + ["--:"] * 2 + ["---"] + ["--:"] * 3]
    classes = {cls.type: cls for cls in registry().values()}
    for kind, cls in sorted(classes.items(), key=lambda item: item[0].lower()):
        others = sorted(name for name, of in names.items() if of == kind and name != kind)
        counts = blobs.get(kind, {0})
        rows.append(
            [
                ", ".join([kind, *others]),
                first_line(cls),
                ", ".join(forks(kind)),
                amount(cls.facts.bottoms),
                amount(cls.facts.tops),
                ", ".join(f"`{name}`" for name in sorted(cls.facts.settings)),
                amount((min(counts), max(counts))) if any(counts) else "",
                str(golden[kind] or ""),
                str(gradient[kind] or ("none" if cls.facts.derivative else "by hand")),
            ]
        )
    total = f"{len(classes)} types, {sum(golden.values())} golden cases, {sum(gradient.values())} gradient cases.\n"
    lacking = [kind for kind in fork_types() if kind not in names]
    return (
        "\n".join(
            [
                HEAD,
                total,
                *(f"| {' | '.join(row)} |" for row in rows),
                divided(),
                "\n## Types of forks that caffelite has not",
                f"{len(lacking)}, most of them for training in one fork or for one processor.\n",
                "| fork | types |",
                "| --- | --- |",
                *(
                    f"| {fork} | {', '.join(kind for kind in lacking if fork in forks(kind))} |"
                    for fork in sorted({fork for kind in lacking for fork in forks(kind)}, key=str.lower)
                ),
            ]
        )
        + "\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 where docs/layers.md is not up to date")
    options = parser.parse_args()
    try:
        text = table()
    except Error as error:
        print(error, file=sys.stderr)
        return 1
    if not options.check:
        TARGET.write_text(text)
        return 0
    if TARGET.read_text() != text:
        print("docs/layers.md is not up to date: run python tools/layer_table.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
