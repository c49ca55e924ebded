"""Boxes in lists: the best of each, those that overlap a better one left out, and the rows that Caffe makes of them.

Lists are tensors ``images × lists × length`` of scores and ``… × 4`` of boxes: xmin, ymin, xmax, ymax. Where
NonMaxSuppression takes ymin first, it is given xmin, which is the same to it.
"""

from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from caffelite.export.onnx.graph import ANY, OnnxGraph

_FLOAT, _INT64 = TensorProto.FLOAT, TensorProto.INT64
#: No score is as low.
LOWEST = float(np.finfo(np.float32).min)


class Lists(NamedTuple):
    """The lists of all images, with their boxes and scores in rows, and which of the rows are chosen.

    Attributes
    ----------
    lists, length : int
        Of an image, and of a list.
    boxes, scores : str
        ``rows × 4`` and ``rows``.
    chosen : str
        The numbers of rows.
    """

    lists: int
    length: int
    boxes: str
    scores: str
    chosen: str

    def image(self, g: OnnxGraph) -> str:
        """Return the image of each that is chosen, float32."""
        return g.add("Cast", g.add("Div", self.chosen, g.integers(self.lists * self.length)), to=_FLOAT)

    def number(self, g: OnnxGraph) -> str:
        """Return the number of the list, in its image, of each that is chosen."""
        return g.add("Mod", g.add("Div", self.chosen, g.integers(self.length)), g.integers(self.lists))

    def score(self, g: OnnxGraph) -> str:
        return g.add("Gather", self.scores, self.chosen)

    def box(self, g: OnnxGraph) -> str:
        return g.add("Gather", self.boxes, self.chosen)


def ranked(g: OnnxGraph, boxes: str, scores: str, most: int) -> tuple[str, str]:
    """Return the boxes of each list with the best scores, the best first and of equal ones the first first."""
    best, places = g.add_many("TopK", 2, scores, g.integers([most], "most"), axis=2)
    places = g.add("Expand", g.unsqueeze(places, [3]), g.integers([1, 1, 1, 4], "spread"))
    return g.add("GatherElements", boxes, places, axis=2), best


def suppressed(
    g: OnnxGraph,
    boxes: str,
    scores: str,
    size: tuple[int, int],
    threshold: float,
    above: float = LOWEST,
    most: int | None = None,
    overlapping: str = "",
) -> Lists:
    """Choose of each list, from the best on, what overlaps nothing chosen before by more than a threshold.

    Parameters
    ----------
    boxes, scores : str
    size : (int, int)
        Lists of an image, and their length.
    threshold, above : float
        The overlap; what a score must exceed.
    most : int, optional
        How many of a list are chosen at most.
    overlapping : str, optional
        Boxes in place of ``boxes`` when it comes to overlap.
    """
    lists, length = size
    by_list = g.reshape(overlapping or boxes, [ANY, length, 4])
    best = g.add(
        "NonMaxSuppression",
        by_list,
        g.reshape(scores, [ANY, 1, length]),
        g.integers([length if most is None else most], "most"),
        g.constant([threshold], name="threshold"),
        g.constant([above], name="above"),
    )
    # Numbers of the list, of its only class, and of the box in the list.
    number, _, place = g.split(best, 1, [1, 1, 1])
    rows = g.squeeze(g.add("Add", g.add("Mul", number, g.integers(length)), place), [1])
    return Lists(lists, length, g.reshape(boxes, [ANY, 4]), g.reshape(scores, [ANY]), rows)


def best_of_image(g: OnnxGraph, lists: Lists, most: int) -> Lists:
    """Choose of what is chosen in all lists of an image those with the best scores; they keep their order."""
    width = lists.lists * lists.length
    lowest = g.add("Expand", g.constant(LOWEST, name="lowest"), g.add("Shape", lists.scores))
    chosen = g.add("ScatterElements", lowest, lists.chosen, lists.score(g))
    by_image = g.reshape(chosen, [ANY, width])
    best, places = g.add_many("TopK", 2, by_image, g.integers([most], "most"), axis=1)
    enough = g.add("Cast", g.add("Greater", best, g.constant(LOWEST)), to=_INT64)
    none = g.add("Expand", g.integers(0, "none"), g.add("Shape", by_image))
    marked = g.add("ScatterElements", none, places, enough, axis=1)
    return lists._replace(chosen=g.squeeze(g.add("NonZero", g.reshape(marked, [ANY])), [0]))


def detections(g: OnnxGraph, lists: Lists, labels: str, images: str, fixed: int) -> str:
    """Return rows of image, label, score and box for what is chosen; where that is nothing, one of -1 an image.

    Parameters
    ----------
    lists : Lists
    labels : str
        Of what is chosen, float32.
    images : str
        A tensor whose first axis is the images.
    fixed : int
        How many images there are, or :data:`~caffelite.export.onnx.graph.ANY`.
    """
    columns = [g.unsqueeze(one, [1]) for one in (lists.image(g), labels, lists.score(g))]
    rows = g.add("Concat", *columns, lists.box(g), axis=1)
    number = g.integers(fixed) if fixed != ANY else g.add("Gather", g.add("Shape", images), g.integers(0))
    nothing = g.add("Equal", g.add("Size", lists.chosen), g.integers(0))
    empty = g.add("Where", nothing, number, g.integers(0))
    empty = g.add("Cast", g.add("Range", g.integers(0), empty, g.integers(1)), to=_FLOAT)
    rows = g.add("Concat", rows, g.pad(g.unsqueeze(empty, [1]), [0, 0], [0, 6], -1), axis=0)
    return g.unsqueeze(rows, [0, 1])
