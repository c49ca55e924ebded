"""The script that docs/opencv5.md shows runs as it stands there, and says what there is."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

from opencv_cases import image, write

from caffelite import dnn

PAGE = (Path(__file__).parent.parent.parent / "docs" / "opencv5.md").read_text(encoding="utf-8")


def test_the_script_runs(tmp_path, monkeypatch, capsys):
    prototxt, model = (Path(path) for path in write("map", tmp_path))
    prototxt.rename(tmp_path / "deploy.prototxt")
    model.rename(tmp_path / "net.caffemodel")
    monkeypatch.chdir(tmp_path)
    # OpenCV is not needed but for reading a picture.
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(imread=lambda name: image(20, 30, 3)))
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(script.replace("(300, 300)", "(7, 5)"), "opencv5.md", "exec"), {})
    assert capsys.readouterr().out == "map (1, 3, 5, 7)\n"


def test_every_name_is_on_the_page():
    names = [name for name in dnn.__all__ if name.isascii() and not name.startswith(("DNN_", "Soft", "SOFT_"))]
    methods = [name for name in vars(dnn.Net) if not name.startswith("_")]
    missing = [name for name in (*names, *methods) if name not in ("Layer", "input_shape") and f"`{name}`" not in PAGE]
    assert missing == []
