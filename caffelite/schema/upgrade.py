"""Old forms of nets and solvers, brought to the present one by Caffe's rules.

Three generations are read: V0 (``layers { layer { type: "conv" } }``), V1 (``layers { type: CONVOLUTION }``) and V2
(``layer { type: "Convolution" }``), and nets that declare their inputs outside any layer.
"""

import warnings
from typing import Any, NoReturn

from caffelite.errors import SchemaError
from caffelite.schema import messages
from caffelite.schema.documents import Document, NetDocument, SchemaWarning, SolverDocument
from caffelite.schema.places import FieldPath
from caffelite.words import SOLVER_TYPES

#: V1 names that are not simply the words run together.
_V1_TYPES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
    "CONVOLUTION3D": "Convolution3D",
    "DECONVOLUTION3D": "Deconvolution3D",
    "POOLING3D": "Pooling3D",
    "BN": "BN",
    "RELU6": "ReLU6",
    "ROIPOOLING": "ROIPooling",
    "SELU": "SeLu",
    "SELU_DROPOUT": "SeLuDropout",
    "MCWINDOW_DATA": "MCWindowData",
    "NAMCWINDOW_DATA": "NAMCWindowData",
}
_V0_TYPES = {
    "accuracy": "Accuracy",
    "bnll": "BNLL",
    "concat": "Concat",
    "conv": "Convolution",
    "data": "Data",
    "dropout": "Dropout",
    "euclidean_loss": "EuclideanLoss",
    "flatten": "Flatten",
    "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output",
    "im2col": "Im2col",
    "images": "ImageData",
    "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MultinomialLogisticLoss",
    "pool": "Pooling",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "softmax_loss": "SoftmaxWithLoss",
    "split": "Split",
    "tanh": "TanH",
    "window_data": "WindowData",
}
#: For each V0 type, the message its settings move to.
_V0_MESSAGES = {
    "conv": "convolution_param",
    "pool": "pooling_param",
    "innerproduct": "inner_product_param",
    "lrn": "lrn_param",
    "dropout": "dropout_param",
    "data": "data_param",
    "hdf5_data": "hdf5_data_param",
    "images": "image_data_param",
    "window_data": "window_data_param",
    "infogain_loss": "infogain_loss_param",
    "concat": "concat_param",
    "hdf5_output": "hdf5_output_param",
}
#: V0 settings whose name changed.
_V0_RENAMED = {
    "biasterm": "bias_term",
    "kernelsize": "kernel_size",
    "batchsize": "batch_size",
    "shuffle_images": "shuffle",
    "det_fg_threshold": "fg_threshold",
    "det_bg_threshold": "bg_threshold",
    "det_fg_fraction": "fg_fraction",
    "det_context_pad": "context_pad",
    "det_crop_mode": "crop_mode",
}
_V0_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}
_TRANSFORM = ("scale", "mean_file", "crop_size", "mirror")


def upgrade_net(document: Document[messages.NetParameter]) -> NetDocument:
    """Return the net in its present form, with the places of its layers; the message becomes that of the net.

    Raises
    ------
    SchemaError
        Old and new layers in one net, or an old type or setting that has no present form.
    """
    old = document.message
    net = NetDocument(old, document.filename, document.places, document.unknown)
    if old.layers and old.layer:
        raise SchemaError(
            f'{document.place_of(("layers", 0))}: a net has either "layer" or the older "layers", not both'
        )
    if old.layers:
        _upgrade_layers(document, net)
        del old.layers[:]
    else:
        net.origins = [("layer", i) for i in range(len(old.layer))]
    if old.input:
        _upgrade_input(document, net)
    for setting in ("input", "input_dim", "input_shape"):
        old.ClearField(setting)
    return net


def _upgrade_layers(document: Document[messages.NetParameter], net: NetDocument) -> None:
    padding: dict[str, tuple[str, int]] = {}  # top of a padding layer -> its bottom and its width
    for i, old in enumerate(document.message.layers):
        origin: FieldPath = ("layers", i)
        if old.HasField("layer") and old.layer.type == "padding":
            if len(old.bottom) != 1 or len(old.top) != 1:
                _fail(document, origin, "a padding layer has one bottom and one top")
            if old.bottom[0] in padding:
                _fail(document, origin, "a padding layer cannot stand behind another")
            padding[old.top[0]] = (old.bottom[0], old.layer.pad)
            continue
        new = net.message.layer.add()
        net.origins.append(origin)
        if old.HasField("layer"):
            _upgrade_v0(document, origin, old, new)
            _apply_padding(document, origin, new, padding)
        else:
            _upgrade_v1(document, origin, old, new)
        for top in new.top:
            padding.pop(top, None)


def _apply_padding(
    document: Document[Any], origin: FieldPath, layer: messages.LayerParameter, padding: dict[str, tuple[str, int]]
) -> None:
    for j, bottom in enumerate(layer.bottom):
        if bottom in padding:
            if layer.type not in ("Convolution", "Pooling") or len(layer.bottom) != 1:
                _fail(
                    document,
                    origin,
                    f'a padding layer can only stand before a convolution or a pooling, not before "{layer.type}"',
                )
            layer.bottom[j], pad = padding[bottom]
            if layer.type == "Convolution":
                del layer.convolution_param.pad[:]
                layer.convolution_param.pad.append(pad)
            else:
                layer.pooling_param.pad = pad


def _upgrade_v0(
    document: Document[Any], origin: FieldPath, outer: messages.V1LayerParameter, new: messages.LayerParameter
) -> None:
    old = outer.layer
    new.bottom.extend(outer.bottom)
    new.top.extend(outer.top)
    if old.HasField("name"):
        new.name = old.name
    # What nobody knows stood in a message that is gone now; it is written with the layer.
    unknown = document.unknown.pop((*origin, "layer", 0), [])
    if unknown:
        document.unknown.setdefault(origin, []).extend(unknown)
    if old.type not in _V0_TYPES:
        _fail(document, (*origin, "layer", 0, "type", 0), f'there is no old layer type "{old.type}"')
    new.type = _V0_TYPES[old.type]
    _copy_rates(old, new)
    new.blobs.extend(old.blobs)
    for descriptor, value in old.ListFields():
        name = descriptor.name
        if name in ("name", "type", "blobs", "blobs_lr", "weight_decay"):
            continue
        if name in _V0_TRANSFORM:
            setattr(new.transform_param, _V0_TRANSFORM[name], value)
            continue
        if name == "hdf5_output_param":
            new.hdf5_output_param.CopyFrom(value)
            continue
        settings = getattr(new, _V0_MESSAGES[old.type]) if old.type in _V0_MESSAGES else None
        target = _V0_RENAMED.get(name, name)
        if settings is None or target not in settings.DESCRIPTOR.fields_by_name:
            place = document.place_of((*origin, "layer", 0, name, 0))
            warnings.warn(
                f'{place}: "{name}" is not a setting of "{old.type}"; it is left out', SchemaWarning, stacklevel=2
            )
            continue
        _set(settings, target, value)


def _set(message: messages.Message, name: str, value: Any) -> None:
    current = getattr(message, name)
    if hasattr(current, "CopyFrom"):
        current.CopyFrom(value)
    elif hasattr(current, "append"):
        current.append(value)
    else:
        setattr(message, name, value)


def _upgrade_v1(
    document: Document[Any], origin: FieldPath, old: messages.V1LayerParameter, new: messages.LayerParameter
) -> None:
    known = new.DESCRIPTOR.fields_by_name
    for descriptor, value in old.ListFields():
        name = descriptor.name
        if name == "type":
            label = descriptor.enum_type.values_by_number[value].name
            words = "".join(word.capitalize() for word in label.split("_"))
            new.type = _V1_TYPES.get(label, words)
        elif name in ("blobs_lr", "weight_decay", "param", "blob_share_mode", "layer"):
            continue
        elif name in known and known[name].message_type is descriptor.message_type:
            if hasattr(value, "CopyFrom") and not hasattr(value, "append"):
                getattr(new, name).CopyFrom(value)
            elif hasattr(value, "extend"):
                getattr(new, name).extend(value)
            else:
                setattr(new, name, value)
        else:
            _fail(document, (*origin, name, 0), f'"{name}" of an old layer has no present form')
    _copy_rates(old, new)
    for j, name in enumerate(old.param):
        _spec(new, j).name = name
    for j, mode in enumerate(old.blob_share_mode):
        _spec(new, j).share_mode = mode
    for settings in ("data_param", "image_data_param", "window_data_param"):
        if new.HasField(settings):
            _move_transform(getattr(new, settings), new)


def _move_transform(settings: messages.Message, new: messages.LayerParameter) -> None:
    for name in _TRANSFORM:
        if settings.HasField(name):
            setattr(new.transform_param, name, getattr(settings, name))
            settings.ClearField(name)


def _copy_rates(old: messages.V0LayerParameter | messages.V1LayerParameter, new: messages.LayerParameter) -> None:
    for j, rate in enumerate(old.blobs_lr):
        _spec(new, j).lr_mult = rate
    for j, decay in enumerate(old.weight_decay):
        _spec(new, j).decay_mult = decay


def _spec(layer: messages.LayerParameter, j: int) -> messages.ParamSpec:
    while len(layer.param) <= j:
        layer.param.add()
    return layer.param[j]


def _upgrade_input(document: Document[messages.NetParameter], net: NetDocument) -> None:
    old = document.message
    if not old.input_shape and not old.input_dim:
        return  # An old weights file names its inputs without saying their shape.
    layer = messages.LayerParameter(name="input", type="Input", top=old.input)
    if old.input_shape:
        if len(old.input_shape) != len(old.input):
            _fail(document, ("input_shape", 0), f"{len(old.input_shape)} input_shape for {len(old.input)} input")
        layer.input_param.shape.extend(old.input_shape)
    else:
        if len(old.input_dim) != 4 * len(old.input):
            _fail(
                document, ("input_dim", 0), f"{len(old.input_dim)} input_dim for {len(old.input)} input; each takes 4"
            )
        for j in range(len(old.input)):
            layer.input_param.shape.add(dim=old.input_dim[4 * j : 4 * j + 4])
    rest = list(net.message.layer)
    del net.message.layer[:]
    net.message.layer.append(layer)
    net.message.layer.extend(rest)
    net.origins.insert(0, ("input", 0))


def upgrade_solver(document: SolverDocument) -> SolverDocument:
    """Bring a solver's ``solver_type: ADAM`` to ``type: "Adam"``, in place."""
    solver = document.message
    if solver.HasField("solver_type"):
        if solver.HasField("type"):
            raise SchemaError(
                f'{document.setting("solver_type")}: give either "type" or the older "solver_type", not both'
            )
        old = solver.DESCRIPTOR.fields_by_name["solver_type"].enum_type.values_by_number[solver.solver_type].name
        # The old names are the present ones in capitals.
        solver.type = next((name for name in SOLVER_TYPES if name.upper() == old), old)
        solver.ClearField("solver_type")
    # A net written inside the solver is upgraded when it is built.
    return document


def _fail(document: Document[Any], path: FieldPath, text: str) -> NoReturn:
    raise SchemaError(f"{document.place_of(path)}: {text}")
