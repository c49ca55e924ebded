"""A megabyte of anything is read, or refused in a sentence, in time and memory that are linear in its size."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from caffelite.schema.text import net_from_text

SIZE = 1 << 20


def filled(begin: str, part: str, end: str = "") -> str:
    return begin + part * (SIZE // len(part.encode())) + end


def numbered(begin: str, part: str, end: str = "") -> str:
    size = len(part.format(0).encode()) + 4
    return begin + "".join(part.format(i) for i in range(SIZE // size)) + end


TEXTS = {
    "digits": filled("", "1"),
    "digits of an integer": filled("input_dim: ", "1"),
    "digits and a letter": filled("input_dim: ", "1", "x"),
    "digits of an enum": filled("layer { phase: ", "1", " }"),
    "letters of an enum": filled("layer { phase: ", "A", " }"),
    "digits of a float": filled("layer { loss_weight: ", "1", " }"),
    "digits and a dot": filled("layer { loss_weight: 1.", "1", "x }"),
    "digits of an exponent": filled("layer { loss_weight: 1e", "1", "x }"),
    "hexadecimal": filled("input_dim: 0x", "F"),
    "octal": filled("input_dim: 0", "7"),
    "hexadecimal float": filled("layer { loss_weight: 0x", "F", " }"),
    "octal float": filled("layer { loss_weight: 0", "7", " }"),
    "a string": filled('name: "', "a", '"'),
    "a string of two bytes": filled('name: "', "é", '"'),
    "escapes": filled('name: "', r"\n", '"'),
    "escapes of characters": filled('name: "', r"\u00e9", '"'),
    "escaped quotes": filled('name: "', r"\"", '"'),
    "a string that is open": filled('name: "', "a"),
    "escapes that are open": filled('name: "', r"\n"),
    "quotes": filled("", '"'),
    "strings": filled("name: ", '"a" '),
    "braces": filled("", "{"),
    "layers in layers": filled("", "layer {"),
    "messages in messages": filled("", "layer { moe_param { gating_net { "),
    "unknown braces": filled("x ", "{"),
    "unknown brackets": filled("x: ", "["),
    "unknown braces that close": "x " + (SIZE // 2) * "{" + (SIZE // 2) * "}" + " layer { }",
    "comments": filled("", "#\n"),
    "blanks": filled("", " "),
    "newlines": filled("", "\n"),
    "commas": filled("", ","),
    "signs": filled("input_dim: ", "-"),
    "short fields": filled("", "input_dim:1 "),
    "a list": filled("input_dim: [", "1,", "1]"),
    "a list of strings": filled('layer { top: ["', '","', '"] }'),
    "empty lists": filled("", "input_dim:[]"),
    "unknown fields": filled("", "a:1 "),
    "unknown messages": filled("", "a{}"),
    "unknown names": numbered("", "a{:x}:1 "),
    "unknown long names": numbered("", "k" * 200 + "{:d}:1 "),
    "an unknown name": filled("", "n", ": 1"),
    "names": filled("", "abc "),
    "a field again": filled('name: "a"', ' name: "a"'),
    "parameters": filled("layer {", "param{}", "}"),
    "values": filled("layer { blobs { data: [", "0,", "0] } }"),
    "numbers of iterations": filled("base_lr: 1 ", "test_iter: 1 "),
    "devices": filled("", "device_id: 1 "),
    "NULs": filled("", "\0"),
    "NULs in a string": filled('name: "', "\0", '"'),
    "emoji": filled("", "\U0001f600"),
}
#: A message of a layer takes 1.8 kB of protobuf's, whatever is in it, so there is a limit to their number.
LAYERS = {
    "empty layers": filled("", "layer{}"),
    "old layers": filled("", 'layers{layer{type:"relu"}}'),
    "layers with unknown fields": filled("", "layer{a:1}"),
}


@pytest.fixture(scope="module")
def peak_of_reading() -> Iterator[Callable[[Path], int]]:
    """Give what returns how much memory reading a file takes at most, and fails where it raises anything but ours."""
    program = [sys.executable, str(Path(__file__).parent.parent / "hostile_reader.py")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(program, stdin=PIPE, stdout=PIPE, text=True, env=environment) as reader:
        assert reader.stdin and reader.stdout

        def peak(path: Path) -> int:
            print(path, file=reader.stdin, flush=True)
            status, taken = map(int, reader.stdout.readline().split())
            how = "another error than ours" if os.WIFEXITED(status) else f"ended by signal {os.WTERMSIG(status)}"
            assert status == 0, how
            return taken

        yield peak
        reader.stdin.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the unit of ru_maxrss is that of Linux")
@pytest.mark.parametrize("name", [*TEXTS, *LAYERS])
def test_a_megabyte_of_anything(tmp_path: Path, name: str, peak_of_reading: Callable[[Path], int]) -> None:
    (tmp_path / "small").write_text('layer { name: "x" }')
    file = tmp_path / "net.prototxt"
    file.write_bytes({**TEXTS, **LAYERS}[name].encode())
    taken = peak_of_reading(file) - peak_of_reading(tmp_path / "small")
    assert taken < (70 if name in LAYERS else 20) * SIZE


def test_unknown_fields_are_told_up_to_a_number() -> None:
    with pytest.warns() as told:
        document = net_from_text(1000 * "layer { spin: 1 }\n", "n")
    assert len(told) == 201
    assert str(told[-1].message) == "n: 800 more fields that are none of Caffe's are left as they are"
    assert len(document.unknown) == 1000
