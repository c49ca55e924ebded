"""Nets written in Python: ``n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20)``, then ``n.to_proto()``.

``layers`` (scripts say ``L``) has a function for every type of layer, ``params`` (``P``) the values of enums:
``P.Pooling.MAX``. A keyword is a field of the message that is named for the type (``ConvolutionParameter`` for
Convolution), or of the layer: ``loss_weight=2``, ``include=dict(phase=caffe.TEST)``. Messages are those of
``caffe.proto.caffe_pb2``: caffelite's own, with the fields of all forks, or one fork's.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from caffelite.layers.contract.registry import registry
from caffelite.pycaffe import proto
from caffelite.schema.assignment import assign, near_field, no_field
from caffelite.words import did_you_mean, quoted


class Top:
    """A blob that a layer makes.

    Attributes
    ----------
    fn : Function
        The layer.
    n : int
        Which of its tops.
    """

    def __init__(self, fn: "Function", n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> Any:
        """Return a NetParameter with the layers that it takes to compute this blob."""
        return to_proto(self)


class Function:
    """A layer, its settings and the blobs that it reads.

    Attributes
    ----------
    type_name : str
    inputs : tuple of Top
    params : dict
        The settings as they were given, without ``ntop`` and ``in_place``.
    ntop : int
    in_place : bool
        Its tops are its bottoms.
    tops : tuple of Top
    """

    def __init__(self, type_name: str, inputs: Iterable[Top], params: dict[str, Any]) -> None:
        self.type_name = type_name
        self.inputs = tuple(inputs)
        for index, bottom in enumerate(self.inputs):
            if not isinstance(bottom, Top):
                # In Caffe's words, which scripts look for.
                raise TypeError(f"{type_name} input {index} is not a Top (type is {type(bottom)})")
        self.params = params
        self.ntop: int = params.pop("ntop", 1)
        self.in_place: bool = params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))


class NetSpec:
    """A net whose blobs have the names that they are assigned to: ``n.conv1 = …``, or ``n["conv1"] = …``.

    A layer has the name of its first top; one without tops has the name that it is assigned to.

    Attributes
    ----------
    tops : dict of str to Top or Function
        In the order of assignment, which is that of the layers.
    """

    tops: dict[str, Any]

    def __init__(self) -> None:
        super().__setattr__("tops", {})

    def __setattr__(self, name: str, value: Any) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        # What Python itself asks for, as copy does before there are tops.
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self.tops:
            raise UnknownTop(f"the net has no top {quoted(name)}{did_you_mean(name, self.tops)}")
        return self.tops[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.tops[name] = value

    def __getitem__(self, name: str) -> Any:
        return self.__getattr__(name)

    def __delitem__(self, name: str) -> None:
        del self.tops[name]

    # These three are SSD's.
    def keys(self) -> list[str]:
        """Return the names of the tops, in order."""
        return list(self.tops)

    def vals(self) -> list[Any]:
        """Return the tops, in order."""
        return list(self.tops.values())

    def update(self, name: str, params: Mapping[str, Any]) -> None:
        """Change settings of the layer that makes the top ``name``."""
        _layer_of(self[name]).params.update(params)

    def to_proto(self) -> Any:
        """Return a NetParameter with the layers that it takes to compute all tops, under the names given here."""
        return _net(self.tops.values(), {top: name for name, top in self.tops.items()})


class UnknownTop(KeyError, AttributeError):
    """A net has no top of this name: a KeyError as in Caffe, and what ``hasattr`` looks for."""

    def __str__(self) -> str:
        return str(self.args[0])


class Layers:
    """``layers``: a function for each type of layer, whether or not the type is known.

    It takes Tops and settings, and returns a Top, a tuple of ``ntop`` Tops, or for ``ntop=0`` the Function.
    """

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def layer(*inputs: Top, **params: Any) -> Any:
            fn = Function(name, inputs, params)
            if fn.ntop == 0:
                return fn
            return fn.tops[0] if fn.ntop == 1 else fn.tops

        return layer


class Parameters:
    """``params``: the values of enums, by their message: ``params.Pooling.MAX`` is ``PoolingParameter.MAX``."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        message = f"{name}Parameter"
        if not hasattr(proto.caffe_pb2, message):
            messages = proto.caffe_pb2.DESCRIPTOR.message_types_by_name
            known = [known.removesuffix("Parameter") for known in messages]
            raise AttributeError(f"there is no message {quoted(message)}{did_you_mean(name, known)}")
        return _EnumValues(getattr(proto.caffe_pb2, message))


class _EnumValues:
    """The values of a message's enums."""

    def __init__(self, message: Any) -> None:
        self._message = message

    def __getattr__(self, name: str) -> Any:
        if not hasattr(self._message, name):
            descriptor = self._message.DESCRIPTOR
            near = did_you_mean(name, descriptor.enum_values_by_name)
            raise AttributeError(f"{descriptor.name} has no value {quoted(name)}{near}")
        return getattr(self._message, name)


layers = Layers()
params = Parameters()


def to_proto(*tops: Top | Function) -> Any:
    """Return a NetParameter with the layers that it takes to compute ``tops``, named by type and number."""
    return _net(tops, {})


def _net(tops: Iterable[Top | Function], names: dict[Any, str]) -> Any:
    """Return the net that computes ``tops``, whose ``names`` are given for some of them."""
    net = proto.caffe_pb2.NetParameter()
    written: dict[Function, Any] = {}
    named = _Names(names)
    for top in tops:
        for fn in _in_order(_layer_of(top), written):
            written[fn] = net.layer.add()
            _write_layer(fn, written, named)
    return net


class _Names:
    """Names of tops and layers: those that are given, for others the type and a number."""

    def __init__(self, given: dict[Any, str]) -> None:
        self._names = given
        self._numbers: Counter[str] = Counter()

    def of(self, what: Top | Function, type_name: str) -> str:
        if what not in self._names:
            self._numbers[type_name] += 1
            self._names[what] = f"{type_name}{self._numbers[type_name]}"
        return self._names[what]


def _layer_of(top: Any) -> Function:
    if isinstance(top, Function):
        return top
    if not isinstance(top, Top):
        raise TypeError(f"a net is made of Tops, not of {type(top).__name__}")
    return top.fn


def _in_order(last: Function, done: Mapping[Function, Any]) -> Iterable[Function]:
    """Yield ``last`` and what it reads that is not ``done``, each after what it reads itself."""
    # Without recursion, of which Python allows less than some nets are deep.
    waiting = [(last, iter(last.inputs))]
    entered = {last}
    while waiting:
        fn, inputs = waiting[-1]
        bottom = next(inputs, None)
        if bottom is None:
            waiting.pop()
            if fn not in done:
                yield fn
        elif bottom.fn not in done and bottom.fn not in entered:
            entered.add(bottom.fn)
            waiting.append((bottom.fn, iter(bottom.fn.inputs)))


def _write_layer(fn: Function, written: Mapping[Function, Any], names: _Names) -> None:
    layer = written[fn]
    layer.type = fn.type_name
    layer.bottom.extend(written[bottom.fn].top[bottom.n] for bottom in fn.inputs)
    layer.top.extend(layer.bottom if fn.in_place else [names.of(top, fn.type_name) for top in fn.tops])
    layer.name = names.of(fn.tops[0] if fn.tops else fn, fn.type_name)
    own = _own_settings(layer, fn.type_name)
    for key, value in fn.params.items():
        path = f"L.{fn.type_name}: {key}"
        on_layer = key in layer.DESCRIPTOR.fields_by_name
        if own is not None and key in own.message_type.fields_by_name and not (on_layer and key.endswith("param")):
            assign(getattr(layer, own.name), key, value, path)
        elif on_layer:
            assign(layer, key, value, path)
        else:
            messages = [layer.DESCRIPTOR] if own is None else [own.message_type, layer.DESCRIPTOR]
            near = _in_another_message(key, layer, fn.type_name) or near_field(key, *messages)
            raise AttributeError(f"L.{fn.type_name}: {no_field(key, *messages)}{near}")


def _own_settings(layer: Any, type_name: str) -> Any:
    """Return the field of a layer with the message that is named for the type, None where there is none."""
    name = f"{type_name}Parameter"
    fields = (f for f in layer.DESCRIPTOR.fields if f.name.endswith("_param") and f.message_type is not None)
    return next((field for field in fields if field.message_type.name == name), None)


def _in_another_message(name: str, layer: Any, type_name: str) -> str:
    """Return how a setting is written that the type reads from a message with another name, as Deconvolution does."""
    known = registry().get(type_name)
    for message in known.facts.settings if known else ():
        field = layer.DESCRIPTOR.fields_by_name.get(message)
        if field is not None and name in field.message_type.fields_by_name:
            return f"; write {message}=dict({name}=...)"
    return ""
