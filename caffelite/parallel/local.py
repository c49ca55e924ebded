"""Several processes of this machine, started under the mpiexec of mpi4py's MPI.

The launcher passes standard output and standard error on to the processes by a socket, so that a terminal is one for
them too; what mpiexec says itself is told only where it explains an end. Signals go to the processes, not to mpiexec:
each MPI treats them in its own way.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import caffelite
from caffelite.errors import MissingExtraError, ParallelError

#: Names the socket for the processes.
_VARIABLE = "CAFFELITE_LAUNCHER"
#: For Open MPI, which else refuses root, refuses more processes than cores, and gives each a single core.
_OPEN_MPI_SETTINGS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}
#: From the end of the first process to that of the last, which mpiexec sees to; else it is done here.
_SECONDS_TO_END = 5.0
#: In what the mpiexec of MPICH and that of Open MPI say of a process that a signal has ended.
_PROCESS, _SIGNAL = re.compile(r"PID\s+(\d+)"), re.compile(r"signal\s+(\d+)", re.IGNORECASE)


def run_processes(number: int, command: Sequence[str]) -> int:
    """Run a command of caffelite in several processes; return the exit code that they have agreed on.

    Parameters
    ----------
    number : int
    command : sequence of str
        The name of the command, and its arguments.

    Raises
    ------
    MissingExtraError
        There is no mpi4py, or no mpiexec.
    ParallelError
        A signal has ended one of them, or they could not be started.
    """
    program = _mpiexec()
    package = str(Path(caffelite.__file__).parents[1])
    paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory(prefix="caffelite-") as folder, tempfile.TemporaryFile() as said:
        ranks = _Ranks(Path(folder) / "launcher")
        with _signals_for(ranks), ranks:
            process = subprocess.Popen(
                [program, "-n", str(number), sys.executable, "-P", "-m", "caffelite", *command],
                env={**_OPEN_MPI_SETTINGS, **os.environ, "PYTHONPATH": paths, _VARIABLE: str(ranks.path)},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                # Ctrl-C of a terminal is for this process, which passes it on.
                start_new_session=True,
            )
            code = process.wait()
        if code:
            said.seek(0)
            return _explained(program, code, said.read().decode(errors="replace").strip(), ranks, number)
        return 0


def _mpiexec() -> str:
    if find_spec("mpi4py") is None:
        raise MissingExtraError("several processes take mpi4py and an MPI: pip install 'caffelite[mpi]'")
    beside = Path(sys.executable).with_name("mpiexec")
    program = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if program is None:
        raise MissingExtraError(
            f"no mpiexec is beside {sys.executable} or on the PATH: pip install 'caffelite[mpi]', which brings one"
        )
    return program


def _explained(program: str, code: int, said: str, ranks: "_Ranks", size: int) -> int:
    """Raise the error that tells why mpiexec has ended; where processes have told it, return the exit code."""
    process, number = _PROCESS.search(said), _SIGNAL.search(said)
    if ranks.killed:
        return 1
    if process and number:
        # Before a process has joined the others it ends by SIGTERM, whichever signal was passed on to it.
        if ranks.asked and int(number[1]) in (*ranks.asked, signal.SIGTERM):
            signal.raise_signal(ranks.asked[0])  # it ends this process as it would without others
            return 128 + ranks.asked[0]  # or is ignored outside of _signals_for, as behind the "&" of a script
        rank = ranks.numbers.get(int(process[1]))
        which = "a process" if rank is None else f"process {rank}"
        what = _name(int(number[1]))
        memory = ", as the system does where memory is short" if what == "SIGKILL" else ""
        raise ParallelError(f"{which} of {size} (PID {process[1]}) was ended by {what}{memory}; all have ended with it")
    if code < 0:
        raise ParallelError(f"{program} was ended by {_name(-code)}, and the processes with it")
    if len(ranks.numbers) < size:
        raise ParallelError(f"{program} has not started {size} processes, its exit code is {code}", said)
    return code


def _name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


class _Ranks:
    """The processes as they come to the socket of the launcher.

    Parameters
    ----------
    path : Path
        Of the socket, in a folder that only this user may enter.

    Attributes
    ----------
    numbers : dict of int to int
        Their ranks, by the number of the process.
    asked : list of int
        The signals that were passed on.
    killed : bool
        Whether those were killed here that another one had left, when it had told why.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.numbers: dict[int, int] = {}
        self._living: set[int] = set()
        self.killed = False
        self.asked: list[int] = []
        self._lock = threading.RLock()
        self._connections: list[socket.socket] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(64)

    def __enter__(self) -> None:
        threading.Thread(target=self._welcome, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        # Whatever ended this: a process that sees its connection end, ends too.
        self._listening.close()
        for connection in self._connections:
            connection.close()

    def _welcome(self) -> None:
        with suppress(OSError):  # it is closed at the end
            while True:
                connection, _ = self._listening.accept()
                rank, pid = map(int, connection.recv(64).split())
                with self._lock:
                    self._connections.append(connection)
                    self.numbers[pid] = rank
                    self._living.add(pid)
                    socket.send_fds(connection, [b"."], [1, 2])
                    for number in self.asked:
                        os.kill(pid, number)
                threading.Thread(target=self._see_off, args=(connection, pid), daemon=True).start()

    def _see_off(self, connection: socket.socket, pid: int) -> None:
        """Wait for the end of a process; see to it that the others end soon after."""
        with suppress(OSError):
            told = connection.recv(1)
            with self._lock:
                self._living.discard(pid)
            if not told:
                time.sleep(_SECONDS_TO_END)
            with self._lock:
                self.killed |= bool(self._living)
                for other in self._living:
                    os.kill(other, signal.SIGKILL)

    def pass_on(self, number: int) -> None:
        """Send a signal to all processes, and to those that are still to come."""
        with self._lock:
            self.asked.append(number)
            for pid in self._living:
                os.kill(pid, number)


@contextmanager
def _signals_for(ranks: _Ranks) -> Iterator[None]:
    def handle(number: int, _: object) -> None:
        ranks.pass_on(number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def attach(rank: int) -> Callable[[], None] | None:
    """Write to what the launcher writes to, where :func:`run_processes` has started this process, and end with it.

    Returns
    -------
    callable or None
        Ends the other processes; None where something else has started them.
    """
    path = os.environ.pop(_VARIABLE, None)
    if path is None:
        return None
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.sendall(b"%d %d" % (rank, os.getpid()))
    _, streams, _, _ = socket.recv_fds(connection, 1, 2)
    for descriptor, stream in zip((1, 2), streams, strict=True):
        os.dup2(stream, descriptor)
        os.close(stream)

    def end_with_launcher() -> None:
        connection.recv(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_launcher, daemon=True).start()
    return lambda: connection.sendall(b".")
