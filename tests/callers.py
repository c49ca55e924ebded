"""Programs that call nets from threads, from handlers of signals, and while they end."""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np


def _together(*works: Callable[[], Any]) -> list[Any]:
    """Return what functions return that begin at the same time, each on a thread of its own."""
    start = threading.Barrier(len(works))

    def begin(work: Callable[[], Any]) -> Any:
        start.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(begin, works))


def import_in_a_thread(folder: Path) -> None:
    """Import the package for the first time in two threads at once, and use it there and here."""
    here = "caffelite" not in sys.modules

    def work() -> np.ndarray:
        from calling import answer

        return answer(1)

    first, second = _together(work, work)
    assert here
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, work())


def nets_of_their_own(folder: Path) -> None:
    """Eight threads make and train a net each, 50 passes: as one alone does."""
    from mixed_net import BODY, make

    def work(seed: int) -> bytes:
        net = make(BODY, seed=seed)
        losses = []
        for _ in range(50):
            net.zero_grad()
            losses.append(net.forward())
            net.backward()
            net.data -= np.float32(0.01) * net.diff
        return np.array(losses).tobytes() + net.data.tobytes()

    alone = [work(seed) for seed in range(8)]
    assert _together(*(partial(work, seed) for seed in range(8))) == alone


def data_layers_of_their_own(folder: Path) -> None:
    """Four threads train on one database."""
    from calling import train, trainer

    alone = train(trainer(folder), 30)

    def work(number: int) -> bytes:
        own = folder / str(number)
        own.mkdir()
        solver = trainer(own)
        own.joinpath("net.prototxt").write_text((folder / "net.prototxt").read_text())
        result = train(solver, 30)
        solver.close()
        return result

    assert _together(*(partial(work, number) for number in range(4))) == [alone] * 4


def one_net_in_two_threads(folder: Path) -> None:
    """Two threads use one net, 300 times each: right, or refused."""
    from calling import INPUT, PROBABILITIES, images

    import caffelite as caffe
    from caffelite.errors import BusyError

    (folder / "net.prototxt").write_text(INPUT + PROBABILITIES)
    net = caffe.Net(str(folder / "net.prototxt"), caffe.TEST)
    expected = [net.forward_all(data=images(i))["prob"] for i in range(2)]
    refused = [0, 0]

    def work(number: int) -> None:
        data = images(number)
        for _ in range(300):
            try:
                np.testing.assert_array_equal(net.forward_all(data=data)["prob"], expected[number])
            except BusyError:
                refused[number] += 1
                time.sleep(0.0001)

    _together(partial(work, 0), partial(work, 1))
    assert sum(refused) and max(refused) < 300, refused
    np.testing.assert_array_equal(net.forward_all(data=images(1))["prob"], expected[1])


def web_server(folder: Path) -> None:
    """A threaded web server with a net a thread answers four clients."""
    from calling import AnswerNet

    alone = AnswerNet()
    expected = [alone(i).tobytes() for i in range(10)]
    own = threading.local()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # a thread a client

        def do_GET(self) -> None:
            if not hasattr(own, "net"):
                own.net = AnswerNet()
            body = own.net(int(self.path[1:])).tobytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    def client() -> list[bytes]:
        connection = HTTPConnection(*server.server_address[:2])
        answers = []
        for i in range(10):
            connection.request("GET", f"/{i}")
            answers.append(connection.getresponse().read())
        connection.close()
        return answers

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            assert _together(*[client] * 4) == [expected] * 4
        finally:
            server.shutdown()


def interrupts(folder: Path) -> None:
    """Ctrl-C at any moment, as a notebook sends it: the net goes on with the records that come next."""
    from calling import train, trainer

    solver, reference = trainer(folder), trainer(folder)
    assert train(solver, 2) == train(reference, 2)
    generator = random.Random(1)
    interrupted = 0
    for _ in range(40):
        sender = threading.Timer(generator.uniform(0, 0.004), os.kill, (os.getpid(), signal.SIGINT))
        end = time.monotonic() + 1  # Python ignores an interrupt that comes where an object is given back
        try:
            sender.start()
            while time.monotonic() < end:
                solver.net.forward()
        except KeyboardInterrupt:
            interrupted += 1
        sender.join()
        reference.net.load_state(solver.net.state())  # the number of the next record
        assert solver.net.forward() == reference.net.forward()
    assert interrupted > 30
    assert train(solver, 5) == train(reference, 5)


def signals(folder: Path) -> None:
    """Handlers of two signals run a net of their own in the middle of passes of another one."""
    from calling import AnswerNet

    first, second = AnswerNet(), AnswerNet()
    expected = [first(i) for i in range(4)]
    handled: dict[int, int] = {signal.SIGALRM: 0, signal.SIGUSR1: 0}
    wrong: list[int] = []
    inside: list[int] = []

    def handle(number: int, _: Any) -> None:
        handled[number] += 1
        # A signal may come while another one is handled, in the middle of a pass of the same net.
        if handled[number] % 4 == 0 and not inside:
            inside.append(number)
            wrong.extend([number] if (second(1) != expected[1]).any() else [])
            inside.pop()

    for number in handled:
        signal.signal(number, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
    end = time.monotonic() + 0.6

    def send() -> None:
        while time.monotonic() < end:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.0005)

    sender = threading.Thread(target=send)
    sender.start()
    passes = 0
    while time.monotonic() < end:
        np.testing.assert_array_equal(first(passes % 4), expected[passes % 4])
        passes += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    sender.join()
    assert not wrong and min(handled.values()) > 20, (wrong, handled)


def stopped_and_continued(folder: Path) -> None:
    """The process is stopped and continued in the middle of passes."""
    parent = os.getpid()
    child = os.fork()
    if not child:
        time.sleep(0.8)
        for _ in range(15):
            os.kill(parent, signal.SIGSTOP)
            time.sleep(0.01)
            os.kill(parent, signal.SIGCONT)
            time.sleep(0.02)
        os._exit(0)
    from calling import AnswerNet

    net = AnswerNet()
    expected = net(1)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        np.testing.assert_array_equal(net(1), expected)


def _passes_without_end(started: threading.Event, stop: threading.Event, result: list[bool]) -> None:
    from calling import AnswerNet

    net = AnswerNet()
    expected = net(1)
    while not stop.is_set():
        result.append(bool((net(1) == expected).all()))
        started.set()


def _start(daemon: bool) -> tuple[threading.Event, list[bool]]:
    started, stop, result = threading.Event(), threading.Event(), [True]
    threading.Thread(target=_passes_without_end, args=(started, stop, result), daemon=daemon).start()
    started.wait()
    return stop, result


def end_with_daemons(folder: Path) -> None:
    """The program ends while daemon threads are in a pass."""
    for _ in range(2):
        _start(daemon=True)


def end_with_threads(folder: Path) -> None:
    """The main thread ends before another one, which is waited for."""
    stop, result = _start(daemon=False)

    def watch() -> None:
        threading.main_thread().join()
        before = len(result)
        while len(result) < before + 20:
            time.sleep(0.001)
        stop.set()
        if not all(result):
            os._exit(3)

    threading.Thread(target=watch).start()


def exit_in_a_thread(folder: Path) -> None:
    """A thread that leaves with sys.exit ends alone; the others go on."""
    from calling import AnswerNet

    net = AnswerNet()
    expected = net(1)

    def leave() -> None:
        net(2)
        sys.exit(5)

    stop, result = _start(daemon=False)
    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(net(1), expected)
    stop.set()
    assert all(result)


def exit_while_a_thread_works(folder: Path) -> None:
    """The main thread leaves with sys.exit while a daemon thread is in a pass."""
    _start(daemon=True)
    with suppress(KeyboardInterrupt):
        sys.exit(0)


PROGRAMS = {
    program.__name__: program
    for program in (
        import_in_a_thread,
        nets_of_their_own,
        data_layers_of_their_own,
        one_net_in_two_threads,
        web_server,
        interrupts,
        signals,
        stopped_and_continued,
        end_with_daemons,
        end_with_threads,
        exit_in_a_thread,
        exit_while_a_thread_works,
    )
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](Path(sys.argv[2]))
