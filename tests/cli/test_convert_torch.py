"""``caffelite convert``: a file that is trained to a PyTorch module; what is refused leaves nothing behind."""

import json
from pathlib import Path

import pytest

COMMAND = ["convert", "net.prototxt", "--weights", "snap_iter_12.caffemodel"]


def test_a_net_that_is_trained(caffelite, run_folder):
    pytest.importorskip("torch")
    Path("train_lmdb").rename("elsewhere")
    code, out, err = caffelite(*COMMAND, "net.py", "--shape", "data:1,3,16,16")
    # Nothing is said, but that kernels are compiled where they were not before.
    assert code == 0 and err in ("", "compiling kernels, which are kept for the next time\n")
    first, second = out.splitlines()
    assert first == "net.py and net.safetensors: interop, 1,721 numbers"
    assert second.startswith("PyTorch and net.prototxt differ by ") and "of the largest value at most" in second
    text = Path("net.py").read_text()
    assert "import caffelite" not in text and "from caffelite" not in text
    assert "self.bn1 = nn.BatchNorm2d(" in text and Path("net.safetensors").exists()


def test_json(caffelite, run_folder):
    pytest.importorskip("torch")
    code, out, _ = caffelite(*COMMAND, "net.py", "--json", "--shape", "data:1,3,16,16")
    told = json.loads(out)
    assert code == 0 and told["difference"] <= 1e-5
    assert (told["module"], told["weights"], told["class"]) == ("net.py", "net.safetensors", "interop")


def test_a_layer_without_a_form_leaves_nothing(caffelite, run_folder):
    pytest.importorskip("torch")
    Path("net.prototxt").write_text("""
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 3, 4, 4] } } }
layer { name: "rows" type: "Im2col" bottom: "data" top: "rows" convolution_param { kernel_size: 2 } }
""")
    code, out, err = caffelite("convert", "net.prototxt", "net.py")
    assert (code, out) == (1, "")
    assert 'layer "rows": Im2col cannot be written for PyTorch' in err and len(err.splitlines()) == 1
    assert not Path("net.py").exists() and not Path("net.safetensors").exists()


def test_without_the_packages(caffelite, run_folder, monkeypatch):
    monkeypatch.setattr("caffelite.cli.convert_torch.find_spec", lambda name: None)
    code, _, err = caffelite(*COMMAND, "net.py")
    assert code == 1 and "pip install 'caffelite[torch]'" in err


def test_the_weights_are_not_overwritten(caffelite, run_folder):
    pytest.importorskip("torch")
    Path("snap_iter_12.caffemodel").rename("net.safetensors")
    code, _, err = caffelite("convert", "net.prototxt", "--weights", "net.safetensors", "net.py")
    assert code != 0 and "net.safetensors is what is read" in err
