"""The cache: files that are kept between runs and can be made again: tokenised corpora, vocabularies, reports, digests.

    $ZHUYI_CACHE, or $XDG_CACHE_HOME/zhuyi, or ~/.cache/zhuyi, or zhuyi-UID in the directory for temporary files
      ├── <key>.arrow               a tokenised corpus: see store.py
      └── notes/<key>.json          a small result that takes long to compute, after a line with its SHA-256

A note that is damaged or missing is computed again, and one that cannot be written is not an error.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

SETTLED_SECONDS = 2.0
"""Age that the dates of a file must have before they can show that the file has not changed."""


def cache_directory() -> Path:
    """The directory of the cache: see the top of this module."""
    if chosen := os.environ.get("ZHUYI_CACHE"):
        return Path(chosen)
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(shared):  # by its specification, relative paths are to be ignored
        return Path(shared) / "zhuyi"
    try:
        return Path.home() / ".cache" / "zhuyi"
    except RuntimeError:  # a user without a home, as in a container
        user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""  # Windows has such a directory for each user
        return Path(tempfile.gettempdir(), f"zhuyi{user}")


def key_of(made_of: Any) -> str:
    """A name for a result, derived from its inputs, which are JSON values: other inputs give another name."""
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]


def cached(made_of: Any, make: Callable[[], Any]) -> Any:
    """The result of `make`, a JSON value, computed once for the same inputs `made_of`."""
    key = key_of(made_of)
    value = _read(key)
    if value is None:
        value = make()
        _write(key, value)
    return value


def file_digest(path: str) -> str:
    """The SHA-256 of a file's content. A file that has not changed since the last call is not read again.

    A file counts as unchanged if its device, inode, size, modification time and change time (on Windows: creation
    time) are the same, to the nanosecond. A program may set the modification time back, but not the change time. The
    digest of a file that was modified within the last `SETTLED_SECONDS` is not kept: clocks are coarser than their
    nanoseconds.

    Raises:
        OSError: if it cannot be read.
    """
    key, before = key_of({"digest of": os.path.realpath(path)}), _identity(path)
    known = _read(key)
    if known is not None and known[:-1] == before:
        return str(known[-1])
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    settled = time.time() - max(before[-2:]) / 1e9 > SETTLED_SECONDS
    if settled and _identity(path) == before:
        _write(key, [*before, digest])
    return digest


@contextmanager
def exclusive(lock: Path, wait: bool) -> Iterator[None]:
    """Hold the lock on the file `lock`, which is created for this and removed at the end.

    If the process is killed, the lock is released, and the file remains.

    Args:
        lock: a file that has no other purpose.
        wait: whether to wait for another process that holds the lock.

    Raises:
        filelock.Timeout: if another process holds the lock and `wait` is False.
        OSError: if the file cannot be created, or the file system has no locks.
    """
    with FileLock(lock, timeout=-1 if wait else 0, fallback_to_soft=False):
        try:
            yield
        finally:
            # Removed while it is held, so that another process cannot hold it yet: one that has opened it before sees
            # that it has been removed, and tries again. Windows cannot remove an open file; there, its release does.
            with suppress(OSError):
                lock.unlink()


def _identity(path: str) -> list[int]:
    found = os.stat(path)
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _path(key: str) -> Path:
    return cache_directory() / "notes" / f"{key}.json"


def _read(key: str) -> Any:
    try:
        digest, content = _path(key).read_bytes().split(b"\n", 1)
    except (OSError, ValueError):
        return None
    return json.loads(content) if hashlib.sha256(content).hexdigest().encode() == digest else None


def _write(key: str, value: Any) -> None:
    path = _path(key)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    content = json.dumps(value).encode()  # ASCII: file names may contain bytes that are not UTF-8
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
