"""Finding and reading records in the memory map of an LMDB file, without the GIL.

The file is a B+ tree of pages in a fixed layout (LMDB 0.9, data version 1, 64-bit, little-endian): a page
header of 16 bytes, two-byte pointers to the nodes, and the nodes, each with a header of 8 bytes, a key and a
value or (in a branch, or for a long value) the number of another page. Nothing in the file is trusted: every
position is checked against the size of the page and of the file, so a damaged file gives an error and never a
crash.

Source: ``mdb.c`` and ``lmdb.h`` of OpenLDAP's LMDB 0.9, which document the layout.
"""

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.launch import kernel

PAGE_HEADER, NODE_HEADER = 16, 8
BRANCH, LEAF = 0x01, 0x02
ON_PAGES, SPECIAL = 0x01, 0x06
#: Deeper trees than this do not exist: LMDB's own cursor stack has 32 places.
DEEPEST = 32
#: Places in the ``state`` of :func:`walk`.
LEVEL, FOUND, PAGES, FAULT = 0, 1, 2, 3


@register_jitable
def unsigned(content, at, size):  # type: ignore[no-untyped-def]
    """Return the little-endian number of ``size`` bytes at a place in a uint8 array."""
    value = 0
    for i in range(size):
        value |= np.int64(content[at + i]) << (8 * i)
    return value


@register_jitable
def locate(content, page_size, node):  # type: ignore[no-untyped-def]
    """Return where the value of a leaf's node begins, and its size; (-1, 0) if it does not lie in the file."""
    size = unsigned(content, node, 4)
    at = node + NODE_HEADER + unsigned(content, node + 6, 2)
    if unsigned(content, node + 4, 2) & ON_PAGES:
        if at + 8 > content.size:
            return -1, 0
        page = unsigned(content, at, 8)
        if page < 0 or page > content.size // page_size:
            return -1, 0
        at = page * page_size + PAGE_HEADER
    if size > content.size - at:
        return -1, 0
    return at, size


@kernel
def walk(begin, end, worker, content, page_size, stack, state, nodes):  # type: ignore[no-untyped-def]
    """Go on through the tree in the order of the keys, until ``nodes`` is filled or the tree ends.

    Parameters
    ----------
    content : (bytes,) uint8
        The file.
    page_size : int
    stack : (DEEPEST, 2) int64
        The pages from the root to where the walk stands, each with the number of the node to go to next. To
        start: the root's page and 0.
    state : (4,) int64
        The level in the stack (to start 0; -1 when the tree has ended), how many records are found, how many
        pages were entered, and 1 if the tree is damaged.
    nodes : (n,) int64
        Where in the file the node of each record begins.
    """
    pages = content.size // page_size
    while state[LEVEL] >= 0 and state[FOUND] < nodes.size:
        level = state[LEVEL]
        page = stack[level, 0]
        start = page * page_size
        state[FAULT] = 1
        if page < 0 or page >= pages:
            return
        kind = unsigned(content, start + 10, 2)
        lower = unsigned(content, start + 12, 2)
        if (kind != BRANCH and kind != LEAF) or lower < PAGE_HEADER or lower > page_size:
            return
        if stack[level, 1] >= (lower - PAGE_HEADER) // 2:
            state[LEVEL] = level - 1
            state[FAULT] = 0
            continue
        pointer = unsigned(content, start + PAGE_HEADER + 2 * stack[level, 1], 2)
        if pointer < lower or pointer + NODE_HEADER > page_size:
            return
        node = start + pointer
        flags = unsigned(content, node + 4, 2)
        stack[level, 1] += 1
        if kind == BRANCH:
            # A tree visits each of its pages once; more visits than pages means that the branches run in
            # circles.
            state[PAGES] += 1
            if level + 1 == DEEPEST or state[PAGES] > pages:
                return
            state[LEVEL] = level + 1
            stack[level + 1, 0] = unsigned(content, node, 4) | flags << 32
            stack[level + 1, 1] = 0
        else:
            key_size = unsigned(content, node + 6, 2)
            value, size = locate(content, page_size, node)
            inside = flags & ON_PAGES or value + size <= start + page_size
            if flags & SPECIAL or pointer + NODE_HEADER + key_size > page_size or value < 0 or not inside:
                return
            nodes[state[FOUND]] = node
            state[FOUND] += 1
        state[FAULT] = 0


@kernel
def gather(  # type: ignore[no-untyped-def]
    begin, end, worker, content, page_size, nodes, header, data, labels, plain
):
    """Copy the pixels and labels of Datum records whose fields stand as Caffe writes them.

    Parameters
    ----------
    content : (bytes,) uint8
        The file.
    page_size : int
    nodes : (N,) int64
        Where the nodes of the records begin, as :func:`walk` finds them.
    header : (h,) uint8
        The bytes of every record up to its pixels: channels, height, width, and the tag and size of the
        pixels.
    data : (N, size) uint8
        The pixels are written here.
    labels : (N,) float32
        The labels are written here.
    plain : (N,) bool
        Whether the record was of this form; what it wrote counts only then.
    """
    size = data.shape[1]
    for i in range(begin, end):
        plain[i] = False
        at, length = locate(content, page_size, nodes[i])
        if at < 0 or length < header.size + size:
            continue
        last = at + length
        same = True
        for j in range(header.size):
            same &= content[at + j] == header[j]
        if not same:
            continue
        at += header.size
        for j in range(size):
            data[i, j] = content[at + j]
        at += size
        label = 0
        while at + 1 < last and (content[at] == 0x28 or content[at] == 0x38):
            tag = content[at]
            value = 0
            shift = 0
            at += 1
            while at < last and content[at] >= 0x80 and shift < 63:
                value |= np.int64(content[at] & 0x7F) << shift
                shift += 7
                at += 1
            if at == last:
                break
            value |= np.int64(content[at]) << shift
            at += 1
            if tag == 0x28:
                label = value
            elif value != 0:  # an encoded image
                at = 0
                break
        labels[i] = np.float32(label)
        plain[i] = at == last
