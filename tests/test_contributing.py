"""The layer that CONTRIBUTING.md shows works as it stands there, with no edit elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import caffelite.layers
tests, folder = sys.argv[1:]
caffelite.layers.__path__.append(folder)
sys.path[:0] = [tests, f"{tests}/layers"]
import cases
cases.NETS = Path(folder)
import test_gradients
[(kind, what, case)] = cases.net_cases()
test_gradients.test_gradient(kind, what, case)
net = test_gradients.prepared(case, np.random.default_rng(1))
net.forward()
x0, x1, y0 = (net.blobs[name].data for name in ("x0", "x1", "y0"))
np.testing.assert_allclose(y0, x0[:, None, None] * x1)
print("agrees")
"""


def test_the_example_layer(tmp_path: Path) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    nets = re.findall(r"```\n(# A number.*?)```", text, re.DOTALL)
    assert len(code) == len(nets) == 1
    (tmp_path / "gate.py").write_text(code[0])
    (tmp_path / "Gate_images.prototxt").write_text(nets[0])
    command = [sys.executable, "-c", PROGRAM, str(ROOT / "tests"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "agrees\n", done.stderr
