"""What an operator of ONNX is in Caffe: a function for each, in the file of its family."""

from collections.abc import Callable

from caffelite.export.caffe.graph import CaffeGraph
from caffelite.export.caffe.reading import OnnxNode
from caffelite.export.registry import Registry

#: Adds the layers of a node.
Convert = Callable[[CaffeGraph, OnnxNode], None]

_OPERATORS: Registry[Convert] = Registry(__name__)
#: ``converts(*operators)`` registers the function for nodes of these operators.
converts = _OPERATORS.register
#: The function for each operator.
operators = _OPERATORS.all
