"""Downloads a file: resumed where it broke off, checked, and put in place only when it is whole."""

import hashlib
import os
import time
from pathlib import Path

import httpx

from sdar.data.sets import Progress
from sdar.errors import DataError

_AGAIN = (408, 425, 429)


class _Interrupted(Exception):
    """The attempt failed in a way that another may not."""


def download(
    url: str,
    path: Path,
    *,
    sha256: str = "",
    attempts: int = 6,
    pause: float = 1.0,
    timeout: float = 30.0,
    on_progress: Progress | None = None,
) -> str:
    """Download `url` to `path` and return the SHA-256 of the file.

    A file that is there and has the expected checksum (or none is expected) is kept. What has arrived is kept
    in `path` + ".part" between attempts and between calls, and continued if the server's file is the same.
    Attempts are `pause` seconds apart, twice as long each time.

    Raises:
        DataError: The server refuses, all attempts failed, or the file does not have the expected checksum.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and (not sha256 or file_sha256(path) == sha256):
        return file_sha256(path)
    part = _Part(path)
    for attempt in range(attempts):
        try:
            part.fetch(url, timeout, on_progress)
            break
        except (_Interrupted, httpx.TransportError) as error:
            if attempt + 1 == attempts:
                raise DataError(f"cannot download {url}: {error or type(error).__name__}") from None
            time.sleep(pause * 2**attempt)
    digest = file_sha256(part.path)
    if sha256 and digest != sha256:
        part.discard()
        raise DataError(f"{url} has the SHA-256 {digest}, expected {sha256}")
    part.finish()
    return digest


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Part:
    """What has arrived of a file so far, and the mark by which the server knows that it is still the same."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = target.with_name(target.name + ".part")
        self._mark = target.with_name(target.name + ".part.etag")

    def fetch(self, url: str, timeout: float, on_progress: Progress | None) -> None:
        """One attempt to get the rest."""
        have = self.path.stat().st_size if self.path.is_file() and self._mark.is_file() else 0
        headers = {"Range": f"bytes={have}-", "If-Range": self._mark.read_text()} if have else {}
        headers["Accept-Encoding"] = "identity"
        with httpx.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as response:
            if response.status_code == 416:
                self.discard()
                raise _Interrupted("the server has a shorter file than what arrived before")
            if response.status_code >= 500 or response.status_code in _AGAIN:
                raise _Interrupted(f"HTTP status {response.status_code}")
            if response.status_code >= 400:
                raise DataError(f"cannot download {url}: HTTP status {response.status_code}")
            if response.status_code != 206:
                have = 0
            total = have + int(response.headers.get("Content-Length", 0))
            self._keep_mark(response)
            with self.path.open("ab" if have else "wb") as file:
                for chunk in response.iter_raw():
                    file.write(chunk)
                    have += len(chunk)
                    if on_progress:
                        on_progress(have, max(total, 0))
        if "Content-Length" in response.headers and have != total:
            raise _Interrupted(f"{have} of {total} bytes arrived")

    def discard(self) -> None:
        """Forget what has arrived."""
        self.path.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)

    def finish(self) -> None:
        """Put the whole file in place."""
        os.replace(self.path, self._target)
        self._mark.unlink(missing_ok=True)

    def _keep_mark(self, response: httpx.Response) -> None:
        """A file without a strong mark cannot be continued safely, so it will be started again."""
        mark = response.headers.get("ETag", "")
        if mark and not mark.startswith("W/"):
            self._mark.write_text(mark)
        else:
            self._mark.unlink(missing_ok=True)
