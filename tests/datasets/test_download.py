"""Downloads go on where they broke, are checked, and give up soon, against a real server on this machine."""

import hashlib
import http.server
import threading
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from caffelite.datasets import download as module
from caffelite.datasets.download import Remote, download
from caffelite.datasets.prepare import DATASETS
from caffelite.errors import DataError

CONTENT = bytes(range(256)) * 2000


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT in ways that the path tells."""

    def __init__(self, asked: list[tuple[str, str | None]], *arguments: object) -> None:
        self.asked = asked
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        kind, span = self.path.split("/")[1], self.headers.get("Range")
        self.asked.append((kind, span))
        start = int(span.removeprefix("bytes=").removesuffix("-")) if span and kind != "no-ranges" else 0
        if kind == "elsewhere":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/good/file")
            self.end_headers()
            return
        if kind == "missing":
            self.send_error(404)
            return
        body = b"another file" if kind == "other" else CONTENT
        self.send_response(206 if start else 200)
        if start:
            shown = start + 7 if kind == "wrong-part" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        # A server that breaks off sends half of what is left.
        end = start + (len(body) - start) // 2 if kind == "breaks" else len(body)
        self.wfile.write(body[start:end])

    def log_message(self, *arguments: object) -> None:
        pass


class Server:
    """What the handlers were asked for, and addresses of them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self.asked))

    def remote(self, *kinds: str, size: int = len(CONTENT)) -> Remote:
        urls = tuple(f"http://127.0.0.1:{self.server.server_port}/{kind}/file" for kind in kinds)
        return Remote("file.bin", size, hashlib.sha256(CONTENT).hexdigest(), urls)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(autouse=True)
def plain_http(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server here, which has no certificate, stand for one that has."""
    if "by_https" not in request.node.name:
        monkeypatch.setattr(module, "_SCHEMES", ("http",))


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_downloads_once(tmp_path: Path, server: Server) -> None:
    said: list[str] = []
    for _ in range(2):
        download([server.remote("good")], tmp_path / "new" / "folder", said.append)
    assert files(tmp_path / "new" / "folder") == {"file.bin": CONTENT}
    assert server.asked == [("good", None)]
    assert len(said) == 1
    assert "downloading file.bin (0.5 MB) from 127.0.0.1" in said[0]


def test_goes_on_where_an_earlier_run_ended(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    download([server.remote("good")], tmp_path, print)
    assert server.asked == [("good", "bytes=1000-")]
    assert files(tmp_path) == {"file.bin": CONTENT}


def test_a_whole_part_needs_no_server(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    download([server.remote("good")], tmp_path, print)
    assert server.asked == []
    assert files(tmp_path) == {"file.bin": CONTENT}


@pytest.mark.parametrize("part", [CONTENT[:500] + b"x", b"y" * len(CONTENT), CONTENT + b"z"])
def test_a_part_that_is_wrong_is_dropped(tmp_path: Path, server: Server, part: bytes) -> None:
    (tmp_path / "file.bin.part").write_bytes(part)
    download([server.remote("good")], tmp_path, print)
    assert files(tmp_path) == {"file.bin": CONTENT}


def test_a_server_without_ranges_sends_all(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    download([server.remote("no-ranges")], tmp_path, print)
    assert files(tmp_path) == {"file.bin": CONTENT}


def test_a_connection_that_breaks_is_taken_up_at_a_mirror(tmp_path: Path, server: Server) -> None:
    download([server.remote("breaks", "good")], tmp_path, print)
    assert server.asked == [("breaks", None), ("good", f"bytes={len(CONTENT) // 2}-")]
    assert files(tmp_path) == {"file.bin": CONTENT}


def test_what_has_come_is_kept(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DataError, match=r"file\.bin could not be .*ended at 384000 of 512000 bytes"):
        download([server.remote("breaks")], tmp_path, print)
    assert files(tmp_path) == {"file.bin.part": CONTENT[:384_000]}


def test_another_file_is_never_taken(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DataError, match="has another file under its name"):
        download([server.remote("good", size=len(CONTENT) - 1)], tmp_path, print)
    with pytest.raises(DataError, match="could not be downloaded"):
        download([server.remote("other")], tmp_path, print)
    assert "file.bin" not in files(tmp_path)


def test_another_part_than_was_asked_for(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    with pytest.raises(DataError, match="another part"):
        download([server.remote("wrong-part")], tmp_path, print)


def test_a_host_that_fails_is_not_asked_again(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DataError, match="404"):
        download([server.remote("missing"), server.remote("missing")], tmp_path, print)
    assert server.asked == [("missing", None)]


def test_addresses_that_lead_nowhere(tmp_path: Path, server: Server) -> None:
    nowhere = Remote("file.bin", 3, "", ("ftp://127.0.0.1/x", "file:///etc/hostname", "http://127.0.0.1:1/x"))
    with pytest.raises(DataError, match=r"127\.0\.0\.1:1: .*refused"):
        download([nowhere], tmp_path, print)
    with pytest.raises(DataError, match="no address is known"):
        download([Remote("file.bin", 3, "", ())], tmp_path, print)


def test_gives_up_on_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN_SECONDS", 0.05)
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as silent:  # listens and never answers
        remote = Remote("file.bin", 3, "", (f"http://127.0.0.1:{silent.server_port}/x",))
        with pytest.raises(DataError, match="no answer"):
            download([remote], tmp_path, print)


def test_a_folder_that_cannot_be_made(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file"):
        download([server.remote("good")], tmp_path / "file", print)


def test_files_come_by_https_alone(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DataError, match="an address with http, and only https is taken"):
        download([server.remote("good")], tmp_path, print)
    assert server.asked == [] and files(tmp_path) == {}
    assert not [
        url for data in DATASETS.values() for remote in data.remotes for url in remote.urls if url[:8] != "https://"
    ]


def test_a_server_does_not_lead_away(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DataError, match="an address with ftp"):
        download([server.remote("elsewhere")], tmp_path, print)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("address", ["http://example.org/x", "ftp://example.org/x", "file:///etc/hostname"])
def test_a_server_reached_by_https_does_not_lead_away(address: str) -> None:
    with pytest.raises(ValueError, match="only https"):
        module._Redirects().redirect_request(urllib.request.Request("https://a.org"), None, 302, "", {}, address)
