"""Reads and writes files that may be compressed. Reading goes by their first bytes, writing by their names."""

import gzip
import io
import lzma
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from zhuyi.encoding import decoded
from zhuyi.errors import DataError


def _zstd(path: str) -> io.BufferedIOBase:
    import pyarrow as pa

    return io.BufferedReader(pa.input_stream(path, compression="zstd"))


def _to_zstd(file: IO[bytes]) -> Any:
    import pyarrow as pa

    return pa.output_stream(open(os.dup(file.fileno()), "wb"), compression="zstd")  # which it closes


_OPEN: dict[re.Pattern[bytes], Callable[[str], io.BufferedIOBase]] = {
    re.compile(rb"\x1f\x8b"): lambda path: gzip.GzipFile(path),
    re.compile(rb"\xfd7zXZ\0"): lambda path: io.BufferedReader(_Xz(path)),
    # A frame, or a skippable frame, with which pzstd begins.
    re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"): _zstd,
}
"""By the first bytes of a file, with which no UTF-8 text begins. Names are often wrong."""

_PACK: dict[str, Callable[[IO[bytes]], AbstractContextManager[Any]]] = {
    ".gz": lambda file: gzip.GzipFile("", "wb", fileobj=file, mtime=0),
    ".xz": lambda file: lzma.LZMAFile(file, "wb"),  # noqa: SIM115 – `packed` closes it
    ".zst": _to_zstd,
    "": nullcontext,
}
"""By the ending of a name: a function that wraps a file open for writing. Closing the result leaves the file open."""


class _Xz(io.RawIOBase):
    """All streams of an .xz file. LZMAFile stops at the zeros that may stand between streams, and drops the rest."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 – closed by `close`
        self._stream = lzma.LZMADecompressor()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = b""
        while not found:
            if self._stream.eof:
                block = self._stream.unused_data.lstrip(b"\0")
                while not block and (more := self._file.read(io.DEFAULT_BUFFER_SIZE)):
                    block = more.lstrip(b"\0")
                if not block:
                    return 0
                self._stream = lzma.LZMADecompressor()
            else:
                block = self._file.read(io.DEFAULT_BUFFER_SIZE) if self._stream.needs_input else b""
                if self._stream.needs_input and not block:
                    raise EOFError("the compressed data ends too early")
            found = self._stream.decompress(block, len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        self._file.close()
        super().close()


def text_lines(path: str) -> Iterator[str]:
    """The lines of a UTF-8 file, compressed or not, without their line ends.

    Raises:
        DataError: naming the file, and the line that is not text, or after which the file cannot be read.
    """
    number = 0
    try:
        with opened(path) as stream:
            # Bytes end at b"\n" only; text would end at "\r", and str.splitlines at U+2028 too.
            for line in decoded(stream, f"{path}:"):
                number += 1
                yield line
    except failures() as error:
        after = f" after line {number}" if number else ""
        raise DataError(f"{path}: cannot be read{after}: {first_line(error)}") from error


def failures() -> tuple[type[Exception], ...]:
    """The exceptions of libraries that cannot read a file; those of pyarrow if it has been imported."""
    arrow = sys.modules.get("pyarrow")
    return (OSError, EOFError, zlib.error, lzma.LZMAError, *([arrow.ArrowException] if arrow else []))


def packing(path: str) -> str:
    """The ending of a name that stands for a compression; empty if there is none."""
    ending = Path(path).suffix.lower()
    return ending if ending in _PACK else ""


@contextmanager
def packed(file: IO[bytes], ending: str) -> Iterator[Callable[[bytes], object]]:
    """A function that writes to `file` with the compression of `ending`. The same content gives the same bytes."""
    with _PACK[ending](file) as stream:
        yield stream.write


def opened(path: str) -> io.BufferedIOBase:
    """The content of a file, decompressed if it is compressed."""
    with open(path, "rb") as file:
        head = file.read(8)
    return next((opener for mark, opener in _OPEN.items() if mark.match(head)), _open_plain)(path)


def _open_plain(path: str) -> io.BufferedIOBase:
    return open(path, "rb")


def first_line(error: BaseException) -> str:
    """The first line of an exception's message."""
    return (str(error) or type(error).__name__).splitlines()[0]
