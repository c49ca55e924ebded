"""How a kernel is compiled, kept and started.

A kernel is a serial Python function ``f(begin, end, worker, *arguments)`` that does the tasks ``begin`` to
``end - 1`` of a list of independent ones; ``worker`` numbers the thread, for scratch memory. :func:`call` binds one
to its arrays and returns a :class:`Call` that costs about half a microsecond plus the thread launch to run.

Every kernel has the same machine-level signature, so one parallel driver serves all of them: numba's slow
``parallel=True`` pipeline runs once, and what is specialised to a shape stays small and serial. Machine code is
kept on disk under a key of our own (name, static values, argument types), one file a key, written by rename:
numba's own cache cannot find a closure over compiled functions again in another process. Kernels that are needed
:func:`together` are compiled on all cores.
"""

import hashlib
import json
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn, cast
from uuid import uuid4

import numba
import numpy as np
from llvmlite import ir
from llvmlite.binding import ffi
from numba.core import cgutils, types
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import _FunctionCompiler  # type: ignore[attr-defined]
from numba.core.registry import cpu_target
from numba.cpython import slicing
from numba.extending import intrinsic

from caffelite.kernels.engine import settings
from caffelite.kernels.engine.driver import driver

#: An array, a number, or a record: a NamedTuple of numbers, whose fields a kernel reads by name.
Argument = np.ndarray | int | float | tuple[int | float, ...]

#: Is told the name of each kernel that has to be compiled: a program can say why it takes a moment.
on_compile: Callable[[str], None] | None = None

#: Types of the arguments, and which of them are one array.
_Version = tuple[tuple[types.Type, ...], tuple[int, ...]]


class _Compiler(_FunctionCompiler):
    """Numba's compiler up to LLVM's code: what calls the function is added before anything is optimised."""

    def _customize_flags(self, flags: Any) -> Any:
        flags.no_cpython_wrapper = True
        flags.no_cfunc_wrapper = True
        flags.no_compile = True
        return flags


def _add_entry(compiled: Any, kinds: tuple[types.Type, ...], same: tuple[int, ...], symbol: str) -> None:
    """Add ``symbol(begin, end, worker, table)``, which reads the arguments from a table of 8-byte words.

    The function is inlined into it. ``same`` has, for each argument, the position of the first one that is the same
    array: LLVM then sees one pointer.
    """
    context, library = compiled.target_context, compiled.library
    module = library.create_ir_module(symbol)
    word = ir.IntType(64)
    function = context.declare_function(module, compiled.fndesc)
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [word, word, word, cgutils.voidptr_t]), symbol)
    builder = ir.IRBuilder(entry.append_basic_block())
    begin, end, worker, table = entry.args
    table = builder.bitcast(table, word.as_pointer())
    values: list[Any] = []
    position = 0
    for kind, first in zip(kinds, same, strict=True):
        if first == len(values):
            address = builder.gep(table, [ir.Constant(ir.IntType(32), position)])
            values.append(builder.load(builder.bitcast(address, context.get_value_type(kind).as_pointer())))
        else:
            values.append(values[first])
        position += _words(kind)
    context.call_conv.call_function(
        builder, function, types.void, compiled.signature.args, [begin, end, worker, *values]
    )
    builder.ret_void()
    library.add_ir_module(module)
    code = library._final_module
    for used in dict.fromkeys(library._linking_libraries):
        code.link_in(used._get_module_for_linking(), preserve=True)
    library._linking_libraries.clear()
    # Numba numbers functions from 1 in each process: kept by several, two may have one name.
    for one in code.functions:
        if not one.is_declaration and one.name != symbol:
            one.linkage = "internal"
    library.finalize()


def _words(kind: types.Type) -> int:
    # An array is numba's struct {meminfo, parent, items, itemsize, data, shape[n], strides[n]}.
    if isinstance(kind, types.Array):
        return 5 + 2 * kind.ndim
    return len(kind) if isinstance(kind, types.BaseAnonymousTuple | types.BaseNamedTuple) else 1


def _pack(arguments: tuple[Argument, ...]) -> np.ndarray:
    """Lay the arguments out as :func:`_add_entry` reads them."""
    words: list[int] = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            words += [0, 0, argument.size, argument.itemsize, argument.ctypes.data, *argument.shape, *argument.strides]
        else:
            numbers = argument if isinstance(argument, tuple) else (argument,)
            words += [int(np.float64(n).view(np.int64)) if isinstance(n, float) else int(n) for n in numbers]
    return np.array(words, dtype=np.int64)


def _type_of(argument: Argument) -> types.Type:
    if isinstance(argument, np.ndarray):
        if not argument.flags.c_contiguous:
            raise TypeError("a kernel takes C-contiguous arrays")
        return types.Array(numba.from_dtype(argument.dtype), argument.ndim, "C")
    if isinstance(argument, tuple):
        kinds = [_type_of(number) for number in argument]
        if len(set(kinds)) == 1:
            return types.NamedUniTuple(kinds[0], len(kinds), type(argument))
        return types.NamedTuple(kinds, type(argument))
    return types.float64 if isinstance(argument, float) else types.intp


def _same(arguments: tuple[Argument, ...]) -> tuple[int, ...]:
    """Return, for each argument, the position of the first one that is the same array.

    A kernel that works in place is compiled for it. Otherwise LLVM's vectorised loops begin with the question whether
    the arrays overlap, and where they do, a loop over single elements runs instead.
    """
    seen: dict[Any, int] = {}
    return tuple(
        seen.setdefault((a.ctypes.data, a.shape, a.dtype.str) if isinstance(a, np.ndarray) and a.size else i, i)
        for i, a in enumerate(arguments)
    )


@intrinsic
def _invoke(typing_context, address, begin, end, worker, context):
    """Call the machine code at ``address``."""

    def generate(code_context, builder, signature, arguments):
        word = ir.IntType(64)
        pointer = cgutils.voidptr_t
        kind = ir.FunctionType(ir.VoidType(), [word, word, word, pointer])
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(function, [*arguments[1:4], builder.inttoptr(arguments[4], pointer)])
        return code_context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate


@driver("void(intp, intp, intp)")
def _run_serial(address, context, tasks):
    _invoke(address, 0, tasks, 0, context)


@driver("void(intp, intp, intp, intp)", parallel=True)
def _run_parallel(address, context, tasks, workers):
    for worker in numba.prange(workers):
        begin = tasks * worker // workers
        end = tasks * (worker + 1) // workers
        if begin < end:
            _invoke(address, begin, end, worker, context)


@driver("void(intp[:, ::1])", parallel=True)
def _run_row(calls):
    for i in range(len(calls)):
        address, context, tasks, workers = calls[i, 0], calls[i, 1], calls[i, 2], calls[i, 3]
        if workers == 1:
            _invoke(address, 0, tasks, 0, context)
        else:
            for worker in numba.prange(workers):
                begin = tasks * worker // workers
                end = tasks * (worker + 1) // workers
                if begin < end:
                    _invoke(address, begin, end, worker, context)


@contextmanager
def _without_negative_indices() -> Iterator[None]:
    """Compile array accesses without numba's test for negative indices, which no kernel uses.

    The test (``index + size if index < 0 else index``) keeps LLVM from seeing that a loop reads one element after the
    other, and so from using vector instructions.
    """
    with global_compiler_lock:
        original = slicing.fix_index
        slicing.fix_index = lambda builder, index, size: index
        try:
            yield
        finally:
            slicing.fix_index = original


class Kernel:
    """A compiled function of arrays, in as many versions as there are argument types and ways of working in place.

    Attributes
    ----------
    function : callable
        The Python function ``f(begin, end, worker, *arguments)``.
    name : str
        Module, function and static values: what the machine code is kept under.
    """

    def __init__(self, function: Callable[..., None], name: str) -> None:
        self.function = function
        self.name = name
        self.__doc__ = function.__doc__
        self._versions: dict[_Version, tuple[int, Any]] = {}

    def version(self, arguments: tuple[Argument, ...]) -> _Version:
        """Return what of arguments like these the machine code depends on."""
        return tuple(_type_of(a) for a in arguments), _same(arguments)

    def address(self, version: _Version) -> int:
        """Return the address of the machine code, compiling it if it is not kept."""
        if version not in self._versions:
            self._versions[version] = self._load(version) or self._compile(version)
        return self._versions[version][0]

    def kept(self, version: _Version) -> bool:
        """Whether the machine code is in this process or on disk."""
        return version in self._versions or os.path.isfile(self._file(version))

    def _key(self, version: _Version) -> str:
        return hashlib.sha256(f"{self.name} {version}".encode()).hexdigest()[:32]

    def _file(self, version: _Version) -> Path:
        return settings.code_folder() / f"{self._key(version)}.code"

    def _load(self, version: _Version) -> tuple[int, Any] | None:
        try:
            content = self._file(version).read_bytes()
        except OSError:
            return None
        head, _, body = content.partition(b"\n")
        try:
            facts = json.loads(head)
            if len(body) != facts["size"]:
                return None
        except (ValueError, KeyError, TypeError):
            return None  # cut off, or something else: it is compiled and written anew
        code, bitcode = body[: facts["code"]], body[facts["code"] :]
        target = cpu_target.target_context
        target.refresh()
        library = target.codegen().unserialize_library((facts["library"], "object", (code, bitcode)))
        return library.get_pointer_to_function(facts["symbol"]), library

    def _compile(self, version: _Version) -> tuple[int, Any]:
        if on_compile is not None:
            on_compile(self.name)
        kinds, same = version
        options = {"nopython": True, "fastmath": settings.FASTMATH, "error_model": "numpy", "boundscheck": False}
        symbol = f"caffelite_{self._key(version)}"
        with _without_negative_indices():
            compiler = _Compiler(self.function, cpu_target, options, {}, Compiler)
            compiled = compiler.compile((types.intp, types.intp, types.intp, *kinds), types.void)
            _add_entry(compiled, kinds, same, symbol)
        library = compiled.library
        name, _, (code, bitcode) = library.serialize_using_object_code()
        facts = {"kernel": self.name, "library": name, "symbol": symbol, "code": len(code)}
        head = json.dumps({**facts, "size": len(code) + len(bitcode)})
        self._keep(self._file(version), head.encode() + b"\n" + code + bitcode)
        return library.get_pointer_to_function(symbol), library

    @staticmethod
    def _keep(path: Path, content: bytes) -> None:
        # A full disk or a folder that cannot be written costs a compile next time, nothing else.
        if not settings.can_keep(path.parent):
            return
        try:
            # Not one of tempfile's, which only their owner can read: an image may be filled by one user for another.
            temporary = path.with_name(f"{path.name}.{uuid4().hex}")
            temporary.write_bytes(content)
            os.replace(temporary, path)
        except OSError:
            pass


def source_digest(function: Callable[..., Any]) -> str:
    """Return a digest of the file a function is written in.

    The folder of kept code changes with the sources of this package only; without the digest a function that was
    changed in a file elsewhere (a layer's) would go on running as it was.
    """
    code: Any = function.__code__
    try:
        source = Path(code.co_filename).read_bytes()
    except OSError:  # typed in by hand, or read from an archive
        source = repr((code.co_code, code.co_consts, code.co_names)).encode()
    return hashlib.sha256(source).hexdigest()[:16]


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}:{source_digest(function)}"


def kernel(function: Callable[..., None]) -> Kernel:
    """Turn ``f(begin, end, worker, *arguments)`` into a :class:`Kernel`."""
    return Kernel(function, _name(function))


def specialised(factory: Callable[..., Callable[..., None]]) -> Callable[..., Kernel]:
    """Turn a function of static values that returns a kernel's function into one that returns the kernel.

    The static values (numbers, strings, tuples of them) become constants of the machine code.
    """
    made: dict[tuple[Any, ...], Kernel] = {}

    def get(*static: Any) -> Kernel:
        if static not in made:
            made[static] = Kernel(factory(*static), f"{_name(factory)}{static}")
        return made[static]

    get.__doc__ = factory.__doc__
    return get


class _Waiting(threading.local):
    calls: "list[Call] | None" = None


_waiting = _Waiting()


@contextmanager
def together() -> Iterator[None]:
    """Compile what the calls made inside need at the end, on all cores."""
    if _waiting.calls is not None:
        yield
        return
    calls: list[Call] = []
    _waiting.calls = calls
    try:
        yield
    finally:
        _waiting.calls = None
    needed = {(call.kernel, call.kernel.version(call.arguments)) for call in calls}
    missing = [(kernel, version) for kernel, version in needed if not kernel.kept(version)]
    # A kernel takes at least a tenth of a second, a process about as long to start and to end. What a process has
    # compiled reaches this one through the folder.
    if len(missing) > 2 and settings.compilers() > 1 and settings.can_keep(settings.code_folder()):
        _compile_in_processes(sorted(missing, key=lambda one: one[0].name))
    for call in calls:
        call.compile()


def _compile_in_processes(missing: list[tuple[Kernel, _Version]]) -> None:
    """Compile kernels in this process and in copies of it; threads do not help, one at a time can compile."""
    # Whoever is free takes the number of the next one from the pipe.
    queue, fill = os.pipe()
    os.set_blocking(queue, False)
    os.write(fill, b"".join(number.to_bytes(2, "little") for number in range(len(missing))))
    children: list[int] = []
    try:
        for _ in range(min(settings.compilers(), len(missing)) - 1):
            # What another thread has locked would stay locked in the copy.
            with global_compiler_lock, ffi.lib._lock, warnings.catch_warnings():
                # Python warns that threads are not copied: nothing is asked of them there.
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if not child:
                _work_as_copy(queue, missing)
            children.append(child)
        _work(queue, missing)
    finally:
        for child in children:
            os.waitpid(child, 0)
        os.close(queue)
        os.close(fill)


def _work(queue: int, missing: list[tuple[Kernel, _Version]]) -> None:
    with suppress(BlockingIOError):
        while True:
            kernel, version = missing[int.from_bytes(os.read(queue, 2), "little")]
            kernel.address(version)


def _work_as_copy(queue: int, missing: list[tuple[Kernel, _Version]]) -> NoReturn:
    # What goes wrong here is told where it goes wrong again: in the process that needs the kernel.
    global on_compile
    on_compile = None
    try:
        _work(queue, missing)
    finally:
        os._exit(0)


class Call:
    """A kernel bound to its arguments: calling it runs it.

    The arrays are held by address, so what is written to them before the call is what the kernel sees.
    """

    __slots__ = ("kernel", "arguments", "tasks", "workers", "once", "_address", "_table", "_context")

    def __init__(
        self, kernel: Kernel, tasks: int, arguments: tuple[Argument, ...], workers: int, once: bool = False
    ) -> None:
        self.once = once
        self.kernel = kernel
        self.arguments = arguments
        self.tasks = tasks
        self.workers = min(workers, max(tasks, 1))
        self._table = _pack(arguments)
        self._context = self._table.ctypes.data
        self._address = 0
        if _waiting.calls is None:
            self.compile()
        else:
            _waiting.calls.append(self)

    def compile(self) -> None:
        """See to it that there is machine code."""
        self._address = self.kernel.address(self.kernel.version(self.arguments))

    def words(self) -> tuple[int, int, int, int]:
        """Return what running it takes: address, context, tasks and workers."""
        if not self._address:
            self.compile()
        return self._address, self._context, self.tasks, self.workers

    def __call__(self) -> None:
        if not self._address:
            self.compile()
        if self.workers == 1:
            _run_serial(self._address, self._context, self.tasks)
        else:
            _run_parallel(self._address, self._context, self.tasks, self.workers)

    def __repr__(self) -> str:
        return f"<Call of {self.kernel.name}, {self.tasks} tasks on {self.workers} threads>"


class Row:
    """Calls that run one after the other, all from one compiled function: small kernels take less than Python does."""

    __slots__ = ("calls", "_table")

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls
        self._table: np.ndarray | None = None

    def __call__(self) -> None:
        if self._table is None:
            self._table = np.array([call.words() for call in self.calls], np.intp)
        _run_row(self._table)


def in_rows(steps: Iterable[Callable[[], None]]) -> list[Callable[[], None]]:
    """Return steps that do the same: each run of calls is one step."""
    found: list[Callable[[], None]] = []
    for bound, group in groupby(steps, lambda step: isinstance(step, Call)):
        members = list(group)
        found += [Row(cast(list[Call], members))] if bound else members
    return found


#: Below this many operations a second thread costs more than it saves: its launch takes about 2 µs.
SERIAL_WORK = 30_000


def call(kernel: Kernel, tasks: int, *arguments: Argument, work: float | None = None, once: bool = False) -> Call:
    """Bind a kernel to its arguments.

    Parameters
    ----------
    kernel : Kernel
    tasks : int
        Number of independent tasks; they are dealt out to the threads in contiguous runs.
    *arguments : ndarray, int, float or NamedTuple of numbers
        C-contiguous arrays, numbers and records of numbers, after ``begin, end, worker`` of the kernel's function.
    work : float, optional
        Simple operations in all (an addition of two floats is one). Little work runs on one thread.
    once : bool, optional
        What it computes depends on parameters alone: where they stay as they are, running it once is enough.

    Returns
    -------
    Call
    """
    workers = 1 if work is not None and work < SERIAL_WORK else settings.threads()
    return Call(kernel, tasks, arguments, workers, once)
