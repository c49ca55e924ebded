"""Vectors of the machine's width in LLVM's language: what the kernels that are explicit vector code are built of."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from caffelite.kernels.engine import settings

#: Lanes of a vector; on the plain path still a block size.
WIDTH = settings.vector_width() or 8
I64 = ir.IntType(64)
I32 = ir.IntType(32)


def at(context: Any, builder: Any, kind: Any, array: Any, *places: Any) -> Any:
    """Return the address of the element at the sum of ``places``."""
    pointer = context.make_array(kind)(context, builder, array).data
    for place in places:
        pointer = builder.gep(pointer, [place])
    return pointer


def element_of(context: Any, kind: Any) -> Any:
    """Return LLVM's type of the elements of an array of type ``kind``: double where a net is checked in float64."""
    return context.get_value_type(kind.dtype)


def vector_of(context: Any, kind: Any) -> Any:
    """Return the vector type of the elements of an array of type ``kind``."""
    return ir.VectorType(element_of(context, kind), WIDTH)


def _bytes(element: Any) -> int:
    widths = {ir.FloatType(): 4, ir.DoubleType(): 8}
    return widths[element] if element in widths else int(element.width) // 8


def load(builder: Any, pointer: Any, vector: Any, number: int = 0) -> Any:
    """Return the vector ``number`` vectors behind an address."""
    place = builder.gep(pointer, [I64(number * WIDTH)])
    value = builder.load(builder.bitcast(place, vector.as_pointer()))
    value.align = _bytes(vector.element)
    return value


def store(builder: Any, value: Any, pointer: Any, number: int = 0) -> None:
    """Write a vector ``number`` vectors behind an address."""
    place = builder.gep(pointer, [I64(number * WIDTH)])
    builder.store(value, builder.bitcast(place, value.type.as_pointer())).align = _bytes(value.type.element)


def store_past_cache(builder: Any, value: Any, pointer: Any, number: int = 0) -> None:
    """The same where the vector is aligned to its size, and is not kept in the cache; a fence has to follow."""
    place = builder.gep(pointer, [I64(number * WIDTH)])
    written = builder.store(value, builder.bitcast(place, value.type.as_pointer()))
    written.align = WIDTH * _bytes(value.type.element)
    written.set_metadata("nontemporal", builder.module.add_metadata([I32(1)]))


def fetch(builder: Any, pointer: Any) -> None:
    """Have the line of an address brought to the second cache, whatever lies there."""
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [pointer, I32(0), I32(2), I32(1)])


def _masked(builder: Any, action: str, vector: Any, types: list[Any], result: Any) -> Any:
    kind = ir.FunctionType(result, types)
    bits = 32 if vector.element == ir.FloatType() else 64
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.{action}.v{WIDTH}f{bits}.p0")


def load_some(builder: Any, pointer: Any, number: int, mask: Any, rest: Any) -> Any:
    """The same where the mask is set; elsewhere nothing is read, and the lanes are those of ``rest``."""
    place = builder.bitcast(builder.gep(pointer, [I64(number * WIDTH)]), rest.type.as_pointer())
    types = [place.type, I32, mask.type, rest.type]
    function = _masked(builder, "load", rest.type, types, rest.type)
    return builder.call(function, [place, I32(_bytes(rest.type.element)), mask, rest])


def store_some(builder: Any, value: Any, pointer: Any, number: int, mask: Any) -> None:
    """The same where the mask is set; elsewhere nothing is written."""
    place = builder.bitcast(builder.gep(pointer, [I64(number * WIDTH)]), value.type.as_pointer())
    types = [value.type, place.type, I32, mask.type]
    function = _masked(builder, "store", value.type, types, ir.VoidType())
    builder.call(function, [value, place, I32(_bytes(value.type.element)), mask])


def below(builder: Any, count: Any, number: int = 0) -> Any:
    """Return the mask of the lanes that are below ``count``, where the first is ``number`` vectors from 0."""
    kind = ir.VectorType(I32, WIDTH)
    places = ir.Constant(kind, [number * WIDTH + lane for lane in range(WIDTH)])
    return builder.icmp_signed("<", places, splat(builder, builder.trunc(count, I32), kind))


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c``."""
    bits = 32 if a.type.element == ir.FloatType() else 64
    kind = ir.FunctionType(a.type, [a.type] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{a.type.count}f{bits}")
    return builder.call(function, [a, b, c])


def joined(builder: Any, parts: list[Any]) -> Any:
    """Return one vector: the lanes of vectors of one size, a power of two of them, one after the other."""
    while len(parts) > 1:
        size = 2 * parts[0].type.count
        mask = ir.Constant(ir.VectorType(I32, size), list(range(size)))
        parts = [builder.shuffle_vector(*parts[i : i + 2], mask) for i in range(0, len(parts), 2)]
    return parts[0]


def total(builder: Any, vectors: list[Any]) -> Any:
    """Return the sum of all lanes of some vectors, a power of two of them."""
    while len(vectors) > 1:
        vectors = [builder.fadd(*vectors[i : i + 2]) for i in range(0, len(vectors), 2)]
    value = vectors[0]
    undefined = ir.Constant(value.type, ir.Undefined)
    half = WIDTH // 2
    while half:
        lanes = [lane + half if lane < half else lane for lane in range(WIDTH)]
        other = builder.shuffle_vector(value, undefined, ir.Constant(ir.VectorType(I32, WIDTH), lanes))
        value = builder.fadd(value, other)
        half //= 2
    return builder.extract_element(value, I32(0))


def splat(builder: Any, scalar: Any, vector: Any) -> Any:
    """Return the vector of type ``vector`` that has ``scalar`` in each lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    zeros = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(builder.insert_element(undefined, scalar, I32(0)), undefined, zeros)


def loop(builder: Any, start: list[Any], more: Callable[..., Any], body: Callable[..., list[Any]]) -> list[Any]:
    """While ``more(values[0])``, let ``values = body(*values)``; return the last ones. A body may hold loops."""
    before = builder.block
    head = builder.append_basic_block("loop")
    after = builder.append_basic_block("loop.end")
    builder.cbranch(more(start[0]), head, after)
    builder.position_at_end(head)
    values = [builder.phi(value.type) for value in start]
    results = body(*values)
    last = builder.block
    builder.cbranch(more(results[0]), head, after)
    builder.position_at_end(after)
    finals = [builder.phi(value.type) for value in start]
    for value, final, first, result in zip(values, finals, start, results, strict=True):
        value.add_incoming(result, last)
        for phi in value, final:
            phi.add_incoming(first, before)
        final.add_incoming(result, last)
    return finals
