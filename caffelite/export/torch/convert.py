"""A net of the TEST phase as the text of a PyTorch module, and its weights."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from caffelite import __version__
from caffelite.errors import NetError
from caffelite.export.inputs import inputs_of
from caffelite.export.torch.layers import refused, writers
from caffelite.export.torch.names import RESERVED, Names, comment
from caffelite.export.torch.text import ModuleText, forms
from caffelite.net import Net
from caffelite.net.graph import Node, Version
from caffelite.words import text_of

#: Layers that compute nothing at inference and stay: a module that trains on needs them.
TRAINED_ON = frozenset({"Dropout", "SpatialDropout"})
#: What picks boxes at the end of a net, and is left out with what reads nothing else.
_PICKS_BOXES = frozenset({"DetectionOutput", "YoloDetectionOutput", "Yolov3DetectionOutput"})

#: What a file imports, with how it is used where it is not always.
_IMPORTS = {
    "from pathlib import Path": "",
    "": "",
    "import torch": r"(?<![.\w])torch\.",
    "import torch.nn.functional as F": r"(?<![.\w])F\.",
    "from safetensors.torch import load_file": "",
    "from torch import Tensor, nn": "",
}
_LOAD = '''def load(weights: str | Path = Path(__file__).with_suffix(".safetensors")) -> {name}:
    """Return the net with its weights, set to evaluate; ``net.train()`` lets it learn on."""
    net = {name}()
    net.load_state_dict(load_file(weights))
    return net.eval()
'''


@dataclass(frozen=True, slots=True)
class TorchModule:
    """A PyTorch module that has not been written yet.

    Attributes
    ----------
    name : str
        Of its class.
    source : str
        The whole file.
    state : dict of str to ndarray
        Its weights, by the names of ``state_dict``: views of the net's blobs, where they are blobs.
    steps : list of (Node, int)
        The layers that ``forward`` runs, each with the number of the last line of ``source`` that is its own.
    variables : dict of Version to str
        What ``forward`` calls the blobs.
    left_out : list of str
        Names of layers at the end that pick boxes, which are not in it.
    """

    name: str
    source: str
    state: dict[str, np.ndarray]
    steps: list[tuple[Node, int]]
    variables: dict[Version, str]
    left_out: list[str]


def convert(net: Net, origin: Mapping[str, str]) -> TorchModule:
    """Return a net as a PyTorch module.

    Parameters
    ----------
    net : Net
        In the TEST phase, with its weights, every blob kept, without losses. The sums of its BatchNorm layers are
        divided by their factor, which is 1 then: they are PyTorch's statistics, and the net computes the same.
    origin : mapping of str to str
        Where it comes from: see :func:`caffelite.export.trained.origin`.

    Raises
    ------
    NetError
        A layer has no form in PyTorch; the message names it.
    """
    m = ModuleText(net)
    left_out: list[Node] = []
    for node in net.graph.nodes:
        if node in m.absorbed or node.layer.facts.net_input:
            continue
        if node.layer.param.type in _PICKS_BOXES and not any(version.readers for version in node.tops):
            left_out.append(node)
        else:
            _add(m, node)
    if not m.steps:
        raise NetError(f"{net.document.filename}: there is nothing in this net that PyTorch would compute")
    outputs = _outputs(net, left_out)
    name = Names(RESERVED | frozenset(forms()), "Net").new(net.name or "Net")
    lines, first = _source(m, name, outputs, origin)
    return TorchModule(
        name,
        "\n".join(lines),
        m.state,
        [(node, first + count) for node, count in m.steps],
        {version: m.variable(version) for node in net.graph.nodes for version in node.tops},
        [node.name for node in left_out],
    )


def _add(m: ModuleText, node: Node) -> None:
    layer, kind = node.layer, node.layer.param.type
    # What caffelite computes for a class in Python has a type of its own.
    writer = writers().get(kind) or writers().get(layer.type)
    if writer is None:
        layer.error(f"{kind} cannot be written for PyTorch: {refused(kind)}", "type")
    before = set(m.absorbed)
    results = writer(m, node, [m.variable(version) for version in node.bottoms])
    taken = m.absorbed - before
    m.add(taken.pop() if taken else node, results)


def _outputs(net: Net, left_out: Sequence[Node]) -> list[Version]:
    """Return what nothing reads, but layers that are left out."""
    names = [version.name for node in left_out for version in node.tops]
    kept = [net.graph.names[name] for name in net.outputs if name not in names]
    read = [version for node in left_out for version in node.bottoms if not version.producer.layer.facts.net_input]
    return list(dict.fromkeys([*kept, *read]))


def _source(m: ModuleText, name: str, outputs: Sequence[Version], origin: Mapping[str, str]) -> tuple[list[str], int]:
    """Return the lines of the file, and how many of them come before the first of ``m.body``."""
    inputs = inputs_of(m.net)
    arguments = ", ".join(["self", *(f"{m.variable(version)}: Tensor" for version in inputs)])
    # Each form comes before those that name it.
    defined = [line for form in m.needed for line in ("", "", *forms()[form].splitlines())]
    text = "\n".join([*defined, *m.definitions, *m.body])
    lines = [*_head(origin), *(line for line, used in _IMPORTS.items() if re.search(used, text)), *defined]
    lines += ["", "", f"class {name}(nn.Module):", *_indented(_described(m, inputs, outputs), 4), ""]
    lines += (
        _indented(["def __init__(self) -> None:", "    super().__init__()"], 4) + _indented(m.definitions, 8) + [""]
    )
    single = len(outputs) == 1
    lines += _indented([f"def forward({arguments}) -> {'Tensor' if single else 'dict[str, Tensor]'}:"], 4)
    first = len(lines)
    lines += _indented(m.body, 8)
    results = [m.variable(version) for version in outputs]
    if single:
        lines += _indented([f"return {results[0]}"], 8)
    else:
        pairs = [f"    {v.name!r}: {result}," for v, result in zip(outputs, results, strict=True)]
        lines += _indented(["return {", *pairs, "}"], 8)
    return [*lines, "", "", *_LOAD.format(name=name).splitlines(), ""], first


def _head(origin: Mapping[str, str]) -> list[str]:
    files = [f"{origin[key]} (SHA-256 {origin[f'{key}_sha256']})" for key in ("prototxt", "weights") if key in origin]
    lines = [f"# Written by caffelite {__version__}"]
    if files:
        lines[0] += " from"
        lines += [f"#     {comment(file)}" for file in files]
    return [*lines, ""]


def _described(m: ModuleText, inputs: Sequence[Version], outputs: Sequence[Version]) -> list[str]:
    """Return the docstring: what goes in and what comes out, in the shapes of the file."""
    told = [", ".join(f"{m.variable(v)} {text_of(v.shape)}" for v in versions) for versions in (inputs, outputs)]
    return [f'"""{" to ".join(text for text in told if text)}."""']


def _indented(lines: Sequence[str], indent: int) -> list[str]:
    return [" " * indent + line if line else line for line in lines]
