"""How long layers took: what ``caffelite time --json`` measured."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caffelite.errors import Error
from caffelite.schema.documents import NetDocument
from caffelite.words import quoted


@dataclass(frozen=True, slots=True)
class LayerShare:
    """What a layer took.

    Attributes
    ----------
    milliseconds : float
        Forward and backward; of layers that run as one, the first has it all.
    share : float
        Of the time of all layers, from 0 to 1.
    together : str
        The layers that ran as one with it; of all but the first, the first.
    """

    milliseconds: float
    share: float
    together: str = ""

    def text(self) -> str:
        """Return it in words."""
        if self.together and not self.milliseconds:
            return f"timed with {self.together}"
        alone = f"{self.milliseconds:.3g} ms, {100 * self.share:.1f}% of the time"
        return f"{alone}, with {self.together}" if self.together else alone


def read_times(path: str | Path, document: NetDocument) -> dict[int, LayerShare]:
    """Return what layers of a net took, by their number in it.

    Raises
    ------
    Error
        The file cannot be read, is not what ``caffelite time --json`` writes, or is about none of these layers.
    """
    rows = _rows(path)
    numbers: dict[str, list[int]] = {}
    for i, layer in enumerate(document.message.layer):
        numbers.setdefault(layer.name, []).append(i)
    total = sum(milliseconds for _, milliseconds in rows) or 1.0
    times: dict[int, LayerShare] = {}
    for joined, milliseconds in rows:
        unit = _separate(joined, numbers)
        for name in unit:
            if name == unit[0]:
                others = LayerShare(milliseconds, milliseconds / total, ", ".join(unit[1:]))
            else:
                others = LayerShare(0.0, 0.0, unit[0])
            times |= dict.fromkeys(numbers[name], others)
    if not times:
        raise Error(f"{path}: none of the layers that were timed is in {document.filename}")
    return times


def _rows(path: str | Path) -> list[tuple[str, float]]:
    """Return the names and the milliseconds of what ran as one."""
    try:
        measured: Any = json.loads(Path(path).read_text("utf-8"))
        rows = [(str(row["layer"]), float(row["forward"] + row["backward"])) for row in measured["layers"]]
    except OSError as error:
        raise Error(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Error(f"{path}: expected what {quoted('caffelite time --json')} writes") from None
    if any(not 0 <= milliseconds < float("inf") for _, milliseconds in rows):
        raise Error(f"{path}: a time is not a number of milliseconds")
    return rows


def _separate(joined: str, known: dict[str, list[int]]) -> list[str]:
    """Return the names that ``+`` joins; a name may have one in it. Names that are not known are left out."""
    parts = joined.split("+")
    names: list[str] = []
    begin = 0
    while begin < len(parts):
        end = next((e for e in range(len(parts), begin, -1) if "+".join(parts[begin:e]) in known), None)
        if end is not None:
            names.append("+".join(parts[begin:end]))
        begin = end or begin + 1
    return names
