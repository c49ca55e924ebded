"""Messages that know where each part of them stands in its file."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from caffelite.schema import messages
from caffelite.schema.places import FieldPath, Places

_Message = TypeVar("_Message", bound=messages.Message)


class SchemaWarning(UserWarning):
    """Something in a file that caffelite does not know and leaves as it is."""


@dataclass(slots=True)
class Document(Generic[_Message]):
    """A message and where each part of it stands in its file.

    Attributes
    ----------
    message : protobuf message
    filename : str
        As given; for a message made in Python, what it is called in errors.
    places : Places
        Line and column of every value that was written.
    unknown : dict
        The text of fields that no schema has, by the message they stand in.
    """

    message: _Message
    filename: str
    places: Places = field(default_factory=Places)
    unknown: dict[FieldPath, list[str]] = field(default_factory=dict)

    def place_of(self, path: FieldPath) -> str:
        """Return ``file:line:column`` of a value, or of the nearest message around it."""
        return self._written(self.places.nearest(path))

    def setting(self, name: str, index: int | None = None) -> str:
        """Return the place of a field of the outermost message."""
        return self.place_of((name, index or 0))

    def _written(self, place: tuple[int, int] | None) -> str:
        return self.filename if place is None else f"{self.filename}:{place[0]}:{place[1]}"


@dataclass(slots=True)
class NetDocument(Document[messages.NetParameter]):
    """A net, upgraded to the present form.

    Attributes
    ----------
    origins : list
        For each layer of the message, where it came from in the file.
    """

    origins: list[FieldPath] = field(default_factory=list)

    def place(self, layer: int, setting: str | None = None, index: int | None = None) -> str:
        """Return ``file:line:column`` of a layer, or of the ``index``-th value of one of its settings.

        The setting is looked for in the layer itself, then in the messages in it.
        """
        origin = self.origins[layer] if layer < len(self.origins) else ("layer", layer)
        if setting is not None:
            place = self.places.within(origin, setting, index or 0)
            if place is not None:
                return self._written(place)
        return self.place_of(origin)


#: A solver, upgraded to the present form.
SolverDocument = Document[messages.SolverParameter]
