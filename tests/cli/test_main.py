"""The command line as such: help, options in both spellings, errors and exit codes."""

import warnings

import pytest

from caffelite import __version__
from caffelite.cli import bn
from caffelite.cli import main as main_function
from caffelite.cli.program import COMMANDS, gflags


def test_help_names_every_command_and_loads_nothing_heavy(python):
    program = (
        "import sys; from caffelite.cli import main; code = main(['--help']);"
        "assert not {'numpy', 'numba', 'google.protobuf', 'tqdm'} & set(sys.modules); sys.exit(code)"
    )
    process = python("-c", program)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert all(f"\n  {name}" in out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command, caffelite):
    code, out, _ = caffelite(command, "--help")
    assert code == 0
    assert "examples:" in out and f"caffelite {command}" in out


@pytest.mark.parametrize("command", bn.COMMANDS)
def test_every_command_of_bn_has_help_with_examples(command, caffelite):
    assert f"\n  {command}" in caffelite("bn", "--help")[1]
    code, out, _ = caffelite("bn", command, "--help")
    assert code == 0
    assert "examples:" in out and f"caffelite bn {command}" in out


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        (["help", "train"], ["train", "--help"]),
        (["--help", "draw"], ["draw", "--help"]),
        (["help", "bn"], ["bn", "--help"]),
        (["help", "bn", "fold"], ["bn", "fold", "--help"]),
        (["bn", "help", "fold"], ["bn", "fold", "--help"]),
        (["help", "help"], ["help"]),
    ],
)
def test_help_on_a_command(asked, same, caffelite):
    answer = caffelite(*asked)
    assert answer[0] == 0
    assert answer == caffelite(*same)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_knows_every_command(command, caffelite):
    assert caffelite("help", command) == caffelite(command, "--help")


def test_version(caffelite):
    assert caffelite("--version") == (0, f"caffelite {__version__}\n", "")


def test_no_command_shows_the_help(caffelite):
    code, out, _ = caffelite()
    assert code == 2
    assert "COMMAND" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["help", "trian"], 'there is no command "trian"; did you mean "train"?'),
        (["trian"], 'there is no command "trian"; did you mean "train"?'),
        (["classify"], 'there is no command "classify"; there are train, test'),
        (["bn", "recalibate"], 'there is no command "bn recalibate"; did you mean "recalibrate"?'),
        (
            ["bn", "-weights", "a", "melt"],
            'there is no command "bn -weights"; there are report, check, show, recalibrate, fold',
        ),
        (["train", "--iteration", "3"], "did you mean --iterations?"),
        (["train", "-iterations", "0"], "0 is not 1 or more"),
        (["test", "a.prototxt", "--stats", "local"], "invalid choice: 'local'"),
    ],
)
def test_what_cannot_be_understood(arguments, text, caffelite):
    code, out, err = caffelite(*arguments)
    assert (code, out) == (2, "")
    assert text in err and err.startswith("caffelite: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train"], "give the prototxt of a solver or of a net"),
        (["train", "a.prototxt", "-solver", "b.prototxt"], "not a.prototxt and b.prototxt"),
        (["train", "a.prototxt", "--snapshot", "a", "--weights", "b"], "not both"),
        (["train", "missing.prototxt"], "missing.prototxt: No such file or directory"),
        (["test", "net.prototxt"], "--weights"),
        (["data", "cifar100"], 'there is no data set "cifar100"'),
    ],
)
def test_what_cannot_be_done(arguments, text, caffelite, run_folder):
    code, out, err = caffelite(*arguments)
    assert (code, out) == (1, "")
    assert text in err and err.startswith("caffelite: ") and err.count("\n") == 1


def test_hidden_files_are_not_suggested(caffelite, run_folder):
    (run_folder / ".Doxyfile").touch()
    assert caffelite("train", "--solver=nofile")[2] == "caffelite: nofile: No such file or directory\n"
    (run_folder / "nofile.prototxt").touch()
    assert caffelite("train", "--solver=nofile.prototx")[2].endswith('did you mean "nofile.prototxt"?\n')


def test_hidden_files_are_not_suggested_for_the_net_of_a_solver(caffelite, run_folder):
    (run_folder / ".Doxyfile").touch()
    (run_folder / "solver.prototxt").write_text('net: "nofile" base_lr: 0.1 lr_policy: "fixed" max_iter: 1')
    code, _, err = caffelite("train", "solver.prototxt")
    assert code == 1
    assert 'net "nofile": there is no such file' in err and "did you mean" not in err


def test_options_as_caffe_spells_them():
    assert gflags(["-solver", "a", "--model=b", "-weights=a,b", "-sigint_effect", "stop", "-1", "-h", "x_y"]) == [
        *("--solver", "a", "--model=b", "--weights=a,b", "--sigint-effect", "stop", "-1", "-h", "x_y"),
    ]


def test_options_before_the_command(caffelite, run_folder):
    code, out, _ = caffelite("-model=net.prototxt", "--iterations", "1", "time", "-phase", "test")
    assert code == 0
    assert "median of 1" in out


def test_errors_of_the_program_as_a_whole(python, run_folder):
    process = python("-m", "caffelite", "test", "-model", "net.prototxt", "-weights", "none.caffemodel")
    assert process.communicate() == ("", "caffelite: none.caffemodel: No such file or directory\n")
    assert process.returncode == 1


def test_a_reader_that_goes_away_is_no_error_of_ours(python):
    process = python("-c", "import time; time.sleep(0.2); from caffelite.cli import main; main(['--help'])")
    process.stdout.close()
    process.stdout = None
    assert process.communicate()[1] == ""


def test_an_interrupt_has_its_exit_code(monkeypatch, caffelite):
    def interrupted(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr("caffelite.cli.program._run", interrupted)
    assert caffelite("train") == (130, "", "caffelite: ended by the user\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "/x/y.svg"), "/x/y.svg: Permission denied"),
        (MemoryError(), "there is not enough memory"),
    ],
)
def test_other_errors_are_one_line_too(error, line, monkeypatch, caffelite):
    def fail(argv):
        raise error

    monkeypatch.setattr("caffelite.cli.program._run", fail)
    code, _, err = caffelite("draw")
    assert code == 1
    assert err.startswith(f"caffelite: {line}") and err.count("\n") == 1


def test_warnings_are_one_line(monkeypatch, capsys):
    def warn(argv):
        warnings.warn("first\nsecond", stacklevel=1)
        return 0

    monkeypatch.setattr("caffelite.cli.program._run", warn)
    shown = warnings.showwarning
    assert main_function(["train"]) == 0
    assert capsys.readouterr().err == "caffelite: warning: first second\n"
    assert warnings.showwarning is shown


@pytest.mark.parametrize(
    ("words", "json"),
    [
        (["--json"], True),
        (["-json=true"], True),
        (["-nojson"], False),
        (["--json", "--nojson"], False),
        (["--json=0"], False),
        (["--nojson", "--json"], True),
    ],
)
def test_switches_as_gflags_spells_them(words, json, caffelite):
    code, out, _ = caffelite("device_query", *words)
    assert code == 0 and out.startswith("{") == json


def test_a_switch_with_a_value_that_is_none(caffelite):
    code, _, err = caffelite("device_query", "--json=maybe")
    assert code == 2 and "--json" in err
