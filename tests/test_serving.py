"""The server that docs/serving.md shows answers as it stands there."""

import http.client
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from caffelite.net import Net
from caffelite.words import TEST

ROOT = Path(__file__).parent.parent
NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } }
}
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer {
  name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } }
}
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


@pytest.fixture
def net(tmp_path: Path) -> Net:
    (tmp_path / "deploy.prototxt").write_text(NET)
    net = Net(tmp_path / "deploy.prototxt", TEST, seed=3)  # not what a net without weights starts from
    net.save(tmp_path / "net.caffemodel")
    return net


@pytest.fixture
def port(tmp_path: Path, net: Net) -> Iterator[int]:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "serving.md").read_text(), re.DOTALL)
    (tmp_path / "server.py").write_text(code)
    command = [sys.executable, "server.py", "deploy.prototxt", "net.caffemodel", "0"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        try:
            yield int(line.removeprefix("listening on port "))
        finally:
            server.terminate()


def ask(port: int, images: list[bytes]) -> list[tuple[int, bytes]]:
    """Return status and body of each answer, over one connection as long as it stays open."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    answers = []
    for image in images:
        connection.request("POST", "/", image)
        response = connection.getresponse()
        answers.append((response.status, response.read()))
    connection.close()
    return answers


def passed(net: Net, image: np.ndarray) -> bytes:
    net.blobs["data"].data[...] = image
    net.forward()
    return net.blobs["prob"].data.tobytes()


def test_each_client_gets_the_scores_of_its_image(net: Net, port: int) -> None:
    images = np.random.default_rng(1).standard_normal((4, 1, 3, 8, 8)).astype(np.float32)
    expected = [(200, passed(net, image)) for image in images]
    with ThreadPoolExecutor(len(images)) as clients:
        answers = list(clients.map(lambda image: ask(port, [image.tobytes()] * 50), images))
    assert answers == [[right] * 50 for right in expected]


def test_nets_that_share_parameters_follow_new_weights(net: Net, tmp_path: Path) -> None:
    other = Net(tmp_path / "deploy.prototxt", TEST, share=net)
    image = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    assert other.data.size == 0, "it has parameters of its own"
    before = passed(other, image)
    assert before == passed(net, image)
    Net(tmp_path / "deploy.prototxt", TEST, seed=4).save(tmp_path / "new.caffemodel")
    net.copy_from(tmp_path / "new.caffemodel")
    other.changed()
    assert passed(other, image) == passed(net, image) != before


def test_an_image_of_another_size_is_refused_and_the_next_one_answered(port: int) -> None:
    (status, body), (after, scores) = ask(port, [bytes(8), bytes(4 * 3 * 8 * 8)])
    assert status == 400 and b"an image has 768 bytes" in body
    assert after == 200 and len(scores) == 4 * 5


def test_the_command_for_an_image_keeps_the_kernels(tmp_path: Path, net: Net) -> None:
    (command,) = re.findall(r'^RUN python -c "([^"]*)"', (ROOT / "docs" / "serving.md").read_text(), re.MULTILINE)
    environment = {**os.environ, "CAFFELITE_CACHE": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", command], cwd=tmp_path, env=environment, check=True)
    assert list(tmp_path.glob("cache/kernels/*/*.code"))
