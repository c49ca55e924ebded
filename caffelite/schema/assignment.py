"""Python's values as fields of a message: numbers, texts, dicts, and lists of them."""

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from caffelite.schema.conversion import convert_message
from caffelite.schema.messages import Message
from caffelite.schema.names import slips_of
from caffelite.schema.parser import is_repeated
from caffelite.words import did_you_mean, quoted

_WHOLE_NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}


def assign(message: Any, name: str, value: Any, path: str) -> None:
    """Set a field of a message.

    Parameters
    ----------
    message : protobuf message
    name : str
        Of the field.
    value : number, str, bytes, mapping, message, or an iterable of these
        A mapping is a message. A repeated field takes one value as well, an enum the name of its value.
    path : str
        What the field is called in errors.

    Raises
    ------
    AttributeError
        The message, or one in it, has no such field.
    TypeError, ValueError
        The field does not take this value.
    """
    field = message.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        raise AttributeError(f"{path}: {no_field(name, message.DESCRIPTOR)}{near_field(name, message.DESCRIPTOR)}")
    if is_repeated(field):
        values = [value] if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable) else value
        for index, item in enumerate(values):
            _assign_one(message, field, item, f"{path}[{index}]")
    else:
        _assign_one(message, field, value, path)


def _assign_one(message: Any, field: Any, value: Any, path: str) -> None:
    into = getattr(message, field.name)
    if field.message_type is not None:
        one = into.add() if is_repeated(field) else into
        if isinstance(value, Mapping):
            for key, item in value.items():
                assign(one, key, item, f"{path}.{key}")
        elif isinstance(value, Message):
            one.CopyFrom(convert_message(value, type(one)))
        else:
            raise TypeError(f"{path}: {field.message_type.name} is written as a dict, not as {value!r}")
        return
    if field.cpp_type in _WHOLE_NUMBERS and isinstance(value, Real) and not isinstance(value, Integral):
        # What Python 3 makes of (kernel_size - 1) / 2, in scripts from before it.
        if not float(value).is_integer():
            raise TypeError(f"{path}: {value} is no whole number (what / gives in Python 2 is // in Python 3)")
        value = int(float(value))
    try:
        if is_repeated(field):
            into.append(value)
        else:
            setattr(message, field.name, value)
    except TypeError as error:
        raise TypeError(f"{path}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def no_field(name: str, *messages: Any) -> str:
    """Say that none of the messages (descriptors) has a field of this name."""
    names = [message.name for message in messages]
    return f"{' and '.join(names)} {'has' if len(names) == 1 else 'have'} no field {quoted(name)}"


def near_field(name: str, *messages: Any) -> str:
    """Return the end of that sentence: which field may have been meant."""
    known = [field for message in messages for field in message.fields_by_name]
    return did_you_mean(name, known, find=slips_of) or did_you_mean(name, known)
