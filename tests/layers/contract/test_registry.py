"""The table of layer types, and what is said of a type that is not in it."""

import pytest

from caffelite.errors import NetError
from caffelite.layers.contract.registry import forks, layer_class, registry


def test_the_registry_finds_layers() -> None:
    assert layer_class("Pooling", str, "n").type == "Pooling"
    assert len(registry()) == 140 and len(set(registry().values())) == 137


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Convoluton", '; did you mean "Convolution"?'),
        ("SoftmaxWithLos", '; did you mean "SoftmaxWithLoss"?'),
        ("Relu", '; did you mean "ReLU"?'),
        ("Convolution2D", '; did you mean "Convolution"?'),
        ("Conv", '; did you mean "Convolution"?'),
        ("BatchNormalization", '; did you mean "BatchNorm"?'),
        ("DomainTransfrom", '; did you mean "DomainTransform"?'),
        ("LosSoftmax", '; did you mean "Softmax" or "SoftmaxLoss"?'),
        ("Xyzzy", ""),
    ],
)
def test_an_unknown_type_is_told_the_nearest_names(name: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caffelite.layers.contract.registry._forks", lambda: {"DomainTransform": ["DeepLab v2"]})
    known = ["AbsVal", "BatchNorm", "Convolution", "Pooling", "ReLU", "Softmax", "SoftmaxLoss", "SoftmaxWithLoss"]
    monkeypatch.setattr("caffelite.layers.contract.registry.registry", lambda: dict.fromkeys(known))
    with pytest.raises(NetError) as error:
        layer_class(name, lambda _: "a.prototxt:3:1", "n")
    assert str(error.value) == f'a.prototxt:3:1: layer "n": there is no layer type "{name}"{hint}'


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("One", "makefile/frcnn"),
        ("Two", "DeepLab v2 and PSPNet"),
        ("Four", "A, B, C and D"),
        ("Five", "A, B, C and 2 other forks"),
    ],
)
def test_a_type_that_only_forks_have_is_told_which(kind: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"One": ["makefile/frcnn"], "Two": ["DeepLab v2", "PSPNet"], "Four": list("ABCD"), "Five": list("ABCDE")}
    monkeypatch.setattr("caffelite.layers.contract.registry._forks", lambda: table)
    with pytest.raises(NetError) as error:
        layer_class(kind, lambda _: "a.prototxt:3:1", "n")
    assert str(error.value) == (
        f'a.prototxt:3:1: layer "n": caffelite has no layer type "{kind}"; it is a type of {said}'
    )


def test_the_table_of_forks() -> None:
    assert forks("Permute")[0] == "SSD"
    assert forks("DenseCRF")[:2] == ["DeepLab v2", "PSPNet"]
    assert forks("Convolution") == []
