"""Predictions: the same as Accuracy and SoftmaxWithLoss count them, ignored labels, ties and what is no number too."""

from pathlib import Path

import numpy as np
import pytest

from caffelite.errors import NetError
from caffelite.net import Net
from caffelite.report.predictions import Predictions
from caffelite.words import TEST

NET = """
layer {{ name: "in" type: "Input" top: "x" top: "label" input_param {{ shape {{ dim: 5 dim: 3 dim: 1 dim: 1 }} shape {{ dim: 5 }} }} }}
layer {{ name: "f" type: "Flatten" bottom: "x" top: "scores" }}
{}
"""
ACCURACY = (
    'layer { name: "a" type: "Accuracy" bottom: "scores" bottom: "label" top: "a" accuracy_param { ignore_label: 2 } }'
)
LOSS = 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "l" }'
SCORES = [[3, 1, 0], [1, 1, 1], [0, 5, 1], [0, 0, 9], [np.nan, 0, 0]]


def net_of(tmp_path: Path, layers: str) -> Net:
    path = tmp_path / "net.prototxt"
    path.write_text(NET.format(layers))
    return Net(path, TEST)


def run(net: Net, labels: list[int], scores: object = SCORES) -> float:
    net.blobs["x"].data[:, :, 0, 0] = scores
    net.blobs["label"].data[...] = labels
    return net.forward()


def test_as_accuracy_counts(tmp_path):
    net = net_of(tmp_path, ACCURACY)
    predictions = Predictions(net)
    run(net, [0, 1, 0, 2, 0])
    predictions.add()
    # A tie is wrong, and so is a score that is no number; the fourth label is ignored.
    assert predictions.matrix.sum() == 4 and predictions.matrix.trace() == 1
    assert net.blobs["a"].data.item() == pytest.approx(1 / 4)
    assert predictions.by_class()[2] == (0, 0, 0)


def test_losses_of_images(tmp_path):
    net = net_of(tmp_path, LOSS)
    labels, scores = [0, 1, 0, 2, 0], [*SCORES[:4], [1, 0, 0]]
    predictions = Predictions(net, worst=3)
    run(net, labels, scores)
    predictions.add()
    worst = [(example.number, example.label, example.prediction) for example in predictions.worst()]
    assert worst == [(2, 0, 1), (1, 1, 0), (4, 0, 0)]
    assert predictions.worst()[0].pixels.ravel().tolist() == SCORES[2]

    predictions = Predictions(net, worst=9)
    loss = run(net, labels, scores)
    predictions.add()
    predictions.add(1)
    losses = {example.number: example.loss for example in predictions.worst()}
    assert sorted(losses) == [0, 1, 2, 3, 4, 5] and losses[0] == losses[5]
    assert loss == pytest.approx(np.mean([losses[i] for i in range(5)]), rel=1e-5)


def test_a_score_that_is_no_number_is_the_worst(tmp_path):
    net = net_of(tmp_path, ACCURACY)
    predictions = Predictions(net, worst=1)
    run(net, [0, 1, 0, 2, 0])
    predictions.add()
    assert [(example.number, example.loss) for example in predictions.worst()] == [(4, np.inf)]


def test_a_net_without_images(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(NET.format(LOSS).replace("dim: 3 dim: 1 dim: 1", "dim: 1 dim: 3 dim: 1 dim: 1"))
    net = Net(path, TEST)
    with pytest.raises(NetError, match='reads no images of 1 or 3 channels, one for each prediction of layer "l"'):
        Predictions(net, worst=3)
