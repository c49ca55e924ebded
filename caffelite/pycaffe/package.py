"""The package ``caffe`` in this process: Caffe's names under the names that scripts import."""

import sys
from importlib import import_module
from types import ModuleType

#: What scripts import, and the module that it is.
MODULES = {
    "caffe": "caffelite.pycaffe.caffe",
    "caffe._caffe": "caffelite.pycaffe._caffe",
    "caffe.pycaffe": "caffelite.pycaffe._caffe",
    "caffe.classifier": "caffelite.pycaffe.classifier",
    "caffe.detector": "caffelite.pycaffe.detector",
    "caffe.draw": "caffelite.pycaffe.draw",
    "caffe.io": "caffelite.pycaffe.io",
}


def as_caffe() -> ModuleType:
    """Let ``import caffe`` give caffelite in this process, whatever it gave before; return the package.

    What is imported so is what ``pip install ./caffe-package`` installs; without that, scripts get it from
    ``caffelite run`` and from this function.
    """
    modules = {name: import_module(ours) for name, ours in MODULES.items()}
    sys.modules.update(modules)
    for name, module in modules.items():
        package, _, last = name.rpartition(".")
        if package:
            setattr(modules[package], last, module)
    return modules["caffe"]
