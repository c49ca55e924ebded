"""What processes compare before they train together: that it is the same."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

import numpy as np

from caffelite import __version__
from caffelite.errors import ParallelError
from caffelite.layers.contract.group import Group
from caffelite.schema.documents import SolverDocument
from caffelite.solvers.solver import Solver
from caffelite.solvers.sources import NetSource

_LENGTH = 48
#: So many ranks are named where a sentence is for people.
_MOST_RANKS = 8


def digest(parts: Iterable[bytes | np.ndarray]) -> str:
    """Return what stands for bytes and arrays where they are compared, as text."""
    hashed = blake2b(digest_size=6)
    for part in parts:
        data = np.ascontiguousarray(part).reshape(-1).view(np.uint8).data if isinstance(part, np.ndarray) else part
        hashed.update(len(data).to_bytes(8, "little"))
        hashed.update(data)
    return hashed.hexdigest()


def facts_of_files(solver: SolverDocument, nets: Sequence[NetSource], options: str) -> dict[str, str]:
    """Return what processes compare before they build anything: the program, and what it has read.

    Parameters
    ----------
    solver : SolverDocument
    nets : sequence of NetSource
        That it trains and tests.
    options : str
        Those of the command line that are to be the same.
    """
    states = [f"{net.phase} {net.level} {net.stages}".encode() for net in nets]
    return {
        "version of caffelite": __version__,
        "solver": digest([solver.message.SerializeToString(deterministic=True)]),
        "net": digest([*(net.document.message.SerializeToString(deterministic=True) for net in nets), *states]),
        "options": options,
    }


def facts_of_run(solver: Solver) -> dict[str, str]:
    """Return what processes compare before the first iteration: what they begin with, and the data.

    Of data it is the number of records and what a layer takes for a sample of them: reading all would take too long.
    """
    nets = [solver.net, *solver.test_nets]
    sources = [layer for net in nets for layer in net.layers if layer.facts.source]
    blobs = (blob.data for layers in solver.net.params.values() for blob in layers)
    return {
        "iteration": str(solver.iteration),
        "weights": digest(blobs),
        "state of the solver": digest(solver.rule.history),
        "number of records": ", ".join(str(getattr(layer, "epoch_size", 0)) for layer in sources),
        "data": digest(layer.sample() for layer in sources if hasattr(layer, "sample")),
    }


def check_same(group: Group, facts: Mapping[str, str]) -> None:
    """Check that all processes have the same facts.

    Parameters
    ----------
    group : Group
    facts : mapping of str to str
        What they are of, in words, and what they are: short texts; the same words on all processes.

    Raises
    ------
    ParallelError
        On every process: some differ. Names them and the ranks.
    """
    # All processes get the rows of all by a sum of rows of which each but their own is zero.
    table = np.zeros((group.size, len(facts), _LENGTH))
    for i, text in enumerate(facts.values()):
        data = text.encode()
        data = data if len(data) <= _LENGTH else digest([data]).encode()
        table[group.rank, i, : len(data)] = np.frombuffer(data, np.uint8)
    group.sum(table)
    different = []
    for i, name in enumerate(facts):
        ranks: dict[str, list[int]] = {}
        for rank, row in enumerate(table[:, i].astype(np.uint8)):
            ranks.setdefault(row.tobytes().rstrip(b"\0").decode(errors="replace"), []).append(rank)
        if len(ranks) > 1:
            different.append(f"{name}: " + ", ".join(f"{text} on {_listed(of)}" for text, of in ranks.items()))
    if different:
        raise ParallelError(
            "processes that train together must do the same, but these differ in the " + "; ".join(different)
        )


def _listed(ranks: list[int]) -> str:
    shown = " and ".join(map(str, ranks[:_MOST_RANKS])) + (" and more" if len(ranks) > _MOST_RANKS else "")
    return f"process{'es' if len(ranks) > 1 else ''} {shown}"
