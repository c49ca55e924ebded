"""What is computed from parameters alone is computed once, and anew when they have changed."""

from pairs import INPUT, NORM, RELU, convolution, pair, same


def test_parameters_that_change() -> None:
    nets = pair(INPUT + convolution("num_output: 8 kernel_size: 3") + NORM + RELU)
    same(nets)
    for net in nets:
        net.params["c"][0].data[...] *= 2
        net.params["bn"][1].data[...] += 1
        net.changed()
    same(nets)
    other = pair(INPUT + convolution("num_output: 8 kernel_size: 3").replace("0.3", "0.5") + NORM + RELU)[0]
    weights = other.weights()
    for net in nets:
        for name, blobs in net.params.items():
            for blob, values in zip(blobs, weights[name], strict=True):
                blob.data[...] = values
        net.changed()
    same(nets)


def test_folded_weights_of_two_layers_do_not_meet() -> None:
    first = convolution("num_output: 6 kernel_size: 3 pad: 1") + NORM
    second = (
        (convolution("num_output: 5 kernel_size: 3", bottom="c") + NORM)
        .replace('name: "', 'name: "z')
        .replace('top: "c"', 'top: "out"')
        .replace('bottom: "c" top: "out" batch', 'bottom: "out" top: "out" batch')
    )
    second = second.replace('type: "BatchNorm" bottom: "c"', 'type: "BatchNorm" bottom: "out"').replace(
        'type: "Scale" bottom: "c"', 'type: "Scale" bottom: "out"'
    )
    nets = pair(INPUT + first + second)
    same(nets)
    nets[0].changed()
    same(nets)
