"""What a solver file may say, and what is said where it is wrong."""

import pytest

from caffelite.errors import SchemaError, SolverError
from caffelite.schema import messages
from caffelite.schema.parser import parse_text
from caffelite.schema.text import read_net
from caffelite.solvers.settings import Settings, default_solver, load_solver
from caffelite.solvers.sources import source_to_train, sources_to_test

GOOD = 'base_lr: 0.1 lr_policy: "fixed" max_iter: 3 '
NET = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'


def document(text, name="s.prototxt"):
    return parse_text(text, messages.SolverParameter, name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('type: "Adm"', 's.prototxt:1:1: there is no solver type "Adm"; did you mean "Adam"?'),
        ('type: "sgd"', 'did you mean "SGD"?'),
        ('type: "Whatever"', 'it can be "SGD", "Nesterov"'),
        ('type: "AdaGrad" momentum: 0.9', "AdaGrad does not use momentum; leave it out"),
        ('type: "Adam" momentum: 1', "momentum is 1, expected 0 or more and less than 1"),
        ('type: "RMSProp" rms_decay: 1.5', "rms_decay is 1.5"),
        ("iter_size: 0", "iter_size is 0, expected 1 or more"),
        ("average_loss: 0", "average_loss is 0"),
        ('regularization_type: "L3"', 'regularization_type is "L3", expected "L1" or "L2"'),
        ("test_iter: -1", "test_iter is -1"),
        ("snapshot: 5", "no snapshot_prefix"),
    ],
)
def test_wrong_settings(text, message):
    with pytest.raises(SolverError) as error:
        Settings(document(f"{text} {GOOD}"))
    assert message in str(error.value)


def test_notes_tell_what_is_done_otherwise():
    text = GOOD + "solver_mode: GPU\nsnapshot_diff: true\nwarmup_iter: 3"
    notes = Settings(document(text)).notes
    assert [note.split()[0] for note in notes] == [
        "s.prototxt:2:1:",
        "s.prototxt:3:1:",
    ]
    assert "warmup_iter" in notes[-1]
    assert Settings(document(GOOD)).notes == []


def test_a_gpu_is_used_only_where_the_file_says_so():
    assert Settings(document(GOOD)).gpu is None
    assert Settings(document(GOOD + "solver_mode: CPU device_id: 1")).gpu is None
    assert Settings(document(GOOD + "solver_mode: GPU")).gpu == 0
    assert Settings(document(GOOD + "solver_mode: GPU device_id: 1")).gpu == 1


def test_prefix_is_the_solver_file_where_none_is_given(tmp_path):
    file = tmp_path / "my_solver.prototxt"
    file.write_text(GOOD)
    assert load_solver(file).message.snapshot_prefix == str(tmp_path / "my_solver")
    file.write_text(f'{GOOD} snapshot_prefix: "{tmp_path}"')
    assert load_solver(file).message.snapshot_prefix == str(tmp_path / "my_solver")
    file.write_text(f'{GOOD} snapshot_prefix: "a/b"')
    assert load_solver(file).message.snapshot_prefix == "a/b"


def test_old_solver_type_is_upgraded():
    assert load_solver(document("solver_type: ADADELTA")).message.type == "AdaDelta"


def test_a_document_is_copied():
    given = document(GOOD)
    load_solver(given).message.base_lr = 7
    assert given.message.base_lr == pytest.approx(0.1)


def test_defaults_for_a_net(tmp_path):
    net = tmp_path / "net.prototxt"
    net.write_text(NET)
    solver = default_solver(read_net(net)).message
    assert (solver.net, solver.type, list(solver.test_iter)) == (str(net), "SGD", [])
    assert Settings(default_solver(read_net(net))).notes == []
    net.write_text(NET + 'layer { name: "a" type: "Silence" bottom: "x" include { phase: TEST } }')
    assert list(default_solver(read_net(net)).message.test_iter) == [0]


# Which nets.


def described(sources):
    return [(s.described, s.phase, s.level, s.stages) for s in sources]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "solvers").mkdir()
    for name in ("a", "b", "solvers/c"):
        (tmp_path / f"{name}.prototxt").write_text(f'name: "{name}" {NET}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_net_for_both(folder):
    given = document('net: "a.prototxt" test_iter: [3, 4] test_interval: 1')
    assert described([source_to_train(given)]) == [("net file: a.prototxt", 0, 0, ())]
    assert described(sources_to_test(given)) == [("net file: a.prototxt", 1, 0, ())] * 2


def test_order_and_states(folder):
    given = document(
        f"""train_net_param {{ {NET} state {{ level: 1 stage: "x" }} }} train_state {{ level: 2 stage: "y" }}
        test_net: "a.prototxt" test_net: "b.prototxt" test_net_param {{ {NET} state {{ stage: "z" }} }}
        test_iter: [1, 1, 1] test_interval: 5
        test_state {{ stage: "p" }} test_state {{ level: 3 }} test_state {{ }}"""
    )
    assert described([source_to_train(given)]) == [("train_net_param", 0, 2, ("x", "y"))]
    assert described(sources_to_test(given)) == [
        ("test_net_param", 1, 0, ("z", "p")),
        ("test_net file: a.prototxt", 1, 3, ()),
        ("test_net file: b.prototxt", 1, 0, ()),
    ]


def test_generic_net_takes_the_test_iters_left_over(folder):
    given = document('net: "a.prototxt" test_net: "b.prototxt" test_iter: [1, 2, 3] test_interval: 1')
    assert [s.described for s in sources_to_test(given)] == [
        "test_net file: b.prototxt",
        "net file: a.prototxt",
        "net file: a.prototxt",
    ]
    assert sources_to_test(document('net: "a.prototxt"')) == []


def test_a_net_beside_the_solver_is_found(folder):
    source = source_to_train(document('net: "c.prototxt"', "solvers/s.prototxt"))
    assert source.document.message.name == "solvers/c"


def test_places_in_a_net_inside_a_solver():
    given = document('train_net_param {\n layer { name: "in"\n type: "Input" }\n}')
    assert source_to_train(given).document.place(0, "type") == "s.prototxt:3:2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no net to train is named; give one of net, net_param, train_net, train_net_param"),
        (
            'net: "a.prototxt"\ntrain_net: "b.prototxt"',
            "s.prototxt:2:1: net and train_net both name a net to train",
        ),
        (
            'net: "aa.prototxt"',
            's.prototxt:1:1: net "aa.prototxt": there is no such file in the current folder; did you',
        ),
        ('net: "a.prototxt" test_iter: 1', "test_iter is given without test_interval"),
        ('train_net: "a.prototxt" test_net: "b.prototxt"', "test_iter is given 0 times for 1 test nets"),
        ('train_net: "a.prototxt" test_iter: 1', "test_iter is given 1 times for 0 test nets"),
        (
            'net: "a.prototxt" test_iter: 1 test_interval: 1 test_state { } test_state { }',
            "test_state is given 2 times",
        ),
    ],
)
def test_wrong_nets(folder, text, message):
    with pytest.raises(SolverError) as error:
        given = document(text)
        source_to_train(given)
        sources_to_test(given)
    assert message in str(error.value)


def test_a_net_file_that_is_wrong_is_named(folder):
    (folder / "a.prototxt").write_text("layer { name: }")
    with pytest.raises(SchemaError, match="a.prototxt:1:"):
        source_to_train(document('net: "a.prototxt"'))
