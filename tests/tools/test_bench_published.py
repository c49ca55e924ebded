"""tools/bench_published.py makes published nets trainable, alike for both programs, and says what it must."""

from pathlib import Path

import numpy as np
import pytest

NET = """
input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 0 }
        convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { use_global_stats: true } }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 1000 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def test_both_programs_train_the_same_net(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    import bench_published

    source = tmp_path / "deploy.prototxt"
    source.write_text(NET)
    files = bench_published.Files(tmp_path)
    bench_published.prepare(source, files, images=4, size=8)
    text = files.net.read_text()
    assert "Dropout" in text and "Dropout" not in files.steady.read_text()
    assert "use_global_stats" not in text and "lr_mult" not in text
    ours, theirs = bench_published.first_losses(files, threads=2)
    assert np.allclose(ours, theirs, rtol=1e-5) and ours[0] > ours[1] > ours[2]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["vgg16"], "there is no net vgg16, but resnet50, mobilenet, googlenet, alexnet, densenet121"),
        (["mobilenet"], "mobilenet_deploy.prototxt is missing; --help says where it is published"),
    ],
)
def test_what_is_not_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    names: list[str],
    sentence: str,
) -> None:
    import bench_published

    monkeypatch.setattr("sys.argv", ["bench_published.py", *names, "--nets", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        bench_published.main()
    assert ended.value.code == 2 and sentence in capsys.readouterr().err
