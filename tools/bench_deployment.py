"""What becomes of BatchNorm where a net is deployed: kept, folded into the weights, or left out.

    python tools/bench_deployment.py models/mnist_mlp_bn.prototxt --weights snapshots/mnist_mlp_bn_iter_5000.caffemodel

The accuracy of each form on the test set that the net names, and the median time of one image and of a hundred.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np

from caffelite.batchnorm.fold import fold
from caffelite.net import Net
from caffelite.schema.messages import NetParameter
from caffelite.schema.text import net_from_message, read_net
from caffelite.words import TEST

_SIZES = (1, 100)


def batches(net: Net, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield images and labels as the net reads them."""
    first, second = net.graph.nodes[0].tops
    for _ in range(count):
        net.forward()
        yield net.plan.blob(first).data.copy(), net.plan.blob(second).data.copy()


def sized(message: NetParameter, size: int) -> Net:
    """Return a deploy net for batches of so many images."""
    copy = NetParameter()
    copy.CopyFrom(message)
    copy.layer[0].input_param.shape[0].dim[0] = size
    return Net(net_from_message(copy), TEST)


def without(message: NetParameter, kinds: set[str]) -> NetParameter:
    """Return a net without layers of some types; what they read goes to their readers."""
    rest = NetParameter(name=message.name)
    names: dict[str, str] = {}
    for layer in message.layer:
        if layer.type in kinds:
            names[layer.top[0]] = names.get(layer.bottom[0], layer.bottom[0])
            continue
        own = rest.layer.add()
        own.CopyFrom(layer)
        own.bottom[:] = [names.get(name, name) for name in layer.bottom]
        in_place = list(layer.bottom[:1]) == list(layer.top)
        own.top[:] = own.bottom if in_place else layer.top
        if not in_place:
            for name in layer.top:
                names.pop(name, None)
    return rest


def milliseconds(net: Net, rounds: int) -> float:
    """Return the median time of a pass."""
    times = []
    net.forward()
    for _ in range(rounds):
        begin = perf_counter()
        net.forward()
        times.append(perf_counter() - begin)
    return 1000 * float(np.median(times))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=200, help="passes of each measurement of time")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    tested = Net(read_net(arguments.net), TEST, weights=arguments.weights, keep=True)
    folded = fold(Net(read_net(arguments.net), TEST, weights=arguments.weights, learn=False)).net
    # The layers of the folded net, and the BatchNorm and Scale layers of the old one among them.
    kept = NetParameter(name="kept")
    kept.layer.add().CopyFrom(folded.document.message.layer[0])
    last = folded.document.message.layer[-1]
    for node in tested.graph.nodes:
        layer = node.layer
        if not layer.facts.source and layer.facts.deploy == "kept" and layer.facts.kind != "measure":
            own = kept.layer.add()
            own.CopyFrom(layer.param)
            for name in ("include", "exclude"):
                own.ClearField(name)
    kept.layer.add().CopyFrom(last)
    weights = folded.weights()
    forms = {
        "kept": (kept, None),
        "folded": (folded.document.message, weights),
        "BatchNorm left out, Scale kept": (without(kept, {"BatchNorm"}), None),
        "both left out": (without(kept, {"BatchNorm", "Scale"}), None),
    }
    nets = {}
    for form, (message, own) in forms.items():
        for size in _SIZES:
            net = nets[form, size] = sized(message, size)
            if own is None:
                net.copy_from(arguments.weights)
            else:
                for name, blobs in own.items():
                    for blob, values in zip(net.params[name], blobs, strict=True):
                        blob.data[...] = values
            net.changed()
    right = dict.fromkeys(forms, 0)
    total = 0
    records = tested.graph.nodes[0].layer.epoch_size
    size = tested.graph.nodes[0].tops[0].shape[0]
    for images, labels in batches(tested, records // size):
        for begin in range(0, size, _SIZES[-1]):
            part, answers = images[begin : begin + _SIZES[-1]], labels[begin : begin + _SIZES[-1]]
            total += len(part)
            for form in forms:
                net = nets[form, _SIZES[-1]]
                net.blobs[net.inputs[0]].data[...] = part
                net.forward()
                scores = net.blobs[net.outputs[0]].data.reshape(len(part), -1)
                right[form] += int((scores.argmax(axis=1) == answers.reshape(-1)).sum())
    rows = [
        {
            "form": form,
            "accuracy": 100 * right[form] / total,
            **{f"ms_{size}": milliseconds(nets[form, size], arguments.rounds) for size in _SIZES},
        }
        for form in forms
    ]
    if arguments.json:
        print(json.dumps(rows))
        return
    print(f"{arguments.net}, {total:,} test images")
    print(f"| {'BatchNorm and Scale':32s} | accuracy | ms, 1 image | ms, 100 images |\n|---|--:|--:|--:|")
    for row in rows:
        print(f"| {row['form']:32s} | {row['accuracy']:7.2f}% | {row['ms_1']:11.3f} | {row['ms_100']:14.3f} |")


if __name__ == "__main__":
    main()
