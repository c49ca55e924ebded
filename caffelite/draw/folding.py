"""Blocks that are equal but for their names, one after the other: drawn once, with how many there are."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from caffelite.draw.amounts import short_number
from caffelite.draw.boxes import Box, BoxRow, Diagram, Edge, Frame
from caffelite.schema.documents import NetDocument
from caffelite.schema.messages import LayerParameter
from caffelite.words import shortened

#: A group is worth a frame if it leaves out this many boxes; a page has a layout for each group, so there are a few.
_LEAST_LEFT_OUT, _MOST_GROUPS = 2, 8
#: Boxes of the largest block that is looked for.
_LARGEST_BLOCK = 80
#: Of a name in a label.
_LABEL_LETTERS = 20


class Group(NamedTuple):
    """Blocks of ``size`` boxes each, so many, from the box ``first`` on."""

    first: int
    size: int
    blocks: int

    @property
    def boxes(self) -> range:
        return range(self.first, self.first + self.size * self.blocks)

    @property
    def left_out(self) -> range:
        """The boxes that are not drawn where it is folded."""
        return range(self.first + self.size, self.boxes.stop)


def groups_of(diagram: Diagram, document: NetDocument) -> list[Group]:
    """Return the groups of equal blocks in a diagram, from the first to the last.

    Blocks are equal if their layers are, box by box, in all that is known of them but the names of layers, blobs and
    shared parameters, and if each box reads the same boxes of its own block or of the one before, counted from itself.
    From outside, the first block alone is fed, and the last alone is read.

    Parameters
    ----------
    diagram : Diagram
    document : NetDocument
        The net that it was made of.
    """
    finder = _Finder(diagram, document)
    candidates = sorted(finder.candidates(), key=lambda g: (-len(g.left_out), g.size, g.first))
    chosen: list[Group] = []
    for group in candidates:
        apart = all(group.boxes.stop <= one.first or one.boxes.stop <= group.first for one in chosen)
        if apart and len(chosen) < _MOST_GROUPS:
            chosen.append(group)
    return sorted(chosen)


class _Finder:
    def __init__(self, diagram: Diagram, document: NetDocument) -> None:
        self._edges = diagram.edges
        numbers: dict[object, int] = {}
        read: list[list[Edge]] = [[] for _ in diagram.boxes]
        #: For each box, the farthest box back that it reads, and the last one that reads it.
        self._reach = [0] * len(diagram.boxes)
        self._last_reader = list(range(len(diagram.boxes)))
        for edge in diagram.edges:
            read[edge.target].append(edge)
            self._reach[edge.target] = max(self._reach[edge.target], edge.target - edge.source)
            self._last_reader[edge.source] = max(self._last_reader[edge.source], edge.target)
        #: Boxes that could be the same one have the same number.
        self._tokens = [
            numbers.setdefault(
                (
                    tuple(_signature(row, document) for row in box.rows),
                    tuple((i - edge.source, edge.shape, edge.phases) for edge in read[i]),
                ),
                len(numbers),
            )
            for i, box in enumerate(diagram.boxes)
        ]

    def candidates(self) -> Iterator[Group]:
        """Yield groups, of which several may have boxes in common."""
        tokens = self._tokens
        for size in range(1, min(len(tokens) // 2, _LARGEST_BLOCK) + 1):
            begin = 0
            for i in range(len(tokens) - size + 1):
                if i < len(tokens) - size and tokens[i] == tokens[i + size]:
                    continue
                # From begin on to i + size, each box is as the one a block before.
                if i - begin >= size:
                    yield from self._groups(begin, i + size, size)
                begin = i + 1

    def _groups(self, begin: int, end: int, size: int) -> Iterator[Group]:
        """Yield the groups that a stretch of boxes with this period is made of."""
        while (blocks := (end - begin) // size) >= 2:
            spare = (end - begin) % size
            # Where a block begins, the fewest blobs go from one to the next.
            first = min(range(begin, begin + spare + 1), key=lambda start: (self._crossing(start), start))
            blocks = self._closed(first, size, blocks)
            if (blocks - 1) * size >= _LEAST_LEFT_OUT:
                yield Group(first, size, blocks)
            begin = first + blocks * size

    def _crossing(self, start: int) -> int:
        return len({edge.source for edge in self._edges if edge.source < start <= edge.target})

    def _closed(self, first: int, size: int, blocks: int) -> int:
        """Return how many of these blocks go together: none reads farther back than the block before, and none but the
        last is read from farther on than the next.
        """
        for k in range(blocks):
            start = first + k * size
            if any(self._reach[start + j] > j + size for j in range(size)):
                return max(k, 1)
            if any(self._last_reader[start + j] >= start + 2 * size for j in range(size)):
                return k + 1
        return blocks


def _signature(row: BoxRow, document: NetDocument) -> tuple[object, ...]:
    """Return all that is known of a layer but its names."""
    texts = [_nameless(document.message.layer[i]) for i in row.layers]
    return (*texts, row.phases, row.parameters, row.multiply_adds, row.bytes)


def _nameless(layer: LayerParameter) -> bytes:
    bare = LayerParameter()
    bare.CopyFrom(layer)
    for name in ("name", "bottom", "top", "blobs"):
        bare.ClearField(name)
    for spec in bare.param:
        spec.ClearField("name")
    return bare.SerializeToString(deterministic=True)


@dataclass(slots=True)
class Folded:
    """A diagram in which some groups are folded, and which boxes of the whole diagram it has."""

    diagram: Diagram
    boxes: list[int]


def folded(diagram: Diagram, groups: list[Group], closed: Collection[int]) -> Folded:
    """Return a diagram with these of its groups folded, the others framed.

    Parameters
    ----------
    diagram : Diagram
    groups : list of Group
        What :func:`groups_of` returned for it.
    closed : collection of int
        Which of them are folded.
    """
    standing = {box: box for box in range(len(diagram.boxes))}
    for number in closed:
        group = groups[number]
        for box in group.left_out:
            standing[box] = group.first + (box - group.first) % group.size
    kept = [box for box, place in standing.items() if box == place]
    place_of = {box: place for place, box in enumerate(kept)}
    edges: dict[tuple[int, int, str], Edge] = {}
    for edge in diagram.edges:
        if standing[edge.target] == edge.target:
            source, target = place_of[standing[edge.source]], place_of[edge.target]
            edges.setdefault((source, target, edge.blob), replace(edge, source=source, target=target))
    frames = [
        Frame(
            range(place_of[g.first], place_of[g.first] + (g.size if i in closed else g.size * g.blocks)),
            *_label(diagram.boxes, g),
            i,
            i in closed,
        )
        for i, g in enumerate(groups)
    ]
    boxes = [diagram.boxes[box] for box in kept]
    return Folded(replace(diagram, boxes=boxes, edges=list(edges.values()), frames=frames), kept)


def _label(boxes: list[Box], group: Group) -> tuple[str, str]:
    names = [boxes[group.first + block * group.size].rows[0].name for block in (0, group.blocks - 1)]
    counted: set[str] = set()
    parameters = products = 0
    for box in group.boxes:
        for row in boxes[box].rows:
            if not counted.intersection(row.shared):
                parameters += row.parameters or 0
            counted.update(row.shared)
            products += row.multiply_adds or 0
    told = [f"{group.blocks} blocks that are equal but for their names"]
    told += [f"{short_number(parameters)} parameters"] if parameters else []
    told += [f"{short_number(products)} multiply-adds"] if products else []
    first, last = (shortened(name, _LABEL_LETTERS) for name in names)
    return f"× {group.blocks}: {first} … {last}", ", ".join(told)
