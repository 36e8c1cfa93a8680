"""Reading files that others wrote, and that may be anything."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from zhuyi.errors import CheckpointError

POINTER = b"version https://git-lfs.github.com/spec/"
"""What stands in the place of a large file that Git LFS has not fetched."""


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a file.

    Args:
        path: of a regular file.
        most: the number of bytes that it can have.

    Raises:
        CheckpointError: if it is no file, cannot be read, or is longer.
    """
    with opened(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > most:
            raise CheckpointError(f"{path}: {size:,} bytes are too many: at most {most:,} can be")
        return file.read(most)


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A regular file, open within.

    Raises:
        CheckpointError: if it is none, only a pointer of Git LFS, or cannot be read.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CheckpointError(f"{path}: not a file")
            if file.peek(len(POINTER)).startswith(POINTER):
                raise CheckpointError(f"{path}: only a pointer of Git LFS, not the file: fetch it with git lfs pull")
            yield file
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file: copy it there from the original") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read: {error.strerror}") from error
