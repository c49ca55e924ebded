"""Mutated example files are read, or refused by errors of ours; nothing else comes out, and nothing takes long."""

import random
import re
import warnings
from pathlib import Path

import pytest

from caffelite.draw.boxes import build
from caffelite.draw.diagram import dot
from caffelite.errors import Error
from caffelite.layers.contract.context import Context
from caffelite.net.graph import Graph
from caffelite.net.parameters import parameters_of
from caffelite.schema.documents import NetDocument
from caffelite.schema.text import read_prototxt
from caffelite.words import TEST, TRAIN

TESTS = Path(__file__).parent.parent
#: The example nets and solvers, and the nets that hold layers against differences: those need no data.
EXAMPLES = [
    *sorted((TESTS.parent / "models").glob("*.prototxt")),
    *sorted((TESTS / "layers" / "nets").glob("*.prototxt")),
]
NUMBERS = "0 -1 1 31 1000000 2000000000 2147483647 -2147483648 4294967295 1e30 -inf nan 0.5 017 0xFFFF".split()
PIECES = [
    "{",
    "}",
    "[",
    "]",
    '"',
    "'",
    "\\",
    ":",
    "#",
    "\n",
    "\0",
    "é",
    "layer {",
    "layers {",
    "<",
    ">",
    "-",
    "top: 'x'",
]


def mutated(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 4)):
        a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        b = min(b, a + rng.choice((1, 10, 300)))
        kind = rng.randrange(6)
        if kind < 2:
            numbers = list(re.finditer(r"(?<=: )[\d.e-]+", text))
            if numbers:
                a, b = rng.choice(numbers).span()
            text = text[:a] + rng.choice(NUMBERS) + text[b:]
        elif kind == 2:
            text = text[:a] + text[b:]
        elif kind == 3:
            c = rng.randrange(len(text) + 1)
            text = text[:c] + text[a:b] + text[c:]
        elif kind == 4:
            text = text[:a] + rng.choice(PIECES) + text[a:]
        else:
            words = re.findall(r"\w+", text) or [""]
            text = text[:a] + rng.choice(words) + text[b:]
    return text


@pytest.mark.parametrize("part", range(4))
def test_mutated_examples(tmp_path: Path, part: int) -> None:
    file = tmp_path / "mutated.prototxt"
    refused = 0
    for seed in range(60 * part, 60 * part + 60):
        rng = random.Random(seed)
        file.write_text(mutated(rng.choice(EXAMPLES).read_text(), rng))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                document = read_prototxt(file)
                if isinstance(document, NetDocument):
                    dot(build(document))
                    for phase in (TRAIN, TEST):
                        graph = Graph(document, Context(phase, home=tmp_path))
                        graph.infer_shapes()
                        for node in graph.nodes:
                            parameters_of(node)
        except Error as error:
            refused += 1
            assert str(error).startswith(str(file)), (seed, error)
    assert 10 < refused < 60
