"""The example nets are the published ones: their sizes, and that they and their solvers can be built and run."""

import numpy as np
import pytest
from example_nets import MODELS, with_input

from caffelite.net import Net
from caffelite.schema.text import read_solver
from caffelite.solvers.settings import Settings
from caffelite.words import TEST, TRAIN

#: name -> number of learned parameters, shape of an image, classes (0: no labels)
NETS = {
    "cifar10_bn": (2400 + 25600 + 51200 + 10250 + 65 + 65 + 129, (3, 32, 32), 10),
    "cifar10_full": (2432 + 25632 + 51264 + 10250, (3, 32, 32), 10),
    "cifar10_quick": (145578, (3, 32, 32), 10),
    "lenet": (431080, (1, 28, 28), 10),
    "mnist_autoencoder": (2837314, (1, 28, 28), 0),
    "mnist_siamese": (431080 + 22, (2, 28, 28), 2),
    "mnist_mlp": (99710, (1, 28, 28), 10),
    "mnist_mlp_bn": (99710 - 3 * 100 + 3 * (201 + 200), (1, 28, 28), 10),
}


@pytest.mark.parametrize("name", NETS)
def test_net(name: str) -> None:
    parameters, image, classes = NETS[name]
    net = Net(with_input(name, image), TRAIN)
    assert net.data.size == parameters
    rng = np.random.default_rng(0)
    net.blobs[net.inputs[0]].data[...] = rng.random((4, *image))
    if classes:
        net.blobs[net.inputs[1]].data[...] = rng.integers(0, classes, 4)
    net.zero_grad()
    loss = net.forward()
    net.backward()
    assert np.isfinite(loss)
    assert net.diff.any()
    assert np.isfinite(net.diff).all()
    stages = ["test-on-test"] if name == "mnist_autoencoder" else []
    test = Net(with_input(name, image), TEST, share=net, stages=stages)
    test.forward()
    assert test.outputs


@pytest.mark.parametrize("name", NETS)
def test_solver(name: str) -> None:
    settings = Settings(read_solver(MODELS / f"{name}_solver.prototxt"))
    assert settings.train_net()[0].message.name == name
    assert len(settings.test_nets()) == (2 if name == "mnist_autoencoder" else 1)


def test_every_model_is_known_here() -> None:
    assert {p.stem for p in MODELS.glob("*.prototxt")} == set(NETS) | {f"{name}_solver" for name in NETS}
