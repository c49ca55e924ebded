"""The README's two commands: the first thing a newcomer types, and what .ci/run runs."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
#: Code that stands on a line of its own, a command.
COMMANDS = re.findall(r"^```\n([^\n]+)\n```$", README, re.MULTILINE)


def test_there_are_two_one_for_the_main_job_and_one_for_the_tests() -> None:
    main, tests = COMMANDS
    assert main.endswith(" && .venv/bin/caffelite train models/cifar10_bn.prototxt")
    assert tests.endswith(" && .venv/bin/pytest")
    assert (ROOT / "models" / "cifar10_bn.prototxt").is_file()


@pytest.mark.parametrize("command", COMMANDS)
def test_they_install_into_an_environment_of_their_own(command: str) -> None:
    make, install, use = (shlex.split(part) for part in command.split(" && "))
    assert make == ["python3", "-m", "venv", ".venv"]
    assert install[:2] == [".venv/bin/pip", "install"] and use[0].startswith(".venv/bin/")
    # A shell such as zsh reads brackets outside of quotes as a pattern.
    assert all(f'"{word}"' in command for word in install if "[" in word)


def test_ci_takes_them_from_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    taken = re.findall(r"^(?:main|tests)=.*\n", script, re.MULTILINE)
    program = "".join(taken) + 'printf "%s\\n" "$main" "$tests" "${main% && *}"'
    done = subprocess.run(["bash", "-eu", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    main, tests = COMMANDS
    assert done.stdout.splitlines() == [main, tests, main.rpartition(" && ")[0]]
    assert 'bash -c "${main% && *}"\n' in script and 'bash -c "$tests"\n' in script


def test_nothing_is_installed_into_the_systems_python() -> None:
    assert not re.search(r"(?<![\w/])pip install", README)
    assert "| set up | `python3 -m venv .venv && . .venv/bin/activate && pip " in (ROOT / "CONTRIBUTING.md").read_text()
