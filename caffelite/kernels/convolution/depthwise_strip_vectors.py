"""The vector code of depthwise convolution by strips: WIDTH neighbouring columns of a map, from row to row.

Rows are read where they lie; what is read beside a map counts as zero, by masks at the sides, and above and below it
from a row of zeros. Each row of input is read once, and goes to all the rows of output that need it, whose sums are
carried in registers from row to row. A row adds up alone before it joins a sum: the chain from row to row is then
one addition long. The plain twins are the loops over planes (:mod:`.depthwise_planes`), which run where the machine
has no masks, and ``convolution`` and ``convolution_gradients`` of ``tests/naive.py``.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from caffelite.kernels.tiles.lanes import pick
from caffelite.kernels.tiles.vectors import (
    I64,
    WIDTH,
    at,
    load,
    load_some,
    loop,
    multiply_add,
    splat,
    store,
    store_some,
    vector_of,
)


def parts_of(taps: int, step: int) -> list[int]:
    """Return where the vectors begin that are read for WIDTH outputs, ``step`` apart, of a row of ``taps``."""
    return list(range(taps)) if step == 1 else list(range(0, (WIDTH - 1) * step + taps, WIDTH))


def _numbers(literal: Any) -> list[int]:
    return [int(item.literal_value) for item in literal]


class _Rows:
    """The rows of maps in an array, as a strip reads them: column ``column`` and what follows."""

    def __init__(self, builder: Any, start: Any, nothing: Any, size: tuple[Any, Any], column: Any) -> None:
        self.builder, self.start, self.nothing = builder, start, nothing
        (self.height, self.width), self.column = size, column

    def inside(self, row: Any) -> Any:
        """Whether a row is one of the map."""
        return self.builder.icmp_unsigned("<", row, self.height)

    def place(self, row: Any) -> Any:
        """Return the address of a row's first element, wherever it is."""
        return self.builder.gep(self.start, [self.builder.add(self.builder.mul(row, self.width), self.column)])

    def readable(self, row: Any) -> Any:
        """Return the address of a row's first element, or that of a row of zeros."""
        nothing = self.builder.gep(self.nothing, [self.column])
        return self.builder.select(self.inside(row), self.place(row), nothing)


def _masks(context: Any, builder: Any, kind: Any, array: Any, strip: Any, count: int) -> list[Any]:
    """Return the ``count`` masks of a strip from their table."""
    pointer = at(context, builder, kind, array, builder.mul(strip, I64(count)))
    bits = [builder.load(builder.gep(pointer, [I64(i)])) for i in range(count)]
    lanes = ir.VectorType(ir.IntType(1), WIDTH)
    whole = ir.IntType(WIDTH)
    return [builder.bitcast(b if WIDTH == 16 else builder.trunc(b, whole), lanes) for b in bits]


def _weights(builder: Any, pointer: Any, kernel: tuple[int, int], vector: Any) -> list[list[Any]]:
    """Return the weights of a filter, each in all lanes of a vector."""
    height, width = kernel
    places = [[builder.gep(pointer, [I64(u * width + v)]) for v in range(width)] for u in range(height)]
    return [[splat(builder, builder.load(place), vector) for place in row] for row in places]


def _columns(builder: Any, pointer: Any, masks: Sequence[Any], vector: Any, taps: int, step: int) -> list[Any]:
    """Return for each horizontal tap what WIDTH neighbouring outputs read of a row."""
    zero = ir.Constant(vector, [0.0] * WIDTH)
    starts = parts_of(taps, step)
    parts = [
        load_some(builder, builder.gep(pointer, [I64(start)]), 0, mask, zero)
        for start, mask in zip(starts, masks, strict=True)
    ]
    if step == 1:
        return parts
    return [pick(builder, parts, [lane * step + v for lane in range(WIDTH)]) for v in range(taps)]


def _products(builder: Any, weights: Sequence[Any], values: Sequence[Any]) -> Any:
    """Return the sum of products of vectors."""
    result = builder.fmul(weights[0], values[0])
    for weight, value in zip(weights[1:], values[1:], strict=True):
        result = multiply_add(builder, weight, value, result)
    return result


def _for_rows(
    builder: Any, first: Any, end: Any, carried: list[Any], body: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """For rows ``first`` to ``end - 1``: ``carried = body(row, carried)``; return the last."""

    def step(row: Any, *values: Any) -> list[Any]:
        return [builder.add(row, I64(1)), *body(row, list(values))]

    return loop(builder, [first, *carried], lambda row: builder.icmp_signed("<", row, end), step)[1:]


@intrinsic(prefer_literal=True)
def sums(typing_context, g, x, x_at, nothing, w, w_at, start, y, y_at, masks, strip, first, end, shape):
    """Rows ``first`` to ``end - 1`` of a strip of y: ``start`` and the products of x with the taps.

    Parameters
    ----------
    g : .depthwise_strips.DepthwiseStrips
    x, w, y : ndarrays, one axis
        The map begins at ``x_at``, the filter at ``w_at``, the result map at ``y_at``.
    nothing : ndarray
        Zeros, a row of x.
    start : number
    masks : ndarray of uint16, [strips][len(parts_of(…)) + 1]
        What of each vector that is read is in the map; what of the results is.
    shape : tuple of constants
        Height and width of the kernel, vertical and horizontal stride, WIDTH.
    """
    height, width, down, across, _ = _numbers(shape)
    whole = types.intp

    def generate(context, builder, sig, args):
        record = dict(zip(sig.args[0].fields, cgutils.unpack_tuple(builder, args[0]), strict=True))
        vector = vector_of(context, sig.args[1])
        pointer = {i: at(context, builder, sig.args[i], args[i], args[i + 1]) for i in (1, 4, 7)}
        column = builder.mul(args[10], I64(WIDTH))
        begin = builder.sub(builder.mul(column, I64(across)), record["left"])
        size = record["height"], record["width"]
        rows = _Rows(builder, pointer[1], at(context, builder, sig.args[3], args[3]), size, begin)
        results = _Rows(builder, pointer[7], None, (record["out_height"], record["out_width"]), column)
        *read, written = _masks(context, builder, sig.args[9], args[9], args[10], len(parts_of(width, across)) + 1)
        weights = _weights(builder, pointer[4], (height, width), vector)
        bias = splat(builder, context.cast(builder, args[6], sig.args[6], sig.args[1].dtype), vector)
        ahead = (height - 1) // down

        def add(row: Any, distances: range, carried: list[Any]) -> list[Any]:
            # The input rows at some distances from an output row's first, to that row and those ahead.
            source = builder.sub(builder.mul(row, I64(down)), record["top"])
            for t in distances:
                place = rows.readable(builder.add(source, I64(t)))
                values = _columns(builder, place, read, vector, width, across)
                for k in range(t // down + 1):
                    if t - k * down < height:
                        carried[k] = builder.fadd(carried[k], _products(builder, weights[t - k * down], values))
            return carried

        def body(row: Any, carried: list[Any]) -> list[Any]:
            value, *others = add(row, range(max(height - down, 0), height), [*carried, bias])
            store_some(builder, value, results.place(row), 0, written)
            return others

        before = add(args[11], range(height - down), [bias] * (ahead + 1))
        _for_rows(builder, args[11], args[12], before[:ahead] if ahead else [], body)
        return context.get_dummy_value()

    return types.void(g, x, whole, nothing, w, whole, start, y, whole, masks, whole, whole, whole, shape), generate


@intrinsic(prefer_literal=True)
def spread_sums(typing_context, g, dy, dy_at, nothing, w, w_at, dx, dx_at, masks, strip, first, end, shape):
    """The rows of dx that stride times rows ``first`` to ``end - 1`` of dy, counted from the padding, are.

    A row of dy gives the first summand to as many rows of dx as the stride is, and one to those that follow. Among
    these rows, and in them among the columns, each phase of the stride has taps of its own; the columns are joined.

    Parameters
    ----------
    g : .depthwise_strips.DepthwiseStrips
    dy, w, dx : ndarrays, one axis
        The map begins at ``dy_at``, the filter at ``w_at``, the gradient's map at ``dx_at``.
    nothing : ndarray
        Zeros, a row of dy.
    masks : ndarray of uint16, [strips][columns of dy that one of dx reads, and horizontal stride]
        What of each vector that is read is in the map; what of the results is.
    shape : tuple of constants
        As in :func:`sums`.
    """
    height, width, down, across, _ = _numbers(shape)
    whole = types.intp

    def generate(context, builder, sig, args):
        record = dict(zip(sig.args[0].fields, cgutils.unpack_tuple(builder, args[0]), strict=True))
        vector = vector_of(context, sig.args[1])
        zero = ir.Constant(vector, [0.0] * WIDTH)
        pointer = {i: at(context, builder, sig.args[i], args[i], args[i + 1]) for i in (1, 4, 6)}
        column = builder.add(builder.mul(args[9], I64(WIDTH)), builder.sdiv(record["left"], I64(across)))
        size = record["out_height"], record["out_width"]
        rows = _Rows(builder, pointer[1], at(context, builder, sig.args[3], args[3]), size, column)
        to = builder.sub(builder.mul(column, I64(across)), record["left"])
        results = _Rows(builder, pointer[6], None, (record["height"], record["width"]), to)
        behind = (width - 1) // across
        masks = _masks(context, builder, sig.args[8], args[8], args[9], behind + 1 + across)
        read, written = masks[: behind + 1], masks[behind + 1 :]
        weights = _weights(builder, pointer[4], (height, width), vector)
        # How many rows each vertical phase adds to after the first.
        ahead = [(height - 1 - phase) // down for phase in range(down)]
        carried_places = [(phase, k) for phase in range(down) for k in range(ahead[phase])]

        def add(row: Any, passed: int, found: dict[tuple[int, int], list[Any]]) -> dict[tuple[int, int], list[Any]]:
            # What a row of dy adds to the row of results ``passed`` rows on, and to those after it.
            place = rows.readable(row)
            values = [load_some(builder, builder.gep(place, [I64(-i)]), 0, mask, zero) for i, mask in enumerate(read)]
            result = dict(found)
            for phase in range(down):
                for k in range(passed, ahead[phase] + 1):
                    tap_row = weights[phase + k * down]
                    parts = [
                        _products(builder, tap_row[p::across], values[: len(tap_row[p::across])]) for p in range(across)
                    ]
                    before = result.get((phase, k - passed))
                    if before:
                        parts = [builder.fadd(*pair) for pair in zip(before, parts, strict=True)]
                    result[phase, k - passed] = parts
            return result

        def carried_of(found: dict[tuple[int, int], list[Any]], moved: int) -> list[Any]:
            return [value for phase, k in carried_places for value in found[phase, k + moved]]

        def body(row: Any, carried: list[Any]) -> list[Any]:
            parts = [carried[i : i + across] for i in range(0, len(carried), across)]
            result = add(row, 0, dict(zip(carried_places, parts, strict=True)))
            for phase in range(down):
                target = builder.sub(builder.add(builder.mul(row, I64(down)), I64(phase)), record["top"])
                inside = results.inside(target)
                for number, mask in enumerate(written):
                    elements = range(number * WIDTH, (number + 1) * WIDTH)
                    value = pick(builder, result[phase, 0], [e % across * WIDTH + e // across for e in elements])
                    mask = builder.select(inside, mask, ir.Constant(mask.type, [0] * WIDTH))
                    store_some(builder, value, results.place(target), number, mask)
            return carried_of(result, 1)

        before: dict[tuple[int, int], list[Any]] = {}
        for passed in range(max(ahead), 0, -1):
            before = add(builder.sub(args[10], I64(passed)), passed, before)
        _for_rows(builder, args[10], args[11], carried_of(before, 0), body)
        return context.get_dummy_value()

    return types.void(g, dy, whole, nothing, w, whole, dx, whole, masks, whole, whole, whole, shape), generate


@intrinsic(prefer_literal=True)
def add_products(typing_context, g, x, x_at, nothing, dy, dy_at, totals, masks, strip, first, end, shape):
    """Add to ``totals``, lane by lane, what each tap reads in x times rows ``first`` to ``end - 1`` of dy.

    Parameters
    ----------
    g : .depthwise_strips.DepthwiseStrips
    x, dy : ndarrays, one axis
        The maps begin at ``x_at`` and ``dy_at``.
    nothing : ndarray
        Zeros, a row of x.
    totals : ndarray, [taps][WIDTH]
    masks, shape
        As in :func:`sums`.
    """
    height, width, down, across, _ = _numbers(shape)
    whole = types.intp

    def generate(context, builder, sig, args):
        record = dict(zip(sig.args[0].fields, cgutils.unpack_tuple(builder, args[0]), strict=True))
        vector = vector_of(context, sig.args[1])
        pointer = {i: at(context, builder, sig.args[i], args[i], args[i + 1]) for i in (1, 4)}
        totals = at(context, builder, sig.args[6], args[6])
        column = builder.mul(args[8], I64(WIDTH))
        begin = builder.sub(builder.mul(column, I64(across)), record["left"])
        size = record["height"], record["width"]
        rows = _Rows(builder, pointer[1], at(context, builder, sig.args[3], args[3]), size, begin)
        factors = _Rows(builder, pointer[4], None, (record["out_height"], record["out_width"]), column)
        *read, of_dy = _masks(context, builder, sig.args[7], args[7], args[8], len(parts_of(width, across)) + 1)
        kept = max(height - down, 0) * width

        def rows_of(row: Any, distances: range) -> list[Any]:
            source = builder.sub(builder.mul(row, I64(down)), record["top"])
            places = [rows.readable(builder.add(source, I64(t))) for t in distances]
            return [value for place in places for value in _columns(builder, place, read, vector, width, across)]

        def body(row: Any, carried: list[Any]) -> list[Any]:
            values = carried[:kept] + rows_of(row, range(kept // width, height))
            factor = load_some(builder, factors.place(row), 0, of_dy, ir.Constant(vector, [0.0] * WIDTH))
            pairs = zip(values, carried[kept:], strict=True)
            added = [multiply_add(builder, value, factor, total) for value, total in pairs]
            return values[len(values) - kept :] + added

        start = [load(builder, totals, vector, t) for t in range(height * width)]
        carried = rows_of(args[9], range(kept // width)) + start
        for t, value in enumerate(_for_rows(builder, args[9], args[10], carried, body)[kept:]):
            store(builder, value, totals, t)
        return context.get_dummy_value()

    return types.void(g, x, whole, nothing, dy, whole, totals, masks, whole, whole, whole, shape), generate
