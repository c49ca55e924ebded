"""What the shell completes."""

from functools import partial

import pytest

from caffelite.cli.completion import complete, parser_for
from caffelite.cli.program import COMMANDS


@pytest.fixture
def completed(monkeypatch, tmp_path, run_folder):
    """Return what a line can become, as argcomplete's function in the shell asks for it."""
    argcomplete = pytest.importorskip("argcomplete")
    # Its stream for debugging is a handle that may be the test runner's, and it ends the process.
    monkeypatch.setattr(argcomplete.CompletionFinder, "_init_debug_stream", lambda self: None)
    monkeypatch.setattr(argcomplete, "autocomplete", partial(argcomplete.autocomplete, exit_method=lambda code: None))

    def call(line: str) -> set[str]:
        answer = tmp_path / "answer"
        for name, value in {"": "1", "_IFS": "\n", "_STDOUT_FILENAME": str(answer)}.items():
            monkeypatch.setenv(f"_ARGCOMPLETE{name}", value)
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line.encode())))
        with pytest.raises(SystemExit):
            complete()
        return set(answer.read_text().split())

    return call


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("caffelite t", {"train", "test", "time"}),
        ("caffelite bn f", {"fold"}),
        ("caffelite help bn c", {"check"}),
        ("caffelite draw --ra", {"--rankdir"}),
        ("caffelite bn fold --ou", {"--out"}),
        ("caffelite draw a.prototxt b.svg --phase T", {"TRAIN", "TEST"}),
        ("caffelite test snap_iter_6.ca", {"snap_iter_6.caffemodel"}),
    ],
)
def test_what_a_word_becomes(line, words, completed):
    assert completed(line) == words


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_asked(command):
    assert parser_for([command]).format_usage()


def test_names_of_commands_import_nothing_heavy(python):
    program = (
        "import sys; from caffelite.cli.completion import parser_for; parser_for([]); parser_for(['help', 'bn']);"
        "assert not {'numpy', 'numba', 'google.protobuf', 'argcomplete'} & set(sys.modules)"
    )
    process = python("-c", program)
    assert process.communicate()[1] == ""


def test_without_argcomplete_nothing_is_completed_and_nothing_run(python):
    program = (
        "import os, sys; sys.modules['argcomplete'] = None; os.environ['_ARGCOMPLETE'] = '1';"
        "from caffelite.__main__ import process; process()"
    )
    process = python("-c", program)
    assert process.communicate() == ("", "")
    assert process.returncode == 1
