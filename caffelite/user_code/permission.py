"""Whether code that a net names may run."""

import os
import sys
from types import ModuleType
from typing import Literal

from caffelite.user_code.classes import Layer

#: True: all of it; "imported": classes that the program itself has imported; False: none.
AllowPython = bool | Literal["imported"]

#: What sets it to true for a whole process.
VARIABLE = "CAFFE_ALLOW_PYTHON"

#: What an error says of it.
WAYS = (
    "with --allow-python on the command line; in Python with allow_python=True, or where the program has imported that "
    f"module before; with {VARIABLE}=1 in the environment anywhere"
)


def may_run(module: str, cls: str, allowed: AllowPython) -> bool:
    """Return whether a class that a net names may run; nothing is imported to find out.

    Parameters
    ----------
    module, cls : str
        As ``python_param`` has them.
    allowed : bool or "imported"
        What was allowed for the net.
    """
    if allowed is True or os.environ.get(VARIABLE) == "1":
        return True
    return allowed == "imported" and _is_imported(module, cls)


def _is_imported(module: str, cls: str) -> bool:
    loaded = sys.modules.get(module)
    # Looked up as it stands: getattr could have a module import what it is asked for.
    there = vars(loaded).get(cls) if isinstance(loaded, ModuleType) else None
    return isinstance(there, type) and issubclass(there, Layer) and there.__module__.partition(".")[0] != "caffelite"
