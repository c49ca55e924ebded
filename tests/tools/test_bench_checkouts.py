"""tools/bench_checkouts.py runs, and says what it must."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "y" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "bn" type: "BatchNorm" bottom: "y" top: "y" }
"""


def test_two_checkouts(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(NET)
    command = [sys.executable, str(ROOT / "tools" / "bench_checkouts.py"), str(ROOT), str(ROOT)]
    options = ["--infer", str(net), "--train", "mnist_mlp", "--rounds", "2", "--seconds", "0.01", "--json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["net"] for row in rows] == ["mnist_mlp", f"{tmp_path.name}/net.prototxt"]
    assert all(0 < row["ratio_low"] <= row["ratio"] <= row["ratio_high"] for row in rows)
