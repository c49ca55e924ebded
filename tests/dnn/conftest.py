"""OpenCV's answers, as ``record_opencv.py`` has kept them."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def opencv() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parent / "opencv.npz") as answers:
        return dict(answers)
