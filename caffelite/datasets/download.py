"""Fetching files of known size and SHA-256: from several addresses, going on where the last try ended."""

import hashlib
import http.client
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from caffelite.cache import cache_folder
from caffelite.errors import DataError
from caffelite.files import replace

#: A server that has not answered by then counts as out of reach; without a network, a handful of these is the
#: wait.
OPEN_SECONDS = 5.0
_READ_SECONDS = 20.0
#: The SHA-256 tells what a file is; that nobody on the way sees or holds up what is fetched, only this does.
_SCHEMES = ("https",)
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Remote:
    """A file that can be downloaded.

    Attributes
    ----------
    name : str
        What it is called here.
    size : int
        In bytes.
    sha256 : str
    urls : tuple of str
        The original address, and mirrors of the same bytes.
    """

    name: str
    size: int
    sha256: str
    urls: tuple[str, ...]


def downloads_folder(name: str) -> Path:
    """Return the folder in which downloads of a data set are kept."""
    return cache_folder() / "datasets" / name


def download(remotes: Sequence[Remote], folder: Path, say: Callable[[str], None] = print) -> None:
    """Download the files that are not in ``folder`` yet.

    What has come of a file stays as ``NAME.part`` when the connection breaks, and the next call goes on from
    there. A file gets its name when its SHA-256 is right.

    Raises
    ------
    DataError
        A file cannot be had from any of its addresses; says why.
    """
    unreachable: set[str] = set()
    for remote in remotes:
        if not os.path.isfile(folder / remote.name):  # also where the folder cannot be looked into
            try:
                folder.mkdir(parents=True, exist_ok=True)
                _download(remote, folder / remote.name, unreachable, say)
            except OSError as error:
                raise DataError(f"{folder}: {error.strerror}") from None


def _download(remote: Remote, path: Path, unreachable: set[str], say: Callable[[str], None]) -> None:
    part = path.with_name(path.name + ".part")
    reason = "no address is known"
    # Each address twice: a connection that breaks in the middle is worth a second try.
    for url in remote.urls * 2:
        host = urllib.parse.urlsplit(url).netloc
        if host in unreachable:
            continue
        have = part.stat().st_size if part.exists() else 0
        if have > remote.size:
            part.unlink()
            have = 0
        try:
            if have < remote.size:
                with closing(_open(url, have)) as response:
                    say(f"downloading {remote.name} ({remote.size / 1e6:.1f} MB) from {host}")
                    _receive(response, have, remote, part)
            if _sha256(part) == remote.sha256:
                replace(part, path)
                return
            part.unlink()
            reason = f"{host} has another file under its name"
            if have == 0:
                unreachable.add(host)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = f"{host}: {_why(error)}"
            if not part.exists() or part.stat().st_size == have:
                unreachable.add(host)
    raise DataError(f"{remote.name} could not be downloaded ({reason})")


def _check_scheme(url: str) -> None:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in _SCHEMES:
        raise ValueError(f"an address with {scheme or 'no scheme'}, and only https is taken")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Goes where a server sends it, as long as that is no weaker than the address it came from."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, start: int) -> Any:
    """Open an address at a byte, within :data:`OPEN_SECONDS` all in all, name lookup included."""
    _check_scheme(url)
    headers = {"User-Agent": "caffelite"} | ({"Range": f"bytes={start}-"} if start else {})
    request = urllib.request.Request(url, headers=headers)
    result: list[Any] = []

    def work() -> None:
        try:
            result.append(urllib.request.build_opener(_Redirects).open(request, timeout=_READ_SECONDS))
        except Exception as error:
            result.append(error)

    # On a thread, because no time limit can be set for the lookup of a name.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(OPEN_SECONDS)
    if not result:
        raise TimeoutError("no answer")
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


def _receive(response: Any, have: int, remote: Remote, part: Path) -> None:
    """Append a response to the file, or begin it anew if the server sends all of it."""
    part_sent = response.headers.get("Content-Range", "")
    resumed = response.status == 206 and part_sent.startswith(f"bytes {have}-")
    if have and response.status == 206 and not resumed:
        raise ValueError("it sends another part than was asked for")
    have = have if resumed else 0
    with (
        part.open("ab" if resumed else "wb") as target,
        tqdm(None, remote.name, remote.size, initial=have, unit="B", unit_scale=True, disable=None) as bar,
    ):
        while have < remote.size and (block := response.read(min(_BLOCK, remote.size - have))):
            target.write(block)
            have += len(block)
            bar.update(len(block))
    if have < remote.size:
        raise ValueError(f"the connection ended at {have} of {remote.size} bytes")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
