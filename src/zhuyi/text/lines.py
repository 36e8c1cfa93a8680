"""Lines of text: read from a stream as they arrive, and written so that an output stays on one line."""

import io
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from zhuyi.encoding import decoded
from zhuyi.errors import DataError

MAX_LINES = 512
"""Most lines in a chunk. Larger chunks would give batches with less padding, but keep the reader waiting."""


def in_chunks(lines: Iterable[str]) -> Iterator[list[str]]:
    """Chunks of `MAX_LINES` lines, for lines that need not be waited for."""
    following = iter(lines)
    return iter(lambda: list(islice(following, MAX_LINES)), [])


def as_they_come(stream: io.BufferedReader, name: str) -> Iterator[list[str]]:
    """The lines of a stream in chunks of 1 to `MAX_LINES`: those that have arrived.

    A keyboard or a slow pipe is read line by line, a file in large chunks. If a line is not text, the lines before it
    are yielded before the error is raised.

    Args:
        stream: of bytes in UTF-8.
        name: of the stream, for error messages.

    Raises:
        DataError: if the stream cannot be read, or if a line is not text.
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
    """The same lines as bytes, with their line ends."""
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
    """The text with a space in place of each character that would end the line or the column.

    A translation that is made of bytes may contain any of them: LF, tab, U+2028, ...
    """
    return text.translate(_BREAKS)
