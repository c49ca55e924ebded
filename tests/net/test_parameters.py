"""Parameters: how they start, who shares them, and who may not."""

import pytest
from mixed_net import BODY, make

from caffelite.errors import NetError, ShapeError
from caffelite.words import TEST


def test_same_seed_same_bits_other_seed_other_numbers() -> None:
    first, second, other = make(seed=5), make(seed=5), make(seed=6)
    assert first.data.tobytes() == second.data.tobytes()
    assert first.data.tobytes() != other.data.tobytes()
    for net in (first, second):
        net.zero_grad()
        net.forward()
        net.backward()
    assert first.diff.tobytes() == second.diff.tobytes()


def test_parameters_shared_by_name() -> None:
    text = """
    layer { name: "p" type: "InnerProduct" bottom: "data" top: "p" param { name: "w" lr_mult: 2 } param { name: "b" }
      inner_product_param { num_output: 192 weight_filler { type: "xavier" } } }
    layer { name: "q" type: "InnerProduct" bottom: "p" top: "q" param { name: "w" } param { name: "b" lr_mult: 3 }
      inner_product_param { num_output: 192 } }
    layer { name: "r" type: "InnerProduct" bottom: "q" top: "r" param { name: "w" share_mode: PERMISSIVE }
      inner_product_param { num_output: 192 bias_term: false transpose: true } }
    layer { name: "s" type: "Reshape" bottom: "r" top: "s" reshape_param { shape { dim: 6 dim: 192 } } }
    layer { name: "l" type: "EuclideanLoss" bottom: "s" bottom: "p" top: "l" }"""
    net = make(text)
    assert net.data.size == 192 * 192 + 192
    assert [(own.lr_mult, own.names) for own in net.learnable] == [(2, ["p/0", "q/0", "r/0"]), (3, ["p/1", "q/1"])]
    assert net.params["p"][0] is net.params["q"][0]
    net.zero_grad()
    net.forward()
    net.backward()
    assert net.diff.any()


@pytest.mark.parametrize(
    ("spec", "outputs", "expected"),
    [
        ('name: "w"', 7, "needs shape 7×5 where that has 5×192"),
        ('name: "w" lr_mult: 3', 5, "lr_mult is 3 here and 2 there"),
    ],
)
def test_parameters_that_cannot_be_shared(spec: str, outputs: int, expected: str) -> None:
    text = f"""
    layer {{ name: "p" type: "InnerProduct" bottom: "data" top: "p" param {{ name: "w" lr_mult: 2 }} inner_product_param {{ num_output: 5 }} }}
    layer {{ name: "q" type: "InnerProduct" bottom: "{"p" if outputs == 7 else "data"}" top: "q" param {{ {spec} }}
      inner_product_param {{ num_output: {outputs} }} }}"""
    with pytest.raises(NetError, match="net.prototxt:.*shares parameter") as error:
        make(text)
    assert expected in str(error.value)


def test_a_test_net_uses_the_parameters_of_the_train_net_by_layer_name() -> None:
    train = make()
    test = make(phase=TEST, share=train)
    train.forward()  # BatchNorm keeps statistics
    train.data[:] += 0.01
    assert test.params["conv"][0].data.ctypes.data == train.params["conv"][0].data.ctypes.data
    assert test.data.size == 0
    assert test.params["bn"][2].data[0] == pytest.approx(1.01)
    with pytest.raises(ShapeError, match="they cannot be shared"):
        make(BODY.replace("num_output: 8", "num_output: 9"), TEST, share=train)


def test_more_settings_than_parameters() -> None:
    text = 'layer { name: "p" type: "ReLU" bottom: "data" top: "p" param { lr_mult: 2 } }'
    with pytest.raises(NetError, match="param is given 1 times, but ReLU has 0 parameter blobs"):
        make(text)


def test_parameters_lie_one_after_the_other() -> None:
    net = make()
    assert sum(own.blob.data.size for own in net.learnable) == net.data.size == net.diff.size
    net.data[:] = range(net.data.size)
    begin = 0
    for own in net.learnable:
        assert own.blob.data.flat[0] == begin
        begin += own.blob.data.size
