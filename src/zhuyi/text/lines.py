"""Lines of text in and out: those of a stream as they come, and an output that stays one line."""

import io
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from zhuyi.encoding import decoded
from zhuyi.errors import DataError

MAX_LINES = 512
"""Translated together: more would go into batches of more equal length, and keep the reader waiting."""


def in_chunks(lines: Iterable[str]) -> Iterator[list[str]]:
    """Lines that are all there, `MAX_LINES` at a time."""
    following = iter(lines)
    return iter(lambda: list(islice(following, MAX_LINES)), [])


def as_they_come(stream: io.BufferedReader, name: str) -> Iterator[list[str]]:
    """The lines of a stream in chunks: as many as are there, 1 to `MAX_LINES`.

    A keyboard or a slow pipe is answered line by line, a file in large pieces. Where a line is no text, those before
    it still come, and then the error.

    Args:
        stream: of bytes in UTF-8.
        name: of the stream, for errors.

    Raises:
        DataError: if the stream cannot be read, or at a line that is no text.
    """
    waiting: deque[bytes] = deque()
    texts = decoded(iter(waiting.popleft, None), f"{name}, line ")
    for chunk in _chunks(stream, name):
        waiting.extend(chunk)
        lines: list[str] = []
        try:
            for text in islice(texts, len(chunk)):
                lines.append(text)
        except DataError:
            yield lines
            raise
        yield lines


def _chunks(stream: io.BufferedReader, name: str) -> Iterator[list[bytes]]:
    """The same with the lines' ends, as bytes."""
    begun: list[bytes] = []  # parts of a line whose end has not come yet
    while part := _read(stream, name):
        *lines, rest = part.split(b"\n")
        if lines:
            lines[0] = b"".join([*begun, lines[0]])
            begun = []
        for start in range(0, len(lines), MAX_LINES):
            yield [line + b"\n" for line in lines[start : start + MAX_LINES]]
        begun.append(rest)
    if last := b"".join(begun):
        yield [last]


def _read(stream: io.BufferedReader, name: str) -> bytes:
    try:
        return stream.read1(1 << 16)
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}") from error


_BREAKS = str.maketrans(dict.fromkeys("\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029", " "))


def one_line(text: str) -> str:
    """The text with a space for each character that would end the line or the column.

    A translation that is made of bytes may have any of them: LF, tab, U+2028, ...
    """
    return text.translate(_BREAKS)
