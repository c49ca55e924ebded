"""The text of a PyTorch module in the making: what its layers are, what its ``forward`` does, and its weights."""

import ast
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from caffelite.export.torch.layout import statement
from caffelite.export.torch.names import OF_MODULES, RESERVED, Names, comment
from caffelite.layers.contract.blobs import Blob
from caffelite.net import Net
from caffelite.net.graph import Node, Version

_FORMS = Path(__file__).with_name("forms")
_INDENT = 8


@cache
def forms() -> dict[str, str]:
    """Return the text of each class and function that PyTorch has not, by name."""
    texts: dict[str, str] = {}
    for file in sorted(_FORMS.glob("*.py")):
        source = file.read_text(encoding="utf-8")
        parts = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef | ast.FunctionDef))
        texts |= {node.name: ast.get_source_segment(source, node) or "" for node in parts}
    return texts


class ModuleText:
    """Lines of Python, added layer by layer.

    A function for a layer (:mod:`caffelite.export.torch.layers`) is given one, says what the layer is in PyTorch and
    which of its blobs are what; it never chooses a name.

    Parameters
    ----------
    net : Net
        In the TEST phase, with its weights.

    Attributes
    ----------
    net
    definitions : list of str
        The lines of ``__init__``.
    body : list of str
        The lines of ``forward``.
    steps : list of (Node, int)
        The layers that ``forward`` runs, each with the number of lines in ``body`` up to its last one.
    state : dict of str to ndarray
        The weights, by the names of ``state_dict``. What is a blob of the net's is a view of it, in the shape that
        PyTorch has it in: what is written there is in the net.
    needed : dict of str to None
        The forms that are used, in order.
    absorbed : set of Node
        Layers that are a part of the one before them.
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        self.definitions: list[str] = []
        self.body: list[str] = []
        self.steps: list[tuple[Node, int]] = []
        self.state: dict[str, np.ndarray] = {}
        self.needed: dict[str, None] = {}
        self.absorbed: set[Node] = set()
        self._layers = Names(RESERVED | OF_MODULES, "layer")
        self._variables = Names(RESERVED | frozenset(forms()), "blob")
        self._owners: dict[tuple[object, ...], str] = {}
        self._ran = False

    # What a function for a layer may ask.

    def value(self, version: Version) -> np.ndarray:
        """Return what a blob holds that depends on no input's values: boxes made from shapes, for example."""
        if not self._ran:
            self.net.forward()
            self._ran = True
        return self.net.plan.blob(version).data

    # What it may add.

    def module(self, node: Node, made: str, also: Node | None = None, /, **parameters: Blob | np.ndarray) -> str:
        """Make a layer a module of its own.

        Parameters
        ----------
        node : Node
        made : str
            What makes it: ``nn.ReLU()``.
        also : Node, optional
            The layer right behind it, where the module is both.
        **parameters : Blob or ndarray
            Its parameters and buffers: blobs, views of them, or what is no blob. A blob that another module has as
            well, in the same shape, is one parameter of both.

        Returns
        -------
        str
            What ``forward`` calls: ``self.relu1``.
        """
        if also is not None:
            self.absorbed.add(also)
        name = self._define(node, made, also)
        for key, value in parameters.items():
            self._keep(f"{name}.{key}", value.data if isinstance(value, Blob) else value)
        return f"self.{name}"

    def parameter(self, node: Node, blob: Blob) -> str:
        """Make a layer a parameter; return its name."""
        name = self._define(node, f"nn.Parameter(torch.zeros({tuple(blob.shape)}))")
        self._keep(name, blob.data)
        return f"self.{name}"

    def buffer(self, node: Node, values: np.ndarray) -> str:
        """Make a layer an array that is not learned; return its name."""
        name = self._layers.new(node.name)
        self.definitions.append(f'self.register_buffer("{name}", torch.zeros({values.shape}))')
        self.state[name] = values.copy()
        return f"self.{name}"

    def form(self, name: str) -> str:
        """Let the file have a class or function that PyTorch has not; return its name."""
        if name not in self.needed:
            for other in forms():
                if other != name and f"{other}(" in forms()[name]:
                    self.form(other)
            self.needed[name] = None
        return name

    def _keep(self, path: str, values: np.ndarray) -> None:
        """Put an array into the state; where another one is the same memory, the module has one for both."""
        self.state[path] = values
        # Layers that share a parameter have blobs of their own over the same memory.
        memory = (values.__array_interface__["data"][0], values.shape, values.strides)
        owner = self._owners.setdefault(memory, path)
        if owner != path:
            self.definitions += statement(f"self.{path}", f"self.{owner}", _INDENT)

    def _define(self, node: Node, made: str, also: Node | None = None) -> str:
        name = self._layers.new(node.name)
        lines = statement(f"self.{name}", made, _INDENT)
        if name != node.name or also is not None:
            lines[-1] += f"  # {comment(' and '.join(one.name for one in (node, also) if one is not None))}"
        self.definitions += lines
        return name

    # What joins the layers.

    def variable(self, version: Version) -> str:
        """Return what ``forward`` calls a blob."""
        return self._variables.of(version.name)

    def add(self, node: Node, results: str | Sequence[str]) -> None:
        """Let the tops of a layer be the results of these expressions, or of one that gives them all."""
        tops = [self.variable(version) for version in node.tops]
        if isinstance(results, str):
            self.body += statement(", ".join(tops), results, _INDENT)
        else:
            pairs = [(top, result) for top, result in zip(tops, results, strict=True) if top != result]
            if pairs:
                # At once: a top may have the name of a bottom that another one reads.
                self.body += statement(
                    ", ".join(top for top, _ in pairs), ", ".join(text for _, text in pairs), _INDENT
                )
        self.steps.append((node, len(self.body)))


def number(value: float) -> str:
    """Return a float32 setting in the fewest digits that say which."""
    return repr(float(str(np.float32(value))))


def axes_of(values: Sequence[int]) -> str:
    """Return the settings of spatial axes as PyTorch takes them: one number where they are the same."""
    return str(values[0]) if len(set(values)) == 1 else str(tuple(values))
