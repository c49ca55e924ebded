"""A message as one of another schema, by the names of its fields."""

from collections.abc import Sequence
from typing import Any

from caffelite.errors import SchemaError
from caffelite.schema.parser import is_repeated
from caffelite.words import did_you_mean, quoted


def convert_message(message: Any, to: type[Any]) -> Any:
    """Return a message as one of another schema by the names of fields: caffelite's own, a fork's, any ``caffe_pb2``'s.

    Values of enums keep their names, too. What the schema of ``message`` does not know of a binary file is left out.

    Parameters
    ----------
    message : protobuf message
    to : class of protobuf message
        Such as ``caffelite.fork_pb2("ssd").NetParameter``.

    Raises
    ------
    SchemaError
        The other schema has no such field, no such value of an enum, or holds something else in it.
    """
    made = to()
    _fill(made, message, "")
    return made


def _fill(target: Any, source: Any, path: str) -> None:
    if target.DESCRIPTOR is source.DESCRIPTOR:
        target.CopyFrom(source)
        return
    for field, value in source.ListFields():
        here = f"{path}.{field.name}" if path else field.name
        into = target.DESCRIPTOR.fields_by_name.get(field.name)
        if into is None:
            known = target.DESCRIPTOR.fields_by_name
            raise SchemaError(
                f"{here}: {target.DESCRIPTOR.name} of the other schema has no field {quoted(field.name)}"
                f"{did_you_mean(field.name, known)}"
            )
        # The values of a blob are not copied once more.
        values = value if is_repeated(field) else [value]
        if not is_repeated(into) and len(values) > 1:
            raise SchemaError(f"{here}: it has {len(values)} values, and the other schema takes one")
        if (field.message_type is None) != (into.message_type is None):
            raise SchemaError(f"{here}: one of the two schemas has a message there, the other a value")
        if into.message_type is None:
            if field.enum_type is not None and into.enum_type is not None:
                values = [_same_value(item, field, into, here) for item in values]
            _set_values(target, into, values, here)
        elif is_repeated(into):
            for index, item in enumerate(values):
                _fill(getattr(target, into.name).add(), item, f"{here}[{index}]")
        else:
            getattr(target, into.name).SetInParent()
            _fill(getattr(target, into.name), values[0], here)


def _set_values(target: Any, into: Any, values: Sequence[Any], path: str) -> None:
    try:
        if is_repeated(into):
            getattr(target, into.name).extend(values)
        else:
            setattr(target, into.name, values[0])
    except (TypeError, ValueError):
        raise SchemaError(f"{path}: the other schema cannot hold {values[0]!r} there") from None


def _same_value(value: int, field: Any, into: Any, path: str) -> Any:
    name = field.enum_type.values_by_number[value].name
    known = into.enum_type.values_by_name
    if name not in known:
        raise SchemaError(f"{path}: the other schema has no value {quoted(name)}{did_you_mean(name, known)}")
    return known[name].number
