"""A few drawn digits in place of MNIST."""

import numpy as np

from caffelite.datasets import synthetic
from caffelite.experiments.bench import Images


def drawn_images(train: int, test: int) -> Images:
    chunks = [*synthetic.digits(0, train + test)]
    pixels = np.concatenate([chunk for chunk, _ in chunks]).astype(np.float32) / 256
    labels = np.concatenate([label for _, label in chunks]).astype(np.float32)
    return Images(pixels[:train], labels[:train], pixels[train:], labels[train:], "drawn digits")
