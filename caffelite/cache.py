"""The folder for what is worth keeping between runs: downloads and compiled kernels."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return ``CAFFELITE_CACHE``, or the folder that the system has for it; it need not exist, or be writable."""
    chosen = os.environ.get("CAFFELITE_CACHE")
    if chosen:
        return Path(chosen)
    try:
        folder = Path(platformdirs.user_cache_dir("caffelite"))
    except RuntimeError:  # a user that the system does not know, as containers have
        folder = Path("~")
    # Without a home "~" would be a folder of that name here. Below a device there is nothing: whoever wants to write
    # there says that it cannot be done, and goes on.
    return folder if folder.is_absolute() else Path(os.devnull) / "caffelite"
