"""How exact convolutions are: direct sums and Winograd's method in float32, against direct sums in float64."""

import argparse
import json

import numpy as np

from caffelite.kernels.convolution import direct as convolution
from caffelite.kernels.convolution import winograd
from caffelite.kernels.convolution.geometry import Geometry

#: images, channels, outputs, size, kernel
SHAPES = [
    (4, 32, 32, 16, 5),
    (4, 32, 64, 8, 5),
    (4, 20, 50, 12, 5),
    (1, 64, 64, 56, 3),
    (1, 128, 128, 28, 3),
    (1, 256, 256, 14, 3),
    (8, 512, 512, 7, 3),
]


def errors(images: int, channels: int, outputs: int, size: int, kernel: int) -> dict[str, tuple[float, float]]:
    """Return for each method the root mean square and the largest error, by the largest result."""
    pad = kernel // 2
    g = Geometry(images, channels, outputs, (size, size), (kernel, kernel), (1, 1), (pad, pad))
    rng = np.random.default_rng(1)
    x = rng.standard_normal((images, channels, size, size)).astype(np.float32)
    w = rng.standard_normal((outputs, channels, kernel, kernel)).astype(np.float32)
    exact = np.zeros((images, outputs, *g.output_size))
    for call in convolution.forward(g, x.astype(np.float64), w.astype(np.float64), None, exact):
        call()
    found = {}
    for name, method in {"direct": convolution, "winograd": winograd}.items():
        y = np.zeros(exact.shape, np.float32)
        for call in method.forward(g, x, w, None, y):
            call()
        error = np.abs(y - exact) / np.abs(exact).max()
        found[name] = (float(np.sqrt(np.mean(error**2))), float(error.max()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [{"shape": shape, **errors(*shape)} for shape in SHAPES]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("images, channels, outputs, size, kernel   direct: rms, largest   Winograd: rms, largest")
    for row in rows:
        figures = "        ".join(f"{row[name][0]:.1e}, {row[name][1]:.1e}" for name in ("direct", "winograd"))
        print(f"{row['shape']!s:40s}  {figures}")


if __name__ == "__main__":
    main()
