"""caffe.draw: pictures of nets, and their graphs for pydot."""

import sys
import types
from pathlib import Path

import pytest

import caffelite as caffe
from caffelite.errors import Error, MissingExtraError, NetError
from caffelite.pycaffe import draw
from caffelite.schema.messages import LayerParameter
from caffelite.schema.text import net_from_text

NET = net_from_text(
    """
    name: "net"
    layer { name: "data" type: "Data" top: "x" include { phase: TRAIN stage: "a" }
      data_param { batch_size: 32 source: "-" } }
    layer { name: "conv" type: "Convolution" bottom: "x" top: "c"
      param { lr_mult: 1 } param { lr_mult: 2 } convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
    layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
    layer { name: "pool" type: "Pooling" bottom: "c" top: "p" pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
    layer { name: "ip" type: "InnerProduct" bottom: "p" top: "ip"
      param { lr_mult: 0 } param { lr_mult: 0 } inner_product_param { num_output: 5 } }
    layer { name: "a|b" type: "Of\\"Another" bottom: "ip" top: "out" exclude { phase: TRAIN } }
    """
).message
DATA, CONV, RELU, POOL, IP, OTHER = NET.layer


def test_facts_of_layers():
    methods = draw.get_pooling_types_dict()
    assert [methods[i] for i in range(3)] == ["MAX", "AVE", "STOCHASTIC"]
    assert [draw.get_edge_label(layer) for layer in NET.layer] == ["Batch 32", "4", '""', '""', "5", '""']
    assert draw.choose_color_by_layertype("Deconvolution") == draw.choose_color_by_layertype("Convolution") == "#FF5050"
    assert draw.choose_color_by_layertype("Pooling") == "#FF9900"
    assert draw.choose_color_by_layertype("InnerProduct") == "#CC33FF"
    assert draw.choose_color_by_layertype("LRN") == "#6495ED"


def test_learning_rates():
    assert [draw.get_layer_lr_mult(layer) for layer in (CONV, IP)] == [(1, 2), (0, 0)]
    bare = LayerParameter(name="bare", type="InnerProduct")
    assert draw.get_layer_lr_mult(bare) == (1, 1)
    bare.param.add(lr_mult=3)
    assert draw.get_layer_lr_mult(bare) == (3, 1)
    bare.param.add()
    bare.param.add()
    with pytest.raises(NetError, match='layer "bare": weights and biases have two learning rates, not 3'):
        draw.get_layer_lr_mult(bare)
    with pytest.raises(NetError, match='layer "pool" of type Pooling has no learning rates'):
        draw.get_layer_lr_mult(POOL)


def test_labels():
    assert draw.get_layer_label(CONV, "LR") == r'"conv\n(Convolution)\nkernel size: 3\nstride: 1\npad: 1"'
    assert draw.get_layer_label(POOL, "TB") == '"pool (Pooling AVE) kernel size: 2 stride: 2 pad: 0"'
    assert draw.get_layer_label(CONV, "BT", display_lrm=True).endswith(' pad: 1 lr mult: 1.0, 2.0"')
    assert draw.get_layer_label(IP, "BT", display_lrm=True) == '"ip (InnerProduct)"'
    assert draw.get_layer_label(RELU, "BT", display_lrm=True) == '"relu (ReLU)"'


def test_draw_net_is_a_picture_with_learning_rates():
    text = draw.draw_net(NET, "LR", "dot", display_lrm=True).decode()
    assert "rankdir=LR" in text and "lr mult: 1.0, 2.0" in text and text.count("lr mult") == 1
    assert draw.draw_net(NET, "TB", "raw").decode().count("lr mult") == 0
    assert draw.draw_net(NET, "TB", "md").startswith(b"# net\n")


def test_draw_net_of_one_phase():
    train, test = (draw.draw_net(NET, "TB", "dot", phase).decode() for phase in (caffe.TRAIN, caffe.TEST))
    assert ("32" in train, "a|b" in train) == (True, False)
    assert ("32" in test, "a|b" in test) == (False, True)
    with pytest.raises(Error, match="is caffe.TRAIN, caffe.TEST or None .both., not 2"):
        draw.draw_net(NET, "TB", "dot", 2)
    with pytest.raises(Error, match="is TB, BT, LR or RL, not 'LT'"):
        draw.draw_net(NET, "LT", "dot")


def test_draw_net_takes_messages_of_another_module():
    theirs = caffe.convert_message(NET, caffe.fork_pb2("ssd").NetParameter)
    assert draw.draw_net(theirs, "TB", "dot") == draw.draw_net(NET, "TB", "dot")
    # A setting that has another number there.
    net = type(NET)()
    net.layer.add(name="p", type="Permute", bottom=["x"], top=["y"]).permute_param.order.extend([0, 2, 1])
    theirs = caffe.convert_message(net, caffe.fork_pb2("ssd").NetParameter)
    assert draw.draw_net(theirs, "TB", "dot") == draw.draw_net(net, "TB", "dot") != draw.draw_net(NET, "TB", "dot")


def test_draw_net_to_file(tmp_path):
    pytest.importorskip("pygraphviz")
    path = tmp_path / "net.svg"
    draw.draw_net_to_file(NET, str(path), "LR", caffe.TRAIN, True)
    assert "lr mult: 1.0, 2.0" in path.read_text()
    with pytest.raises(Error, match="the name of a picture ends in"):
        draw.draw_net_to_file(NET, str(tmp_path / "net"))
    with pytest.raises(Error, match="Graphviz failed"):
        draw.draw_net_to_file(NET, tmp_path / "net.nothing")
    assert [p.name for p in Path(tmp_path).iterdir()] == ["net.svg"]


class Recorded:
    """What stands in for pydot's classes: it keeps what it was made of."""

    def __init__(self, *names, **settings):
        self.names, self.settings = names, settings
        self.nodes, self.edges = {}, []

    def add_node(self, node):
        self.nodes[node.names[0]] = node.settings

    def add_edge(self, edge):
        self.edges.append((*edge.names, edge.settings["label"]))


def test_get_pydot_graph(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydot", types.SimpleNamespace(Dot=Recorded, Node=Recorded, Edge=Recorded))
    graph = draw.get_pydot_graph(NET, "TB")
    assert (graph.names, graph.settings["rankdir"]) == (('"net"',), "TB")
    assert len(graph.nodes) == 6 + 5
    assert graph.nodes['"conv_Convolution"']["fillcolor"] == "#FF5050"
    assert graph.nodes['"relu_ReLU"'] == {"label": '"relu (ReLU)"', **draw.NEURON_LAYER_STYLE}
    assert graph.nodes['"x_blob"'] == {"label": '"x"', **draw.BLOB_STYLE}
    assert graph.nodes['"a|b_Of\\"Another"']["label"] == r'"a\|b (Of\"Another)"'
    assert ('"x_blob"', '"conv_Convolution"', '""') in graph.edges
    assert ('"conv_Convolution"', '"c_blob"', "4") in graph.edges
    plain = draw.get_pydot_graph(NET, "TB", label_edges=False, phase=caffe.TRAIN)
    assert '"data_Data"' in plain.nodes and '"a|b_Of\\"Another"' not in plain.nodes
    assert {label for *_, label in plain.edges} == {'""'}


def test_get_pydot_graph_needs_pydot(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydot", None)
    with pytest.raises(MissingExtraError, match="pip install pydot; draw_net and draw_net_to_file do not"):
        draw.get_pydot_graph(NET, "LR")
