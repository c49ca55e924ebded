"""The tables of what other programs take, from the JSON files beside this one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePath
from typing import Any

from caffelite.errors import NetError
from caffelite.words import did_you_mean, quoted

#: Programs of which no public list was found, and what tells more.
WITHOUT_TABLE = {
    "nnie": "no public list of what HiSilicon's nnie_mapper takes was found; it checks a prototxt itself where its "
    "configuration says [is_check_prototxt] 1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a program asks of a setting; one of ``only`` … ``required`` is given.

    Attributes
    ----------
    types : list of str
        The layers whose setting it is.
    setting : str
        The path of its field: ``pooling_param.pool``.
    why : str
        What becomes of another value.
    source : str
        Where that is said; empty: where the types are.
    only : list
        The values that are taken; of an enum their names. A setting that is not given has its default.
    first : int
        What the first of several values is.
    min, max : int
        The least and the largest that each given value may be.
    most : int
        How many values there may be.
    absent, required : bool
        It may not be given, it has to be.
    """

    types: Sequence[str]
    setting: str
    why: str
    source: str = ""
    only: Sequence[Any] | None = None
    first: int | None = None
    min: int | None = None
    max: int | None = None
    most: int | None = None
    absent: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a program takes.

    Attributes
    ----------
    program : str
        Its name and, where its list has one, its version.
    source : str
        Where that stands: a public repository, a commit of it, a file.
    types : frozenset of str
        The types of layers that it takes.
    refused : mapping of str to str
        Why it does not take others; what is in neither is not in its list.
    limits : list of Limit
    old_form : str
        Why a file of the form V0 or V1 is to be upgraded.
    outside_inputs : str, optional
        Why inputs that stand outside any layer are not taken; empty: they are, or it is not known.
    every_phase : bool, optional
        It reads the layers of every phase, whatever their ``include`` says.
    """

    program: str
    source: str
    types: frozenset[str]
    refused: Mapping[str, str]
    limits: Sequence[Limit]
    old_form: str
    outside_inputs: str = ""
    every_phase: bool = False


@cache
def targets() -> dict[str, Target]:
    """Return what is known of each program, by its short name."""
    tables = (file for file in files(__package__).iterdir() if file.name.endswith(".json"))
    return {PurePath(file.name).stem: _target(json.loads(file.read_bytes())) for file in sorted(tables, key=str)}


def target_named(name: str) -> Target:
    """Return what is known of a program.

    Raises
    ------
    NetError
        There is no table of this name; names the nearest one, or says what to do without.
    """
    if name in WITHOUT_TABLE:
        raise NetError(f"there is no table for {quoted(name)}: {WITHOUT_TABLE[name]}")
    if name not in targets():
        hint = did_you_mean(name, targets(), f"there are {', '.join(targets())}")
        raise NetError(f"what {quoted(name)} takes is not known here{hint}")
    return targets()[name]


def _target(table: dict[str, Any]) -> Target:
    limits = [Limit(**limit) for limit in table.pop("limits")]
    return Target(types=frozenset(table.pop("types")), limits=limits, **table)
