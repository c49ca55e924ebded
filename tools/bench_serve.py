"""A service that answers one image at a time: caffelite, ONNX Runtime and OpenVINO behind the same small HTTP server.

    python tools/bench_serve.py --nets FOLDER --json serve.json
    python tools/bench_serve.py --memory lenet

The server (``http.server``, a thread a connection) takes an image as bytes of float32 and answers with the scores. Its
threads share a pool of passes that may run at once: each takes one, waiting where there is none, and puts it back.
Clients are threads of another process on this machine, each with a connection that it keeps and an image of its own.
Reported are answers a second, and the 50th and the 99th percentile of the time from a request to its answer. Every
answer is held against what the same server computed for the image while nobody else asked.

The pool of "caffelite, 1 net" is one net; that of "caffelite, N nets" one for each core, with shared parameters. ONNX
Runtime has one session, and OpenVINO one model, for any number of threads. All have as many threads as there are cores.
``--memory`` tells instead what the server has in memory after each tenth of 10,000 answers.

`tools/bench_infer.py --help` says where GoogLeNet is published; ``lenet`` is that of ``models/``. Parameters are
random.
"""

import argparse
import http.client
import json
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np
from bench_train import MODELS
from inference_nets import DEVIATION, Files, prepared, source
from programs import TOLERANCE, Forward, caffelite_nets, difference, needed, onnxruntime, openvino_requests
from turns import machine, memory, spread, use_threads
from workers import Worker

CLIENTS = (1, 2, 8)
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
NETS = ("googlenet", "lenet")


#: What each program has in its pool.
PROGRAMS: dict[str, Callable[[Files], list[Forward]]] = {
    "caffelite, 1 net": lambda files: caffelite_nets(files, 1),
    f"caffelite, {CORES} nets": lambda files: caffelite_nets(files, CORES),
    "ONNX Runtime": lambda files: [onnxruntime(files, CORES, True)] * max(CLIENTS),
    "OpenVINO": lambda files: openvino_requests(files, CORES, max(CLIENTS)),
}


def serving(program: str, files: Files) -> Callable[[Any], tuple[int, float]]:
    """Start a server; return a function that tells its port and what this process has in memory, MiB."""
    pool: LifoQueue[Forward] = LifoQueue()
    for forward in PROGRAMS[program](files):
        pool.put(forward)
    shape = files.images().shape

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # a connection stays open
        disable_nagle_algorithm = True  # else the body waits for the head to be acknowledged

        def do_POST(self) -> None:
            image = np.frombuffer(self.rfile.read(int(self.headers["Content-Length"])), np.float32).reshape(shape)
            forward = pool.get()
            try:
                scores = forward(image).tobytes()
            finally:
                pool.put(forward)
            self.send_response(200)
            self.send_header("Content-Length", str(len(scores)))
            self.end_headers()
            self.wfile.write(scores)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return lambda request: (server.server_address[1], memory())


class Client:
    """One that sends the same image over and over."""

    def __init__(self, image: np.ndarray) -> None:
        self._body = image.tobytes()
        self.expected = b""
        self.times: list[float] = []
        self.wrong = 0

    def ask(self, connection: http.client.HTTPConnection) -> bytes:
        connection.request("POST", "/", self._body)
        return connection.getresponse().read()

    def run(self, port: int, answers: int, end: float) -> None:
        """Ask once, and until there are so many answers or the clock says ``end``, over one connection."""
        self.times = []
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not self.times or (len(self.times) < answers and time.perf_counter() < end):
            start = time.perf_counter()
            answer = self.ask(connection)
            self.times.append(time.perf_counter() - start)
            self.expected = self.expected or answer
            self.wrong += answer != self.expected and not same(answer, self.expected)
        connection.close()


def same(answer: bytes, expected: bytes) -> bool:
    scores, right = (np.frombuffer(one, np.float32)[None] for one in (answer, expected))
    return difference(scores, right) < TOLERANCE


def asking(shape: tuple[int, ...]) -> Callable[[tuple[int, int, int, float]], Any]:
    """Return a function that lets clients ask.

    It takes the port, the number of clients, how many answers each gets and for how many seconds at most; it returns
    how long each answer took, the seconds of all, the number of wrong answers, and what is right for the first image.
    """
    rng = np.random.default_rng(2)
    clients = [Client((rng.standard_normal(shape) * DEVIATION).astype(np.float32)) for _ in range(max(CLIENTS))]
    executor = ThreadPoolExecutor(len(clients))

    def ask(request: tuple[int, int, int, float]) -> Any:
        port, count, answers, seconds = request
        for client in clients:
            if not client.expected:  # what the net computes where nobody else asks
                client.run(port, 1, math.inf)
        start = time.perf_counter()
        running = [executor.submit(client.run, port, answers, start + seconds) for client in clients[:count]]
        for future in running:
            future.result()
        taken = time.perf_counter() - start
        times = sum((client.times for client in clients[:count]), [])
        return times, taken, sum(client.wrong for client in clients), clients[0].expected

    return ask


class Service:
    """A server and its clients, a process each."""

    def __init__(self, net: str, program: str, files: Files) -> None:
        self.name = f"{net}: {program}"
        self._server = Worker(program, serving, program, files)
        self._clients = Worker("the process of the clients", asking, files.images().shape)
        self._port, _ = self._server.ask("port")
        self.expected = b""

    def memory(self) -> float:
        return float(self._server.ask("memory")[1])

    def run(self, clients: int, answers: int, seconds: float) -> tuple[list[float], float]:
        """Return how long each answer took, and all of them together; end the run where one is wrong."""
        times, taken, wrong, self.expected = self._clients.ask((self._port, clients, answers, seconds))
        if wrong:
            sys.exit(f"{self.name}: {wrong} of {len(times)} answers are not what the net computes for their image")
        return times, taken

    def close(self) -> None:
        self._clients.close()
        self._server.close()


def timed_services(net: str, files: Files, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Let clients ask each program's server, in turns."""
    services = {program: Service(net, program, files) for program in options.programs}
    first = next(iter(services.values()))
    for service in services.values():
        service.run(1, 5, math.inf)
        if not same(service.expected, first.expected):
            sys.exit(f"{service.name} and {first.name} give different answers, not timed")
    rows = []
    for clients in CLIENTS:
        times: dict[str, list[float]] = {program: [] for program in services}
        rates: dict[str, list[float]] = {program: [] for program in services}
        order = list(services)
        for _ in range(options.rounds):
            for program in order:
                one, taken = services[program].run(clients, options.answers, options.seconds)
                times[program] += one
                rates[program].append(len(one) / taken)
            order.append(order.pop(0))  # none always follows the same one
        for program in services:
            middle, last = np.percentile(times[program], [50, 99]) * 1e3
            rate, low, high = spread(rates[program])
            print(
                f"{net:10s} {clients} clients   {program:18s} {rate:7.1f} answers a second ({low:.1f} to {high:.1f})   "
                f"50% in {middle:.2f} ms   99% in {last:.2f} ms",
                flush=True,
            )
            found = {"rate": rate, "rate_low": low, "rate_high": high, "ms_50": middle, "ms_99": last}
            rows.append({"net": net, "clients": clients, "program": program, **found, "answers": len(times[program])})
    for service in services.values():
        service.close()
    return rows


def memories(net: str, files: Files, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Tell what each program's server has in memory while two clients ask."""
    rows = []
    for program in options.programs:
        service = Service(net, program, files)
        found = []
        for _ in range(10):
            service.run(2, options.answers // 20, math.inf)
            found.append(service.memory())
        service.close()
        every = " ".join(f"{mib:.1f}" for mib in found)
        print(f"{net:10s} {program:18s} MiB after each {options.answers // 10} answers: {every}", flush=True)
        rows.append({"net": net, "program": program, "answers": options.answers, "mib": found})
    return rows


def deployed_lenet(folder: Path) -> Path:
    """Write ``lenet`` of ``models/`` with an Input of one image and its scores as the only output."""
    from caffelite.schema.printer import write_text
    from caffelite.schema.text import read_net

    document = read_net(MODELS / "lenet.prototxt")
    layers = document.message.layer
    for layer in [layer for layer in layers if layer.include]:  # Data of each phase, Accuracy
        layers.remove(layer)
    softmax = layers[-1]
    softmax.type = "Softmax"
    del softmax.bottom[1:]
    layers.insert(0, type(softmax)(name="data", type="Input", top=["data"]))
    layers[0].input_param.shape.add(dim=[1, 1, 28, 28])
    path = folder / "lenet.prototxt"
    write_text(document, path)
    return path


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NET", default=list(NETS), help=f"{', '.join(NETS)} (all)")
    parser.add_argument("--nets", type=Path, metavar="FOLDER", help="where the repositories of published nets are")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--memory", action="store_true", help="what the server has in memory, in place of times")
    parser.add_argument("--answers", type=int, default=10_000, help="of a client a round, at most; with --memory, all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each program a round, at most")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    options.sources = {}
    try:
        for name in options.names:
            if name not in NETS:
                raise ValueError(f"there is no net {name}, but {' and '.join(NETS)}")
            if name != "lenet" and options.nets is None:
                raise ValueError(f"--nets FOLDER has to say where {name} is; tools/bench_infer.py --help has more")
            options.sources[name] = None if name == "lenet" else source(options.nets, name)
        needed(options.programs)
    except ValueError as error:
        parser.error(str(error))
    return options


def main() -> None:
    options = parsed()
    use_threads(CORES)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        sources = {name: path or deployed_lenet(Path(folder)) for name, path in options.sources.items()}
        for net, files in prepared(sources, 1):
            rows += (memories if options.memory else timed_services)(net, files, options)
    facts = machine(CORES)
    print(facts)
    if options.json:
        options.json.write_text(json.dumps({"facts": facts, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
