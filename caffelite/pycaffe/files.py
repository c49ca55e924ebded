"""Names of files as pycaffe takes them."""

import os
from typing import Any


def file_name(given: Any) -> Any:
    """Return the name of a file as text, which scripts also give as bytes; anything else as it is."""
    return os.fsdecode(given) if isinstance(given, bytes | os.PathLike) else given
