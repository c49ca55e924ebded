"""What a diagram tells of a layer that has no words of its own for it: the plain settings of its prototxt."""

from collections.abc import Container, Iterator

from google.protobuf.descriptor import FieldDescriptor

from caffelite.schema.messages import LayerParameter, Message

#: Types whose values are whole numbers in Python, but none in a prototxt.
_NO_NUMBERS = (FieldDescriptor.CPPTYPE_ENUM, FieldDescriptor.CPPTYPE_BOOL)
#: How many settings of a message, and how many values of one, are worth a line.
_MOST_SETTINGS, _MOST_VALUES = 5, 4


def plain_summary(param: LayerParameter, messages: Container[str] | None = None) -> list[str]:
    """Return the settings of these messages that were set, on a line, and the loss weights, on one each.

    Parameters
    ----------
    param : LayerParameter
    messages : container of str, optional
        The names of the messages to read; all by default. How images are prepared (``transform_param``) is never told.
    """
    settings: list[str] = []
    for descriptor, message in param.ListFields():
        name = descriptor.name
        if name.endswith("_param") and name != "transform_param" and (messages is None or name in messages):
            settings += _told(message)
    weights = [f"loss weight {weight:g}" for weight in param.loss_weight if weight != 1]
    return ([", ".join(settings)] if settings else []) + weights


def settings_of(message: Message) -> Iterator[tuple[str, int]]:
    """Yield name and value of each whole number that was set in a message and in the messages in it."""
    for descriptor, value in message.ListFields():
        repeated = hasattr(value, "append") or hasattr(value, "add")
        for one in value if repeated else [value]:
            if descriptor.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
                yield from settings_of(one)
            elif isinstance(one, int) and descriptor.cpp_type not in _NO_NUMBERS:
                yield descriptor.name, one


def _told(message: Message) -> list[str]:
    """Return the plain settings of a message that were set, a few of them."""
    text = []
    for descriptor, value in message.ListFields():
        if descriptor.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            continue
        values = list(value) if hasattr(value, "append") else [value]
        if descriptor.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
            values = [descriptor.enum_type.values_by_number[v].name for v in values]
        shown = ", ".join(
            f"{v:g}" if isinstance(v, float) else str(v).lower() if isinstance(v, bool) else str(v)
            for v in values[:_MOST_VALUES]
        )
        text.append(f"{descriptor.name} {shown}{' …' if len(values) > _MOST_VALUES else ''}")
    return text[:_MOST_SETTINGS]
