"""Look into a trained net: filters, the maps of an image, its top classes, and what in the image they come from."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from caffelite.cli.arguments import (
    UsageError,
    add_input,
    add_python,
    add_state,
    add_threads,
    names,
    refuse_options,
    whole,
)
from caffelite.cli.outputs import check_outputs
from caffelite.cli.preparing import nets_of
from caffelite.cli.preprocessing import add_preprocessing, preprocessing_of
from caffelite.cli.progress import compiling
from caffelite.cli.terminal import progress, say, status
from caffelite.data.images import decode_image
from caffelite.errors import Error
from caffelite.export.preprocessing import Preprocessing, pixels_of
from caffelite.export.trained import trained_net
from caffelite.net import Net
from caffelite.net.deploy import deploy
from caffelite.net.graph import Version
from caffelite.report import looking
from caffelite.report.class_names import class_names
from caffelite.report.look_page import Guess, Panel, draw_panels, write_look
from caffelite.solvers.sources import NetSource
from caffelite.words import TEST, Shape, printable, quoted

EXAMPLES = """examples:
  caffelite look models/cifar10_bn.prototxt --weights snapshots/cifar10_bn_iter_5000.caffemodel filters.png
  caffelite look deploy.prototxt --weights caffenet.caffemodel --image cat.jpg --mean 104,117,123 cat.html
  caffelite look deploy.prototxt --weights a.caffemodel --image cat.jpg --labels names.txt --occlude --gradient cat.png

The name of the output says how: .png, .svg and .pdf are one picture, .html is a page. A net that is trained is looked
at as it is deployed, and what its data layer does to images is done to this one; a deploy net says nothing of it: give
--mean, --scale and --channel-order. The image is resized to what the net reads.
"""

_PICTURES = (".png", ".svg", ".pdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("net", metavar="NET", help="prototxt of a net, or of a solver")
    add("output", type=Path, metavar="OUTPUT", help="file to write: .png, .svg, .pdf or .html")
    add("--weights", required=True, type=Path, metavar="FILE", help="its .caffemodel")
    add("--image", type=Path, metavar="FILE", help="image that the net is run on")
    add(
        "--filters",
        type=names,
        default=[],
        metavar="A,B",
        help="layers whose filters are shown (the first that has some)",
    )
    add("--blob", type=names, default=[], metavar="A,B", help="blobs whose maps are shown (that of the same layer)")
    add("--occlude", action="store_true", help="show what the top class comes from: cover parts of the image")
    add("--gradient", action="store_true", help="show the pixels that change the score of the top class most")
    add("--class", dest="number", type=int, metavar="N", help="the class for --occlude and --gradient (the top one)")
    add("--labels", type=Path, metavar="FILE", help="names of the classes, a line each (their numbers)")
    add("--top", type=whole, default=5, metavar="N", help="so many classes are told (5)")
    add("--json", action="store_true", help="print the top classes as JSON")
    add_preprocessing(parser)
    add_input(parser, "--shape")
    add_state(parser)
    add_threads(parser)
    add_python(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the net on the image and draw what there is to see."""
    file, output = Path(arguments.net), arguments.output
    _check(arguments, file, output)
    source = nets_of(file, TEST, arguments.level, arguments.stage)[0]
    preprocessing = preprocessing_of(arguments, source) or Preprocessing(order=arguments.channel_order)
    with compiling():
        with status("building the net"):
            net, _ = trained_net(source, arguments.weights, _one_image(source, arguments), arguments.allow_python)
        panels = [
            Panel(f"filters of {name}", looking.filters_picture(net, name, preprocessing.order == "BGR"))
            for name in looking.filters_of(net, arguments.filters)
        ]
        guesses: list[Guess] = []
        told: list[dict[str, Any]] = []
        if arguments.image:
            seen, told = _look(net, preprocessing, arguments)
            panels = [seen[0], *panels, *seen[1:]]
            guesses = [Guess(one["name"], one["value"], _text(one)) for one in told]
    if not panels:
        raise Error(f"{file}: no layer has filters of more than a pixel to show; give an image with --image")
    title = f"{file.name} with {arguments.weights.name}{f', {arguments.image.name}' if arguments.image else ''}"
    (write_look if output.suffix == ".html" else draw_panels)(title, panels, guesses, output)
    say(f"{output}: {', '.join(panel.title for panel in panels)}")
    if arguments.json:
        print(json.dumps({"output": str(output), "panels": [panel.title for panel in panels], "classes": told}))
    elif guesses:
        print("\n".join(f"{guess.text:>10}  {printable(guess.name)}" for guess in guesses))
    return 0


def _text(one: dict[str, Any]) -> str:
    return f"{100 * one['value']:.2f}%" if one["probability"] else f"{one['value']:.4g}"


def _check(arguments: argparse.Namespace, file: Path, output: Path) -> None:
    if output.suffix not in (*_PICTURES, ".html"):
        raise UsageError(f"{output}: the name of the output ends with {', '.join(_PICTURES)} or .html")
    if not arguments.image:
        refuse_options(
            arguments, ["--blob", "--occlude", "--gradient", "--labels"], "is for an image: give it with --image"
        )
    if arguments.number is not None and not (arguments.occlude or arguments.gradient):
        raise UsageError("--class is for --occlude and --gradient")
    for read in filter(None, (file, arguments.weights, arguments.image, arguments.labels)):
        check_outputs({output: read}, "is a file that is read; give another name")


def _one_image(source: NetSource, arguments: argparse.Namespace) -> dict[str, Shape]:
    """Return the shapes of the inputs, of one image."""
    given = dict(arguments.input)
    document, _ = deploy(source.document, source.level, source.stages, given, arguments.allow_python)
    inputs = [layer for layer in document.message.layer if layer.type == "Input"]
    for layer in inputs:
        for top, shape in zip(layer.top, layer.input_param.shape, strict=False):
            if len(shape.dim) == 4:
                given[top] = (1, *shape.dim[1:])
    return given


def _look(
    net: Net, preprocessing: Preprocessing, arguments: argparse.Namespace
) -> tuple[list[Panel], list[dict[str, Any]]]:
    """Return the image and what is seen of it, and the top classes."""
    data = looking.image_input(net)
    blob = net.plan.blob(data).data
    channels, height, width = data.shape[1:]
    planes = decode_image(arguments.image, str(arguments.image), channels == 3, (height, width))
    blob[...] = preprocessing.apply(np.moveaxis(planes[::-1], 0, 2)[None])
    pixels = pixels_of(blob[0], preprocessing)
    with status("running the net"):
        net.forward()
    seen = [Panel(f"{arguments.image.name}, {width}×{height} as the net reads it", pixels)]
    for name in looking.maps_of(net, arguments.blob):
        seen.append(
            Panel(
                f"{'maps' if net.blobs[name].data.ndim == 4 else 'values'} of {name}", looking.maps_picture(net, name)
            )
        )
    asked = arguments.occlude or arguments.gradient or arguments.labels
    try:
        scores = looking.scores_of(net)
    except Error:
        if asked:
            raise
        return seen, []
    classes = class_names(arguments.labels, scores.classes)
    best = looking.top_classes(net, scores, arguments.top)
    told: list[dict[str, Any]] = [
        {"class": number, "name": classes[number], "value": value, "probability": scores.shares}
        for number, value in best
    ]
    chosen: int = best[0][0] if arguments.number is None else arguments.number
    if not 0 <= chosen < scores.classes:
        raise UsageError(f"--class {chosen} is not one of the {scores.classes} classes, 0 to {scores.classes - 1}")
    if arguments.occlude or arguments.gradient:
        seen += _saliency(net, data, scores, chosen, classes[chosen], pixels, arguments)
    return seen, told


def _saliency(
    net: Net,
    data: Version,
    scores: looking.Scores,
    chosen: int,
    name: str,
    pixels: np.ndarray,
    arguments: argparse.Namespace,
) -> list[Panel]:
    panels = []
    if arguments.occlude:
        with progress(looking.occlusion_passes(data.shape), "covering parts of the image") as advance:
            falls = looking.occlusion(net, data, scores, chosen, advance)
        title = f"{quoted(name)} falls where covered (red), by up to {falls.max():.2g}"
        panels.append(Panel(title, looking.heat_picture(falls, pixels)))
    if arguments.gradient:
        with status("computing gradients"):
            gradient = looking.saliency(net, data, scores, chosen)
        panels.append(Panel(f"pixels that change the score of {quoted(name)}", looking.heat_picture(gradient, pixels)))
    return panels
