"""A state belongs to its weights, its net and its type of solver; what is changed is refused, or told."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from caffelite.errors import WeightsError
from caffelite.schema import messages
from caffelite.schema.parser import parse_text
from caffelite.solvers.logs import Listener
from caffelite.solvers.snapshots import read_state, write_state
from caffelite.solvers.solver import Solver

NET = """
name: "two"
layer { name: "data" type: "DummyData" top: "x" top: "label"
  dummy_data_param { shape { dim: 6 dim: 5 } shape { dim: 6 }
    data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "ip1" type: "InnerProduct" bottom: "x" top: "h"
  inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "act" type: "ReLU" bottom: "h" top: "h" }
layer { name: "drop" type: "Dropout" bottom: "h" top: "h" }
layer { name: "ip2" type: "InnerProduct" bottom: "h" top: "y"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
"""
FORMS = {"BINARYPROTO": "", "HDF5": ".h5"}


def make(prefix, net=NET, rule="SGD", form="BINARYPROTO"):
    text = f"""net_param {{ {net} }} type: "{rule}" base_lr: 0.1 lr_policy: "fixed" {"momentum: 0.9" if rule != "RMSProp" else ""}
        max_iter: 8 snapshot_format: {form} snapshot_prefix: "{prefix}" """
    return Solver(parse_text(text, messages.SolverParameter, "s.prototxt"), Listener())


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.fixture
def state(tmp_path, form):
    solver = make(tmp_path / "a", form=form)
    solver.step(4)
    return Path(solver.snapshot())


def without(path, *keys):
    """Write a state again as Caffe, or an older caffelite, would have; return what it is."""
    held = read_state(path)
    for key in keys:
        del held.extra[key]
    message = messages.SolverState()
    write_state(path, held)
    if path.suffix != ".h5":
        message.ParseFromString(path.read_bytes())
        del message.caffelite_state.entry[-1]
        path.write_bytes(message.SerializeToString())
    return held


CHANGES = {
    "renamed": (
        'name: "ip2"',
        'name: "ip3"',
        [["ip2", "is no longer there", "InnerProduct 3×7, 3", ""], ["ip3", "is new", "", "InnerProduct 3×7, 3"]],
    ),
    "renamed without weights": (
        'name: "act"',
        'name: "relu"',
        [["act", "is no longer there", "ReLU", ""], ["relu", "is new", "", "ReLU"]],
    ),
    "type": ('type: "ReLU"', 'type: "TanH"', [["act", "type differs", "ReLU", "TanH"]]),
    "shape": (
        "num_output: 3",
        "num_output: 4",
        [["ip2", "shape differs", "InnerProduct 3×7, 3", "InnerProduct 4×7, 4"]],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_net_is_refused_with_a_table(state, tmp_path, change):
    old, new, rows = CHANGES[change]
    solver = make(tmp_path / "b", NET.replace(old, new))
    before = solver.net.data.copy()
    with pytest.raises(WeightsError) as error:
        solver.restore(state)
    assert error.value.message == (
        f"{state}: it was written for another net; --allow-changed goes on all the same, and what does not fit begins "
        "untrained"
    )
    head, *table = error.value.table.splitlines()
    assert re.split(r"  +", head) == ["layer", "as it was", "as it is now"]
    assert [re.split(r"  +", line) for line in table] == [[cell for cell in row if cell] for row in rows]
    assert solver.iteration == 0 and np.array_equal(solver.net.data, before)


def test_layers_in_another_order_are_another_net(state, tmp_path):
    moved = re.search(r'layer { name: "act".*\n', NET)[0]
    net = NET.replace(moved, "").replace('layer { name: "ip2"', moved + 'layer { name: "ip2"')
    with pytest.raises(WeightsError, match=r"(?s)for another net;.*act +place differs +3 +4"):
        make(tmp_path / "b", net).restore(state)


def test_parameters_that_are_shared_otherwise_are_another_net(tmp_path):
    net = NET.replace("num_output: 3", "num_output: 5").replace("num_output: 7", "num_output: 5")
    first = make(tmp_path / "a", net)
    first.step(1)
    shared = net.replace('top: "h"\n', 'top: "h" param { name: "w" }\n').replace(
        'top: "y"\n', 'top: "y" param { name: "w" }\n'
    )
    solver = make(tmp_path / "b", shared)
    path = first.snapshot()
    with pytest.raises(WeightsError, match=r"ip1 +is shared otherwise +-, - +w, -"):
        solver.restore(path)
    solver.step(1)
    again = make(tmp_path / "c", shared)
    again.restore(solver.snapshot())
    assert again.iteration == 1 and len(again.rule.history) == 3
    # The second layer no longer has its own: what the state keeps of it is left out.
    assert not solver.restore(path, allow_changed=True).history_lost
    for place, saved in ((0, 0), (1, 1), (2, 3)):
        assert np.array_equal(solver.rule.history[place], first.rule.history[saved])


def test_exchanged_weights_are_refused(state, tmp_path, form):
    model = Path(str(state).replace("solverstate", "caffemodel"))
    make(tmp_path / "other", NET, form=form).net.save(model)
    solver = make(tmp_path / "b")
    with pytest.raises(WeightsError, match=r"it was written with other weights; --allow-changed") as error:
        solver.restore(state)
    assert re.search(rf"digest of {re.escape(str(model))} +[0-9a-f]{{12}} +[0-9a-f]{{12}}$", error.value.table)
    resumed = solver.restore(state, allow_changed=True)
    assert (resumed.untrained, resumed.history_lost, solver.iteration) == ([], False, 4)
    assert resumed.differences == error.value.table


def test_weights_beside_the_state_that_fit_go_before_others(state, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    whole = make_restored(state, tmp_path)
    model = Path(str(state).replace("solverstate", "caffemodel"))
    for file in (model, state):
        shutil.copy(file, folder / file.name)
    make(tmp_path / "other").net.save(model)
    solver = make(tmp_path / "b")
    solver.restore(folder / state.name)
    assert np.array_equal(solver.net.data, whole.net.data)


def test_another_type_of_solver(state, tmp_path):
    solver = make(tmp_path / "b", rule="RMSProp")
    with pytest.raises(WeightsError, match=r'(?s)written by solver type "SGD"; .*solver type +SGD +RMSProp'):
        solver.restore(state)
    resumed = solver.restore(state, allow_changed=True)
    assert resumed.history_lost and resumed.untrained == [] and solver.iteration == 4
    assert not any(array.any() for array in solver.rule.history)
    assert np.array_equal(solver.net.data, make_restored(state, tmp_path).net.data)


def make_restored(state, tmp_path):
    solver = make(tmp_path / "c")
    solver.restore(state)
    return solver


@pytest.mark.parametrize("change", ["renamed", "shape"])
def test_what_does_not_fit_begins_untrained(state, tmp_path, change):
    old, new, _ = CHANGES[change]
    solver = make(tmp_path / "b", NET.replace(old, new))
    name = "ip3" if change == "renamed" else "ip2"
    fresh = [blob.data.copy() for blob in solver.net.params[name]]
    resumed = solver.restore(state, allow_changed=True)
    assert (resumed.untrained, resumed.history_lost) == ([name], False)
    whole = make_restored(state, tmp_path)
    for own, other in zip(solver.net.params["ip1"], whole.net.params["ip1"], strict=True):
        assert np.array_equal(own.data, other.data)
    for blob, values in zip(solver.net.params[name], fresh, strict=True):
        assert np.array_equal(blob.data, values)
    assert all(np.array_equal(*pair) for pair in zip(solver.rule.history[:2], whole.rule.history[:2], strict=True))
    assert whole.rule.history[0].any() and not any(array.any() for array in solver.rule.history[2:])
    solver.step(1)


def test_nothing_of_it_fits(state, tmp_path):
    net = NET.replace('name: "ip', 'name: "fc')
    with pytest.raises(WeightsError, match='none of its 2 layers with weights is in the net "two"'):
        make(tmp_path / "b", net).restore(state, allow_changed=True)


def test_a_state_of_another_size_of_batch_is_left_out(tmp_path):
    solver = make(tmp_path / "a")
    solver.step(2)
    path = solver.snapshot()
    held = read_state(path)
    key = next(key for key in held.extra if key.startswith("train/"))
    held.extra[key] = np.zeros(77, held.extra[key].dtype)
    write_state(path, held)
    with pytest.raises(WeightsError, match="has shape 77, expected"):
        make(tmp_path / "b").restore(path)
    assert make(tmp_path / "b").restore(path, allow_changed=True).iteration == 2


def test_states_without_digests_go_on(state, tmp_path):
    without(state, "solver/weights", "solver/net")
    whole = make(tmp_path / "a2")
    whole.step(8)
    solver = make(tmp_path / "b")
    assert solver.restore(state).differences == ""
    solver.step(4)
    assert np.array_equal(solver.net.data, whole.net.data)


def test_a_renamed_layer_is_seen_without_digests_too(state, tmp_path):
    without(state, "solver/weights", "solver/net", "solver/type")
    solver = make(tmp_path / "b", NET.replace('name: "ip2"', 'name: "ip3"'))
    with pytest.raises(WeightsError, match="it was written for another net") as error:
        solver.restore(state)
    cells = [re.split(r"  +", line) for line in error.value.table.splitlines()[1:]]
    assert cells == [["ip3", "has no weights", "3×7, 3"], ["ip2", "is not in the net", "3×7, 3"]]
    resumed = solver.restore(state, allow_changed=True)
    assert resumed.untrained == ["ip3"] and not resumed.history_lost
    assert solver.rule.history[0].any() and not solver.rule.history[2].any()


def test_a_history_that_does_not_fit_begins_anew_where_that_is_allowed(state, tmp_path):
    without(state, "solver/weights", "solver/net", "solver/type")
    solver = make(tmp_path / "b", rule="Adam")
    with pytest.raises(WeightsError, match="it has 4 history blobs, but .*keeps 8"):
        solver.restore(state)
    assert solver.restore(state, allow_changed=True).history_lost


def test_a_damaged_state_is_refused_always(state, tmp_path):
    content = bytearray(state.read_bytes())
    values = read_state(state).history[0].tobytes()
    place = content.find(values[:64])
    assert place > 0
    content[place + 3] ^= 1
    state.write_bytes(content)
    for allowed in (False, True):
        with pytest.raises(WeightsError, match="it is damaged: its digest is not that of what is in it"):
            make(tmp_path / "b").restore(state, allow_changed=allowed)


def test_a_damaged_description_of_the_net(state, tmp_path):
    held = read_state(state)
    held.extra["solver/net"] = np.frombuffer(b"\xff\xff\xff", np.uint8)
    write_state(state, held)
    with pytest.raises(WeightsError, match="what it says of its net is damaged"):
        make(tmp_path / "b").restore(state)


def test_weights_that_cannot_be_read(state, tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("builtins.open", broken)
    with pytest.raises(WeightsError, match="caffemodel.*: Input/output error"):
        make(tmp_path / "b").restore(state)


def test_a_long_table_is_cut(tmp_path):
    layers = "".join(f'layer {{ name: "n{i}" type: "Silence" bottom: "h" }}\n' for i in range(60))
    solver = make(tmp_path / "a", NET.replace('layer { name: "act"', layers + 'layer { name: "act"'))
    path = solver.snapshot()
    with pytest.raises(WeightsError) as error:
        make(tmp_path / "b").restore(path)
    assert error.value.table.splitlines()[-1] == "… and 20 more"


def test_caffe_reads_the_state(tmp_path):
    """As BVLC Caffe's own SolverState: four fields, and what is not known is passed over."""
    solver = make(tmp_path / "a")
    solver.step(2)
    path = Path(solver.snapshot())
    known = descriptor_pb2.FileDescriptorProto()
    known.CopyFrom(
        descriptor_pb2.FileDescriptorProto.FromString(messages.pool().FindFileByName("caffe.proto").serialized_pb)
    )
    known.name = "bvlc.proto"
    state = next(message for message in known.message_type if message.name == "SolverState")
    for field in [field for field in state.field if field.number >= 20000]:
        state.field.remove(field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(known)
    caffes = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{known.package}.SolverState"))
    read = caffes.FromString(path.read_bytes())
    assert (read.iter, read.learned_net) == (2, str(tmp_path / "a_iter_2.caffemodel"))
    for blob, array in zip(read.history, solver.rule.history, strict=True):
        assert np.array_equal(np.float32(blob.data), array.ravel())
