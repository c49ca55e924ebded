"""A few images in files of their own, and their list."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Write ``one folder/0.png`` … ``4.png``, of 6×8, and ``list.txt``; return their pixels, H × W × 3."""
    monkeypatch.chdir(tmp_path)
    Path("one folder").mkdir()
    pixels = list(np.random.default_rng(5).integers(0, 256, (5, 6, 8, 3), np.uint8))
    for i, one in enumerate(pixels):
        Image.fromarray(one).save(f"one folder/{i}.png")
    Path("list.txt").write_text("".join(f"one folder/{i}.png {10 + i}\n" for i in range(5)))
    return pixels
