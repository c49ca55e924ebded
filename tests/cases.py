"""The cases that every layer is held against: Caffe's golden ones, and small nets for the layers Caffe lacks.

A small net is a file ``nets/TYPE_WHAT.prototxt``: Input layers ``x0``, ``x1`` …, then the layer ``L`` with tops
``y0``, ``y1`` …; comments before it say what it is there for and may set arrays, the rest being random::

    # Two of four boxes lie outside the map.
    # x1: 0 2 1 1
    # w0: 0.5 0.25
    # phase: TEST
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from caffelite.layers.contract.context import Context
from caffelite.net.graph import Graph
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN

GOLDEN = Path(__file__).parent / "golden"
NETS = Path(__file__).parent / "layers" / "nets"

Case = dict[str, np.ndarray]


def golden_cases() -> Iterator[tuple[str, str, Case]]:
    """Yield the type, the number and the arrays of what Caffe computed."""
    for path in sorted(GOLDEN.glob("*.npz")):
        if path.stem == "solvers":
            continue
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files}
        for number in sorted({key.split("/")[0] for key in arrays}):
            yield (
                path.stem,
                number,
                {key.split("/")[1]: value for key, value in arrays.items() if key.startswith(f"{number}/")},
            )


def net_cases() -> Iterator[tuple[str, str, Case]]:
    """Yield the type, the rest of the name, the text and the arrays that it sets."""
    for path in sorted(NETS.glob("*.prototxt")):
        kind, _, what = path.stem.partition("_")
        text = path.read_text()
        case: Case = {"prototxt": np.array(text), "phase": np.array("TRAIN")}
        for line in text.splitlines():
            key, colon, values = line.removeprefix("# ").partition(": ")
            if line.startswith("# phase: "):
                case["phase"] = np.array(values)
            if line.startswith("# ") and colon and key[:1] in "xw" and key[1:].isdigit():
                case[key] = np.array(values.split(), np.float32)
        yield kind, what, case


def graph_of(case: Case, variants: Mapping[type, type] | None = None) -> Graph:
    """Return the layers of a case, which need not be planned to be asked what they are."""
    phase = TRAIN if str(case["phase"]) == "TRAIN" else TEST
    return Graph(
        net_from_text(str(case["prototxt"]), "case"), Context(phase, allow_python=True, variants=variants or {})
    )
